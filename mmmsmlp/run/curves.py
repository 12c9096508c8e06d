"""Views of a run: TensorBoard, and curves drawn from its log."""

import json
from collections import defaultdict
from importlib.util import find_spec
from math import nan
from pathlib import Path

from mmengine.config import Config

from ..errors import BadInput

DRAWING = {'mmdet': 'draw', 'mmseg': 'draw', 'mmpretrain': 'enable'}
# What a curve is drawn of: losses, and the metrics of the three toolboxes.
METRICS = ('mAP', 'mAP_50', 'mIoU', 'aAcc', 'accuracy/top1', 'accuracy/top5')


def use_tensorboard(cfg: Config) -> None:
    """``--tensorboard``: scalars, and drawn validation images, for TensorBoard.

    Raises:
        BadInput: The package is not installed.
    """
    if find_spec('tensorboard') is None:
        raise BadInput(
            '--tensorboard needs the package tensorboard: pip install tensorboard'
        )
    visualizer = cfg.get('visualizer') or dict(type='Visualizer')
    backends = visualizer.get('vis_backends') or [dict(type='LocalVisBackend')]
    if not any(backend['type'] == 'TensorboardVisBackend' for backend in backends):
        backends = [*backends, dict(type='TensorboardVisBackend')]
    cfg.visualizer = dict(visualizer, vis_backends=backends)
    hook = (cfg.get('default_hooks') or {}).get('visualization')
    if hook and cfg.get('default_scope') in DRAWING:
        hook[DRAWING[cfg.default_scope]] = True


def read_curves(run: Path) -> dict[str, dict[int, float]]:
    """Losses and metrics of a run folder, ``{name: {step: value}}``.

    Every start of the run, resumed ones too, has its dated folder in it; where they
    overlap the later one counts.

    Raises:
        BadInput: The folder holds no log.
    """
    logs = sorted(run.glob('**/vis_data/scalars.json'))
    if not logs:
        raise BadInput(
            f'{run} holds no vis_data/scalars.json; name a run folder, such as '
            'work_dirs/retinanet_msmlp_t_1x'
        )
    curves: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for log in logs:
        for line in log.read_text(encoding='utf-8').splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # the process was killed while it wrote this line
            # Losses carry iterations, and metrics what the loop counts in.
            step = entry.get('iter', entry.get('step'))
            for name, value in entry.items():
                if name.endswith(METRICS) or name == 'loss':
                    curves[name][step] = nan if value is None else value
    return dict(curves)


def draw_curves(run: Path, target: Path) -> None:
    """Draw loss and metrics of a run folder into an image file.

    Raises:
        BadInput: The folder holds no log, or the file cannot be written as named.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    curves = read_curves(run)
    loss = curves.pop('loss', {})
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout='tight')
    left.plot(loss.keys(), loss.values(), color='black')
    left.set(title='training loss', xlabel='iteration')
    for name, values in sorted(curves.items()):
        right.plot(values.keys(), values.values(), marker='o', label=name)
    right.set(title='validation', xlabel='epoch, or iteration')
    if curves:
        right.legend()
    figure.suptitle(run.name)
    try:
        figure.savefig(target, dpi=120)
    except (OSError, ValueError) as error:
        raise BadInput(f'{target} cannot be written: {error}') from error
    finally:
        pyplot.close(figure)
