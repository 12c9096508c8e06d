"""Switches of the tools: what each changes in a config or a Runner."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.dist import master_only
from mmengine.registry import METRICS
from mmengine.runner import Runner

from ..checkpoints import peek_checkpoint
from ..errors import BadInput
from . import mends
from .bfloat16 import warn_of_slow_bfloat16
from .config import tables_in
from .entry import writable
from .launch import spans_nodes
from .preflight import datasets_of


def use_work_dir(cfg: Config, work_dir: str | None) -> None:
    """``--work-dir``: the argument, else the config's, else its name."""
    if work_dir:
        cfg.work_dir = os.path.expanduser(work_dir)
    elif not cfg.get('work_dir'):
        cfg.work_dir = str(Path('work_dirs') / Path(cfg.filename).stem)
    if Path(cfg.work_dir).is_file():
        raise BadInput(
            f'--work-dir {cfg.work_dir} is a file; name a folder to write in'
        )
    source = Path(cfg.filename)
    record = Path(cfg.work_dir) / source.name
    if record.exists() and record.samefile(source):
        # The Runner writes the config as it ran beside the run, under this name.
        # One that lies there already, as a user's own or an earlier run's record, must
        # not become what a --tta or --cfg-options made of it.
        object.__setattr__(cfg, '_filename', str(source.with_suffix('.ran.py')))


def use_amp(cfg: Config, dtype: str) -> None:
    """``--amp``: train in mixed precision.

    Args:
        cfg: Config; its optimizer wrapper changes type.
        dtype: 'fp16', 'bf16' or 'auto': on a GPU what the config's wrapper names, else
            fp16; on a CPU bf16.

    Raises:
        BadInput: fp16 on a CPU, any on mps, or an optimizer wrapper that has no
            mixed-precision form.
    """
    device = get_device()
    on_cpu = device == 'cpu'
    if device == 'mps':
        raise BadInput("--amp does not run on a Mac's GPU (mps); leave it out")
    if on_cpu and dtype == 'fp16':
        raise BadInput(
            '--amp fp16 needs a GPU: its loss scaling does not run on a CPU. Take '
            '--amp bf16 here.'
        )
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise BadInput(
            f'--amp turns an OptimWrapper into an AmpOptimWrapper, but the config has '
            f'optim_wrapper.type={kind!r}'
        )
    if on_cpu:
        warn_of_slow_bfloat16()
        cfg.optim_wrapper.type = 'mmmsmlp.CPUAmpOptimWrapper'
        for key in ('loss_scale', 'dtype'):
            cfg.optim_wrapper.pop(key, None)
        return
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if dtype != 'auto':
        cfg.optim_wrapper.dtype = dict(fp16='float16', bf16='bfloat16')[dtype]


def use_auto_scale_lr(cfg: Config) -> str | None:
    """``--auto-scale-lr``: scale the learning rate with the joint batch size.

    With gradient accumulation a step of the optimizer sees that many batches, which
    mmengine does not count.

    Returns:
        One line for the log, where gradients are accumulated.

    Raises:
        BadInput: The config does not say for which batch its rate was chosen.
    """
    if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
        raise BadInput(
            '--auto-scale-lr needs to know for which batch size the learning rate was '
            'chosen; set auto_scale_lr=dict(base_batch_size=16) in the config'
        )
    cfg.auto_scale_lr.enable = True
    batches = cfg.optim_wrapper.get('accumulative_counts', 1)
    if batches == 1:
        return None
    cfg.auto_scale_lr.base_batch_size /= batches
    return f'--auto-scale-lr: {batches} batches are accumulated and count as one'


def use_resume(cfg: Config, source: str) -> str:
    """``--resume``: continue a run.

    Without a checkpoint to continue, ``load_from`` stays in force, which mmengine's
    own automatic resume would drop. The run's seed is set before anything is built:
    mmengine sets it after the sampler has drawn one of its own, which would change the
    order of the data.

    Args:
        cfg: Config with its ``work_dir``.
        source: 'auto' for the latest checkpoint of the run folder, or a file.

    Returns:
        One line for the log.

    Raises:
        CheckpointError: The file cannot be read, or is unsafe.
    """
    checkpoint = mends.latest_checkpoint(cfg.work_dir) if source == 'auto' else source
    if checkpoint is None:
        cfg.resume = False
        return f'--resume: {cfg.work_dir} holds no checkpoint yet, training starts anew'
    cfg.resume = True
    cfg.load_from = checkpoint
    seed = (peek_checkpoint(checkpoint).get('meta') or {}).get('seed')
    if seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    return f'--resume: continuing from {checkpoint}'


