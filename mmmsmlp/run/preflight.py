"""Checks before a run: data paths, and the classes that are named."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from ..checkpoints import peek_checkpoint
from ..configs import checkout
from ..errors import BadInput, CheckpointError
from .config import tables_in


def check_data_paths(
    cfg: Config, loops: tuple[str, ...] = ('train', 'val', 'test')
) -> None:
    """Check every dataset path of the loops that a run uses.

    A relative path counts from the working directory, as everywhere in OpenMMLab.
    One that is only found in the checkout is made absolute in the config, so that a
    tool runs from any directory.

    Raises:
        BadInput: A path does not exist; names it and what the config calls it.
    """
    for loop, dataset in datasets_of(cfg, loops):
        _check_dataset(dataset, loop)
    for loop in _used(cfg, loops):
        for metric in tables_in(cfg.get(f'{loop}_evaluator')):
            if _is_local(metric, 'ann_file'):
                name = f'{loop}_evaluator.ann_file'
                metric['ann_file'] = _locate(metric['ann_file'], name)


def datasets_of(cfg: Config, loops: tuple[str, ...]) -> Iterator[tuple[str, dict]]:
    """The name of the loop and the dataset's table, for every dataset that is used."""
    for loop in _used(cfg, loops):
        for dataset in _datasets(cfg[f'{loop}_dataloader'].get('dataset')):
            yield loop, dataset


def annotations_of(cfg: Config) -> list[str]:
    """Paths of the files that hold the annotations of a config's data."""
    found = [
        os.path.join(dataset.get('data_root') or '', dataset['ann_file'])
        for _, dataset in datasets_of(cfg, ('train', 'val', 'test'))
        if isinstance(dataset.get('ann_file'), str)
    ]
    for loop in ('val', 'test'):
        tables = tables_in(cfg.get(f'{loop}_evaluator'))
        found += [t['ann_file'] for t in tables if isinstance(t.get('ann_file'), str)]
    return [os.path.expanduser(path) for path in found]


def _used(cfg: Config, loops: tuple[str, ...]) -> list[str]:
    # mmpretrain's loops are empty dicts: nothing to configure, and they run.
    return [
        loop
        for loop in loops
        if cfg.get(f'{loop}_cfg') is not None and cfg.get(f'{loop}_dataloader')
    ]


def _datasets(dataset: object) -> Iterator[dict]:
    """Unwrap RepeatDataset, ConcatDataset and their like."""
    if not isinstance(dataset, dict):
        return
    inner = dataset.get('datasets') or [dataset.get('dataset')]
    if any(inner):
        for child in inner:
            yield from _datasets(child)
    else:
        yield dataset


def _check_dataset(dataset: dict, loop: str) -> None:
    if dataset.get('backend_args') or dataset.get('file_client_args'):
        return  # the files lie in some remote or archived store
    name = f'{loop}_dataloader.dataset'
    root = dataset.get('data_root') or ''
    if _is_local(dataset, 'data_root'):
        dataset['data_root'] = root = _locate(root, f'{name}.data_root')
    elif root:
        return
    places = [(dataset, 'ann_file', name), (dataset, 'data_prefix', name)]
    if isinstance(prefixes := dataset.get('data_prefix'), dict):
        places += [(prefixes, key, f'{name}.data_prefix') for key in prefixes]
    for table, key, called in places:
        if _is_local(table, key):
            path = _locate(os.path.join(root, table[key]), f'{called}.{key}')
            if not root:
                table[key] = path


def _is_local(table: dict, key: str) -> bool:
    value = table.get(key)
    return isinstance(value, str) and value != '' and '://' not in value


def _locate(given: str, name: str) -> str:
    """Where the file or folder lies that the config's ``name`` gives."""
    own = checkout() or Path.cwd()
    for path in (Path(given).expanduser(), own / given):
        if path.exists():
            return str(path)
    places = sorted({str(Path.cwd()), str(own)})
    raise BadInput(
        f'{name} = {given} does not exist (looked in {" and ".join(places)}). '
        'docs/data.md of the repository says where each dataset goes; --data PATH '
        'takes your own, and the config of a run folder names those of its run.'
    )


