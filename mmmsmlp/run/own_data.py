"""``--data PATH``: what lies there takes the place of a config's data.

Paths, classes, colours, every ``num_classes``, and the metrics of a detector, a
segmentor or a classifier follow it; pipelines, schedule and model stay.
"""

import argparse
import copy
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..data.cache import Cache
from ..data.layouts import IMAGES
from ..data.own import SHARE, OwnData, Request, Source, is_imagenet, prepare
from ..errors import BadInput
from .class_order import dataset_meta
from .config import tables_in
from .launch import one_for_all
from .preflight import count_in, datasets_of

TASKS = dict(mmdet='boxes', mmseg='maps', mmpretrain='folders')
# What follows from the data, wherever a config says it.
_FOLLOWING = (
    'num_classes', 'num_things_classes', 'num_stuff_classes', 'metainfo', 'ann_file',
    'data_root', 'data_prefix', 'img_suffix', 'seg_map_suffix', 'reduce_zero_label',
)  # fmt: skip
# What a dataset of a config keeps: the rest says where and what its data were.
_KEPT = (
    'pipeline', 'filter_cfg', 'test_mode', 'serialize_data', 'lazy_init', 'max_refetch',
    'ignore_index', '_scope_',
)  # fmt: skip


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--data`` and ``--val-split``."""
    parser.add_argument(
        '--data',
        metavar='PATH',
        help="data of your own in place of the config's: a folder (COCO, Roboflow, "
        'CVAT, Label Studio, labelme, YOLO, VOC; img_dir and ann_dir; class folders) '
        'or a COCO JSON; docs/data.md',
    )
    parser.add_argument(
        '--val-split',
        type=_share,
        metavar='SHARE',
        help='of the images, evaluated where the data have no val split; '
        f'default {SHARE}',
    )


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f'takes a share over 0 up to 1, got {text!r}')
    return value


def refuse_options(path: str | None, options: dict[str, Any] | None) -> None:
    """Refuse ``--cfg-options`` of what follows from the data of a path.

    Raises:
        BadInput: One would be without effect.
    """
    for key in options or {} if path else ():
        first, *others = key.split('.')
        holds = first == 'model' or first.endswith(('_dataloader', '_evaluator'))
        if holds and not {*others}.isdisjoint(_FOLLOWING):
            raise BadInput(
                f'--cfg-options {key} is without effect: it follows from --data '
                f'{path}. Leave one of the two out'
            )


def use_data(
    cfg: Config,
    path: str | None,
    share: float | None,
    loops: tuple[str, ...],
    say: Callable[[str], None],
    checkpoint: str | None = None,
) -> list[str]:
    """Let a config read the data of a path, and say what was understood.

    The first process does it and writes what is lacking below the run folder; the
    others wait for it.

    Args:
        cfg: Config with its ``work_dir`` and ``launcher``.
        path: A folder or a file; None: the config's data stay.
        share: ``--val-split``.
        loops: ('train', 'val', 'test'), or ('test',) to evaluate.
        say: Prints a line.
        checkpoint: What is evaluated; its classes give numbers to those of the data.

    Returns:
        Lines for the log: what few images changed.

    Raises:
        BadInput: No such layout, one of another task, or data that are not in order.
    """
    if path is None:
        if share is not None:
            raise BadInput(
                '--val-split takes a share of the data that --data PATH names'
            )
        return []
    if share == 1 and 'train' in loops:
        raise BadInput('--val-split 1 leaves no image to train on; give less, as 0.2')
    request = _request(cfg, share, loops, checkpoint)

    def work() -> dict[str, Any]:
        try:
            own = prepare(path, request, os.path.join(cfg.work_dir, 'data'), Cache())
        except BadInput as error:
            return dict(error=str(error))
        record = Path(cfg.work_dir) / _record(cfg, loops)
        end = f'config with these data: {record}, the same without --data'
        for line in (*own.lines, end):
            say(f'data: {line}')
        return asdict(own)

    outcome = one_for_all(cfg.launcher, work)
    if 'error' in outcome:
        raise BadInput(outcome['error'])
    sources = {loop: Source(**table) for loop, table in outcome['sources'].items()}
    record = Path(cfg.filename).with_name(_record(cfg, loops))
    object.__setattr__(cfg, '_filename', str(record))
    return apply(cfg, OwnData(**{**outcome, 'sources': sources}))


def _record(cfg: Config, loops: tuple[str, ...]) -> str:
    """The config's name in the run folder; evaluation leaves that of the training."""
    path = Path(cfg.filename)
    if 'train' not in loops and (Path(cfg.work_dir) / path.name).exists():
        path = path.with_suffix('.ran.py')
    return path.name