def collate_for_scope(cfg: Config) -> None:
    """Give mmpretrain's data loaders the collate function that it counts on."""
    if cfg.get('default_scope') != 'mmpretrain':
        return
    for loop in ('train', 'val', 'test'):
        loader = cfg.get(f'{loop}_dataloader')
        if loader:
            loader.setdefault('collate_fn', dict(type='default_collate'))


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
    screenless = sys.platform == 'linux' and not os.environ.get('DISPLAY')
    if show and screenless:
        raise BadInput('--show needs a display; write files with --show-dir DIR')
    folder = os.path.abspath(show_dir) if show_dir else None
    hook.show = show
    hook.interval = 1  # every image
    # Each toolbox's hook spells the switch and the folder its own way.
    if cfg.get('default_scope') == 'mmpretrain':
        hook.update(enable=True, out_dir=folder)
    else:
        hook.draw = True
    if cfg.get('default_scope') == 'mmdet' and folder:
        hook.test_out_dir = folder
    if cfg.get('default_scope') == 'mmseg' and folder:
        cfg.visualizer.save_dir = folder


SUFFIXES = {
    '--out': ('.pkl', '.pickle'),
    '--json': ('.json',),
    '--confusion': ('.png', '.pdf', '.svg', '.jpg'),
    '--metrics': ('',),
}


def check_out_files(read: Iterable[str], **paths: str | None) -> None:
    """Refuse what ``--out``, ``--metrics`` and so on name before evaluating for hours.

    Args:
        read: Files that are read, such as annotations.
        paths: A file by its option, such as ``out='predictions.pkl'``.

    Raises:
        BadInput: A file has another suffix than it must, cannot be written or is read.
    """
    for name, path in paths.items():
        if path is None:
            continue
        option = f'--{name}'
        if not path.endswith(SUFFIXES[option]):
            kinds = ' or '.join(SUFFIXES[option])
            raise BadInput(f'{option} takes a name that ends with {kinds}, got {path}')
        writable(option, path, read=read)


def use_classwise(cfg: Config) -> None:
    """``--classwise``: COCO's metrics say the AP of every class too."""
    for metric in tables_in(cfg.test_evaluator):
        if str(metric.get('type')).endswith('CocoMetric'):
            metric['classwise'] = True


def dump_predictions(runner: Runner, out: str) -> None:
    """``--out``: write every prediction to a pickle beside the metrics."""
    in_mmdet = runner.cfg.get('default_scope') == 'mmdet'
    dump = dict(type='DumpDetResults' if in_mmdet else 'DumpResults', out_file_path=out)
    if spans_nodes():
        dump['collect_device'] = 'gpu'
    runner.test_evaluator.metrics.append(METRICS.build(dump))


@master_only
def write_metrics(metrics: dict, path: str) -> None:
    """``--metrics``: write the metrics as one JSON object, name to number or lists.

    What is no number, as the AP of a class without objects, is null.
    """
    text = mends.to_json(metrics, indent=1)
    Path(path).write_text(text + '\n', encoding='utf-8')


def use_our_hooks(cfg: Config) -> None:
    """Draw by progress, record the run, save plainly: :mod:`mmmsmlp.engine.hooks`.

    And stop where the loss is no number: ``default_hooks.divergence`` of the config
    says after how many steps, or is ``None``. A run that counts iterations logs its
    validations by them, unless ``default_hooks.logger`` says otherwise: its epoch is 0.
    """
    ours = (
        *('SeedByProgressHook', 'RunRecordHook', 'PlainCheckpointHook'),
        *('FiniteOutputHook', 'ExpectedMetricsHook', 'ResumePlanHook'),
    )
    given = cfg.get('custom_hooks') or []
    known = [hook.get('type') for hook in given]  # a run's own config has them
    names = (f'mmmsmlp.{hook}' for hook in ours)
    cfg.custom_hooks = [
        *given,
        *(dict(type=name) for name in names if name not in known),
    ]
    hooks_by_name = dict(cfg.get('default_hooks') or {})
    guard = hooks_by_name.pop('divergence', {})
    if guard is not None:
        hooks_by_name['divergence'] = dict(type='mmmsmlp.DivergenceHook') | guard
    logger = hooks_by_name.get('logger', dict(type='LoggerHook'))
    if logger is not None and 'max_iters' in (cfg.get('train_cfg') or {}):
        hooks_by_name['logger'] = dict(log_metric_by_epoch=False) | logger
    cfg.default_hooks = hooks_by_name
    worker = dict(type='mmmsmlp.seed_worker')
    cfg.train_dataloader.setdefault('worker_init_fn', worker)