def check_dataset_classes(cfg: Config, loops: tuple[str, ...]) -> None:
    """Check ``metainfo.classes`` wherever a config, its paths checked, gives it.

    Raises:
        BadInput: The classes are one text, name one twice, or are not as many as the
            model's ``num_classes``.
    """
    for loop, dataset in datasets_of(cfg, loops):
        classes = (dataset.get('metainfo') or {}).get('classes')
        if not classes:
            continue
        name = f'{loop}_dataloader.dataset.metainfo.classes'
        if isinstance(classes, str):
            if os.path.isfile(classes):
                continue  # mmengine reads them from the file
            raise BadInput(
                f'{name} = {classes!r} is one text; a single class is written '
                f'({classes!r},), with the comma'
            )
        twice = [one for one, count in Counter(classes).items() if count > 1]
        if twice and cfg.get('default_scope') == 'mmdet':
            raise BadInput(
                f'{name} has {twice[0]!r} twice; a label of the data would be one of '
                'two numbers. Name each class once'
            )
        _check_model(cfg, name, len(classes))


def check_labels(cfg: Config, loops: tuple[str, ...]) -> None:
    """Refuse to score segmentation or classification data that have no labels.

    Raises:
        BadInput: They have none; says how predictions are written all the same.
    """
    for loop, dataset in datasets_of(cfg, loops):
        metrics = [m for m in tables_in(cfg.get(f'{loop}_evaluator')) if 'type' in m]
        name, kind = f'{loop}_dataloader.dataset', str(dataset.get('type'))
        prefix = dataset.get('data_prefix')
        if all(metric.get('format_only') for metric in metrics):
            continue
        no_maps = isinstance(prefix, dict) and prefix.get('seg_map_path') is None
        if cfg.get('default_scope') == 'mmseg' and no_maps:
            raise BadInput(
                f'{name}.data_prefix has no seg_map_path: there are no label maps to '
                'score against. To write predictions only, set '
                f'{loop}_evaluator.format_only=True and {loop}_evaluator.output_dir='
                'DIR, and take LoadAnnotations out of the pipeline'
            )
        unlabelled = kind.endswith('ImageNet') and dataset.get('split') == 'test'
        if unlabelled or dataset.get('with_label') is False:
            raise BadInput(
                f'{name} holds no labels to score against (with_label=False, or '
                "ImageNet's test split); tools/image_demo.py predicts without labels"
            )


def _check_model(cfg: Config, name: str, count: int) -> None:
    for table in tables_in(cfg.get('model')):
        if 'RPN' in str(table.get('type')):
            continue  # it tells objects from background
        known = count_in(table)
        if known not in (None, count):
            raise BadInput(
                f'{name} has {count} entries, but the model has num_classes='
                f'{known} in its {table.get("type")}; make them equal'
            )


def count_in(table: dict) -> int | None:
    """How many classes a part of a model tells, MaskFormer's things and stuff too."""
    if 'num_things_classes' in table:
        return table['num_things_classes'] + table.get('num_stuff_classes', 0)
    return table.get('num_classes')


def say_padding(cfg: Config, loops: tuple[str, ...]) -> list[str]:
    """Lines for the log where boxes of one image depend on the others of its batch."""
    sizes = {loop: cfg[f'{loop}_dataloader'].get('batch_size') for loop in loops
             if cfg.get(f'{loop}_dataloader')}  # fmt: skip
    return [
        f'data warning: {loop}_dataloader.batch_size={size} pads images of different '
        'sizes to one, which changes their boxes (the shifts of MS-MLP go around the '
        'padded map); 1 is exact, and so are batches of equal sizes'
        for loop, size in sizes.items()
        if cfg.get('default_scope') == 'mmdet' and size and size > 1
    ]


def check_classes(cfg: Config, checkpoint: str) -> None:
    """Refuse a segmentor's file that does not name its classes.

    MMSegInferencer would label its output with Cityscapes' 19 classes.

    Raises:
        CheckpointError: ``meta.dataset_meta`` is missing, or the file is unsafe.
    """
    if cfg.get('default_scope') != 'mmseg':
        return
    meta = peek_checkpoint(checkpoint).get('meta')
    if not isinstance(meta, dict) or not meta.get('dataset_meta'):
        raise CheckpointError(
            f'{checkpoint} does not say which classes it knows (meta.dataset_meta); '
            'use a checkpoint as tools/train.py writes it'
        )
