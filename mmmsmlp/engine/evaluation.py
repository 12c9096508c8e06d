"""What do the switches of tools/test.py change in a config or a Runner?"""

import json
import os
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.dist import master_only
from mmengine.registry import METRICS
from mmengine.runner import Runner

from ..errors import BadInput
from .data_paths import datasets_of
from .launch import spans_nodes

_INTERVAL_ALL = 1


def use_tta(cfg: Config) -> None:
    """``--tta``: evaluate with the config's test-time augmentation.

    Raises:
        BadInput: The config has no ``tta_model`` or no ``tta_pipeline``.
    """
    missing = [key for key in ('tta_model', 'tta_pipeline') if not cfg.get(key)]
    if missing:
        raise BadInput(
            f'--tta: {cfg.filename} has no {" and no ".join(missing)}; evaluate '
            'without --tta, or add them to the config'
        )
    for _, dataset in datasets_of(cfg, ('test',)):
        dataset['pipeline'] = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


def use_visualization(cfg: Config, show: bool, show_dir: str | None) -> None:
    """``--show`` and ``--show-dir``: draw every test image.

    Raises:
        BadInput: The config has no visualization hook, or nothing can be shown.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if not hook or not cfg.get('visualizer'):
        raise BadInput(
            f'--show and --show-dir need default_hooks.visualization and a visualizer '
            f'in the config; {cfg.filename} lacks one'
        )
    if show and not os.environ.get('DISPLAY'):
        raise BadInput('--show needs a display; write files with --show-dir DIR')
    folder = os.path.abspath(show_dir) if show_dir else None
    hook.show = show
    hook.interval = _INTERVAL_ALL
    # Each toolbox's hook spells the switch and the folder its own way.
    if cfg.get('default_scope') == 'mmpretrain':
        hook.update(enable=True, out_dir=folder)
    else:
        hook.draw = True
    if cfg.get('default_scope') == 'mmdet' and folder:
        hook.test_out_dir = folder
    if cfg.get('default_scope') == 'mmseg' and folder:
        cfg.visualizer.save_dir = folder


def drop_sharding(cfg: Config) -> None:
    """Evaluate with the whole model in every process, as its checkpoint holds it."""
    for key in ('runner_type', 'strategy'):
        cfg.pop(key, None)


def check_out_files(out: str | None, metrics: str | None) -> None:
    """Refuse what ``--out`` and ``--metrics`` name before evaluating for hours.

    Raises:
        BadInput: ``--out`` does not end with .pkl or .pickle, or a file cannot be
            written.
    """
    if out and not out.endswith(('.pkl', '.pickle')):
        raise BadInput(f'--out writes a pickle; end its name with .pkl, got {out}')
    for option, path in (('--out', out), ('--metrics', metrics)):
        if path is None:
            continue
        folder = os.path.dirname(os.path.abspath(path))
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise BadInput(
                f'{option} {path} cannot be written: {error.strerror}'
            ) from error
        if os.path.isdir(path) or not os.access(folder, os.W_OK):
            raise BadInput(
                f'{option} {path} cannot be written; name a file in a folder of yours'
            )


def dump_predictions(runner: Runner, out: str) -> None:
    """``--out``: write every prediction to a pickle beside the metrics."""
    in_mmdet = runner.cfg.get('default_scope') == 'mmdet'
    dump = dict(type='DumpDetResults' if in_mmdet else 'DumpResults', out_file_path=out)
    if spans_nodes():
        dump['collect_device'] = 'gpu'
    runner.test_evaluator.metrics.append(METRICS.build(dump))


@master_only
def write_metrics(metrics: dict, path: str) -> None:
    """``--metrics``: write the metrics as one JSON object, name to number or lists."""
    plain = {name: _plain(value) for name, value in metrics.items()}
    Path(path).write_text(json.dumps(plain, indent=1) + '\n')


def _plain(value):
    return value.tolist() if hasattr(value, 'tolist') else value  # tensors, arrays