def _request(
    cfg: Config, share: float | None, loops: tuple[str, ...], checkpoint: str | None
) -> Request:
    task = TASKS.get(cfg.get('default_scope', ''))
    if task is None:
        raise BadInput(
            f'--data knows configs of {", ".join(TASKS)}; default_scope of '
            f'{cfg.filename} is {cfg.get("default_scope")!r}'
        )
    info: dict = {}
    for _, dataset in datasets_of(cfg, ('train', 'test')):
        info = dataset.get('metainfo') or info
    classes = info.get('classes')
    named = classes if isinstance(classes, (list, tuple)) else ()
    palette = [list(colour) for colour in info.get('palette') or ()]
    meta = dataset_meta(checkpoint) if checkpoint else {}
    learned, reduces = meta.get('classes') or (), meta.get('reduce_zero_label')
    return Request(task, loops, share, list(named), palette, list(learned), reduces)


def apply(cfg: Config, own: OwnData) -> list[str]:
    """Set what follows from the data; lines for the log of what few images change."""
    _name_known(own)
    make = dict(boxes=_coco, maps=_maps, folders=_folders)[own.task]
    for loop, source in own.sources.items():
        loader = cfg.get(f'{loop}_dataloader') or cfg.get('val_dataloader')
        if not loader or cfg.get(f'{loop}_cfg') is None:  # this loop never runs
            continue
        # val's and test's may be one object.
        loader = cfg[f'{loop}_dataloader'] = copy.deepcopy(loader)
        leaf = _leaf(cfg, loop)
        if 'Panoptic' in str(leaf.get('type')) and own.task == 'boxes':
            raise BadInput(
                f'--data: {cfg.filename} trains on panoptic maps, and these are boxes; '
                'take a config of instances, such as heads/mask2former_msmlp_t_50e'
            )
        kept = {key: leaf[key] for key in _KEPT if key in leaf}
        leaf.clear()
        leaf.update({**kept, **make(own, source)})
        for step in tables_in(leaf.get('pipeline')):
            step.pop('reduce_zero_label', None)  # as the dataset says it now
        if loop != 'train':
            _set_metrics(cfg, loop, own, source)
    return [*set_counts(cfg, len(own.classes)), *_fit_to_few(cfg, own)]


def _name_known(own: OwnData) -> None:
    """The classes of ADE20K and of ImageNet, which the toolboxes have."""
    if own.known_as:
        from mmseg.datasets import ADE20KDataset

        own.classes = list(ADE20KDataset.METAINFO['classes'])
        own.palette = [list(colour) for colour in ADE20KDataset.METAINFO['palette']]
    elif is_imagenet(own.classes):
        from mmpretrain.datasets.categories import IMAGENET_CATEGORIES

        own.classes = list(IMAGENET_CATEGORIES)


def _leaf(cfg: Config, loop: str) -> dict:
    """The one dataset of a loop, within whatever wraps it.

    Raises:
        BadInput: There are several.
    """
    loader = cfg[f'{loop}_dataloader']
    dataset = loader.get('dataset')
    while isinstance(dataset, dict) and isinstance(dataset.get('dataset'), dict):
        dataset = dataset['dataset']
    if not isinstance(dataset, dict) or dataset.get('datasets'):
        raise BadInput(
            f'--data takes the place of one dataset, and {loop}_dataloader of '
            f'{cfg.filename} has several; take a config with one'
        )
    return dataset


def _info(own: OwnData) -> dict[str, Any]:
    palette = [tuple(colour) for colour in own.palette]
    return dict(classes=tuple(own.classes), palette=palette)


def _coco(own: OwnData, source: Source) -> dict[str, Any]:
    return dict(
        type='CocoDataset',
        data_root='',
        ann_file=source.labels,
        data_prefix=dict(img=os.path.join(os.path.abspath(source.images), '')),
        metainfo=_info(own),
    )


