"""Views of a run: TensorBoard, the page on it, and a picture of its curves."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import master_only
from mmengine.logging import MMLogger

from ..errors import BadInput
from ..report.runs import read_curves, read_run, write_report

DRAWING = {'mmdet': 'draw', 'mmseg': 'draw', 'mmpretrain': 'enable'}
# What a curve is drawn of beside the loss: metrics of the three toolboxes.
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


def report_on(folders: Sequence[Path], target: Path | None = None) -> Path:
    """Write the page on some run folders, and return its file.

    Raises:
        BadInput: A folder holds no log, or the file cannot be written or is no page.
    """
    if target and target.suffix not in ('.html', '.htm'):
        raise BadInput(f'--out {target} is a page: a name that ends with .html')
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    runs = [read_run(*pair) for pair in zip(folders, names, strict=True)]
    own = folders[0] if len(folders) == 1 else Path()
    target = target or own / 'report.html'
    try:
        return write_report(target, runs)
    except OSError as error:
        raise BadInput(
            f'{target} cannot be written: {error.strerror}; name another --out'
        ) from error


@master_only
def report_at_the_end(work_dir: str) -> None:
    """Write a training's page; if that fails, warn, for the training is done."""
    log = MMLogger.get_current_instance()
    try:
        log.info(f'report: {report_on([Path(work_dir)])}')
    except Exception as error:
        log.warning(
            f'no report was written ({error!r}); tools/report.py {work_dir} tries again'
        )


def draw_curves(run: Path, target: Path) -> None:
    """Draw loss and metrics of a run folder into an image file.

    Raises:
        BadInput: The folder holds no log, or the file cannot be written as named.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    training, validation = read_curves(run)
    loss = training.get('loss', {})
    curves = {n: c for n, c in validation.items() if n.endswith(METRICS)}
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
