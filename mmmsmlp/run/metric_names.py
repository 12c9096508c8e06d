"""The metrics that an evaluation will give, by its config."""

from collections.abc import Iterator

from mmengine.config import Config

from ..errors import BadInput, join_some

BOXES = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
RECALLS = ('AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000')
AREAS = {
    'mIoU': ('aAcc', 'mIoU', 'mAcc'),
    'mDice': ('aAcc', 'mDice', 'mAcc'),
    'mFscore': ('aAcc', 'mFscore', 'mPrecision', 'mRecall'),
}


def check_metric_names(cfg: Config) -> None:
    """Check what the choice of the best checkpoint and early stopping wait for.

    Raises:
        BadInput: A name is none of those that the validation will give.
    """
    offered = metric_names(cfg.get('val_evaluator')) if cfg.get('val_cfg') else None
    for what, name in _expected(cfg):
        if offered and name != 'auto' and name not in offered:
            raise BadInput(
                f'{what}={name!r} is none of what the validation will give: '
                f'{join_some(map(repr, offered), 20)}'
            )


def _expected(cfg: Config) -> Iterator[tuple[str, str]]:
    hooks = dict(cfg.get('default_hooks') or {})
    best = (hooks.get('checkpoint') or {}).get('save_best') or ()
    for name in [best] if isinstance(best, str) else best:
        yield 'default_hooks.checkpoint.save_best', name
    for hook in [*hooks.values(), *(cfg.get('custom_hooks') or ())]:
        if isinstance(hook, dict) and 'EarlyStopping' in str(hook.get('type')):
            yield 'monitor of EarlyStoppingHook', hook.get('monitor', '')


def metric_names(evaluator: dict | list | None) -> list[str] | None:
    """The names that an evaluator's metrics give; ``None`` where one is not known."""
    metrics = evaluator if isinstance(evaluator, list) else [evaluator]
    found = [_names(metric) if isinstance(metric, dict) else None for metric in metrics]
    if None in found or not found:
        return None
    return [name for names in found for name in names or ()]


def _names(metric: dict) -> list[str] | None:
    kind = str(metric.get('type')).rpartition('.')[2]
    names: list[str] = []
    prefix = ''
    if kind == 'CocoMetric' and not metric.get('metric_items'):
        prefix = 'coco'
        for one in _listed(metric.get('metric', 'bbox')):
            if one == 'proposal_fast' or metric.get('classwise'):
                return None
            names += RECALLS if one == 'proposal' else [f'{one}_{ap}' for ap in BOXES]
    elif kind == 'IoUMetric':
        for one in _listed(metric.get('iou_metrics', 'mIoU')):
            names += AREAS.get(one, ())
    elif kind == 'Accuracy' and not isinstance(metric.get('thrs', 0.0), (list, tuple)):
        prefix = 'accuracy'
        names += [f'top{k}' for k in _listed(metric.get('topk', 1))]
    if not names or metric.get('format_only'):
        return None
    prefix = metric.get('prefix') or prefix
    return [f'{prefix}/{name}' if prefix else name for name in dict.fromkeys(names)]


def _listed(value: object) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]