def _maps(own: OwnData, source: Source) -> dict[str, Any]:
    return dict(
        type='BaseSegDataset',
        data_root='',
        ann_file=source.listed,
        data_prefix=dict(
            img_path=os.path.abspath(source.images),
            seg_map_path=os.path.abspath(source.labels),
        ),
        img_suffix=own.image_suffix,
        seg_map_suffix=own.map_suffix,
        reduce_zero_label=own.reduce_zero,
        metainfo=_info(own),
    )


def _folders(own: OwnData, source: Source) -> dict[str, Any]:
    return dict(
        type='CustomDataset',
        data_root='',
        ann_file=source.listed,
        data_prefix=os.path.abspath(source.images),
        extensions=IMAGES,  # by itself it passes over .webp, .tiff and .jfif
        metainfo=dict(classes=tuple(own.classes)),
    )


def _set_metrics(cfg: Config, loop: str, own: OwnData, source: Source) -> None:
    name = f'{loop}_evaluator'
    cfg[name] = copy.deepcopy(cfg.get(name) or cfg.get('val_evaluator'))
    if own.task != 'boxes':
        return
    metrics = [
        table
        for table in tables_in(cfg[name])
        if str(table.get('type')).endswith('CocoMetric')
    ]
    if not metrics:
        masks = any('mask_head' in table for table in tables_in(cfg.model))
        kinds = ['bbox', 'segm'] if masks else 'bbox'
        cfg[name] = dict(type='CocoMetric', metric=kinds)
        metrics = [cfg[name]]
    for metric in metrics:
        metric['ann_file'] = source.labels


def set_counts(cfg: Config, count: int) -> list[str]:
    """Let every part of a model tell ``count`` classes, and no top-k be more than that.

    Returns:
        Lines for the log, where weights were those of other classes.
    """
    parts = [v for key, v in cfg.model.items() if key != 'backbone']
    notices = []
    for table in tables_in([*parts, cfg.get('data_preprocessor')]):
        old = None if 'RPN' in str(table.get('type')) else count_in(table)
        if old is None:
            continue
        for key in {'num_classes', 'num_things_classes'} & table.keys():
            table[key] = count
        if 'num_stuff_classes' in table:
            table['num_stuff_classes'] = 0
        for loss in tables_in(table):
            notices += _fit_weights(loss, old, count)
    for table in tables_in(
        [cfg.model, cfg.get('val_evaluator'), cfg.get('test_evaluator')]
    ):
        if isinstance(given := table.get('topk'), (list, tuple)):
            table['topk'] = tuple(k for k in given if k < count) or (1,)
    return notices


def _fit_weights(loss: dict, old: int, count: int) -> list[str]:
    """Weights by class, perhaps one for none: equal ones serve other classes too."""
    given = loss.get('class_weight')
    if old == count or not isinstance(given, (list, tuple)) or len(given) < old:
        return []
    if len({*given[:old]}) == 1:
        loss['class_weight'] = [given[0]] * count + list(given[old:])
        return []
    loss['class_weight'] = None
    return [f'class_weight of a {loss.get("type")} is left out: it is of other classes']


def _fit_to_few(cfg: Config, own: OwnData) -> list[str]:
    """What a set smaller than a batch, or than the warm-up, changes."""
    source = own.sources.get('train')
    if source is None:
        return []
    loader, notices = cfg.train_dataloader, []
    batch = loader.get('batch_size', 1)
    endless = str((loader.get('sampler') or {}).get('type')).endswith('InfiniteSampler')
    if source.count < batch and not endless:
        loader.batch_size = source.count
        notices.append(
            f'train_dataloader.batch_size became {source.count}, for there are no more '
            f'images; the config has {batch}'
        )
    epochs = cfg.train_cfg.get('max_epochs')
    steps = cfg.train_cfg.get('max_iters')
    if epochs:
        steps = epochs * -(-source.count // loader.get('batch_size', 1))
    schedule = cfg.get('param_scheduler') or []
    tables = [schedule] if isinstance(schedule, dict) else schedule
    for number, table in enumerate(tables):
        warms = table.get('type') == 'LinearLR' and table.get('by_epoch') is False
        if steps and warms and (end := table.get('end', 0)) > steps:
            notices.append(
                f'data warning: the warm-up takes {end} steps and the training '
                f'{steps}: the learning rate stays low. Train longer '
                f'(train_cfg.max_{"epochs" if epochs else "iters"}), or take '
                f'--cfg-options param_scheduler.{number}.end={max(1, steps // 5)}'
            )
    return notices
