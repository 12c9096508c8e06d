"""One order of the classes for a model and all of its data: labels are numbers."""

from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from ..checkpoints import peek_checkpoint
from ..deploy.runtime import load
from ..deploy.sessions import is_exported
from ..errors import BadInput, join_some
from .preflight import datasets_of


def follow_order(
    cfg: Config, loops: tuple[str, ...], checkpoint: str | None = None
) -> list[str]:
    """Number the classes of all data as a checkpoint's model does, or the first ones.

    Args:
        cfg: Config; datasets of boxes with the same classes get their order.
        loops: Such as ('train', 'val').
        checkpoint: What is evaluated; without one, the first dataset leads.

    Returns:
        Lines for the log, where classes differ.

    Raises:
        BadInput: The same classes in another order, where the data hold numbers; or
            some of them at other places beside others.
    """
    datasets = [
        (f'{loop}_dataloader', dataset, own)
        for loop, dataset in datasets_of(cfg, loops)
        if (own := named_classes(cfg, dataset)) and not dataset.get('return_classes')
    ]
    if not datasets:
        return []
    leader, _, names = datasets[0]
    if checkpoint:
        leader, names = checkpoint, tuple(dataset_meta(checkpoint).get('classes') or ())
        if not names:
            return [
                f'data warning: {checkpoint} does not name its classes; they are '
                f'taken for {join_some(datasets[0][2], 10)}, in this order'
            ]
    lines = [
        _follow(cfg, dataset, own, loader, names, leader)
        for loader, dataset, own in datasets
        if own != names
    ]
    return list(dict.fromkeys(lines))


def _follow(
    cfg: Config,
    dataset: dict,
    own: tuple[str, ...],
    loader: str,
    names: tuple[str, ...],
    leader: str,
) -> str:
    """Bring one dataset's classes into the leader's order; a line for the log."""
    orders = f'{join_some(names, 10)}; {loader} has {join_some(own, 10)}'
    if sorted(own) != sorted(names):
        moved = [n for n in own if n in names and names.index(n) != own.index(n)]
        if moved:
            raise BadInput(
                f'{leader} has the classes {orders}: labels are compared by their '
                f'place, and {join_some(moved)} would be taken for another class; give '
                'all data the classes that the model is trained with'
            )
        return (
            f'data warning: {leader} has the classes {orders}: labels are compared by '
            'their place'
        )
    if cfg.get('default_scope') != 'mmdet':
        raise BadInput(
            f'{leader} has the classes in another order, {orders}. Every label would '
            'be taken for another class; put metainfo.classes, and the numbers in the '
            'data, in one order'
        )
    info = dict(dataset.get('metainfo') or {}, classes=names)
    if len(info.get('palette') or ()) == len(names):
        info['palette'] = [info['palette'][own.index(name)] for name in names]
    dataset['metainfo'] = info
    return f'data repaired: classes are put in the order of {leader}, {orders}'


def dataset_meta(checkpoint: str) -> dict[str, Any]:
    """What a checkpoint, or an exported model, says of the data it was trained on.

    Its ``classes`` are in the order of its labels. OpenMMLab's releases before 2.0
    wrote them as ``CLASSES``, and in ``meta`` itself.
    """
    if is_exported(checkpoint):
        return dict(classes=load(checkpoint).classes)
    meta = peek_checkpoint(checkpoint).get('meta')
    if not isinstance(meta, dict):
        return {}
    told = meta.get('dataset_meta') or {
        key: meta[key] for key in ('CLASSES', 'PALETTE') if meta.get(key)
    }
    return {key.lower(): value for key, value in told.items()}


def dataset_class(cfg: Config, dataset: dict) -> Any:
    """The class of a dataset, or None where no toolbox has one of that name."""
    kind, scope = dataset.get('type'), cfg.get('default_scope')
    if not isinstance(kind, str):
        return kind
    if '.' in kind or not scope:
        return DATASETS.get(kind)
    import_module(f'{scope}.datasets')
    return DATASETS.get(f'{scope}.{kind}') or DATASETS.get(kind)


def named_classes(cfg: Config, dataset: dict) -> tuple[str, ...] | None:
    """The classes that the labels of a dataset count, as mmengine finds them."""
    given = (dataset.get('metainfo') or {}).get('classes')
    if isinstance(given, str):
        return tuple(Path(given).read_text(encoding='utf-8').splitlines())
    if given is None:
        known = getattr(dataset_class(cfg, dataset), 'METAINFO', {})
        given = known.get('classes')
    return tuple(given) if given else None
