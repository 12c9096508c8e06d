"""Does the data that a config names exist? Asked before training, not after."""

import os
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from ..configs import checkout
from ..errors import BadInput

LOOPS = ('train', 'val', 'test')


def check_data_paths(cfg: Config, loops: tuple[str, ...] = LOOPS) -> None:
    """Check every dataset path of the loops that a run uses.

    A relative path counts from the working directory, as everywhere in OpenMMLab.
    One that is only found in the checkout is made absolute, so that a tool runs from
    any directory.

    Args:
        cfg: Config; its paths may be changed.
        loops: 'train', 'val', 'test': what the run will use.

    Raises:
        BadInput: A path does not exist; names it and what the config calls it.
    """
    for loop, dataset in datasets_of(cfg, loops):
        _check_dataset(dataset, loop)
    for loop in _used(cfg, loops):
        evaluator = cfg.get(f'{loop}_evaluator') or []
        for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
            if isinstance(metric, dict) and _is_local(metric, 'ann_file'):
                path = _locate(metric['ann_file'])
                _require(path, metric['ann_file'], f'{loop}_evaluator.ann_file')
                metric['ann_file'] = str(path)


def datasets_of(cfg: Config, loops: tuple[str, ...]) -> Iterator[tuple[str, dict]]:
    """The name of the loop and the dataset's table, for every dataset that is used."""
    for loop in _used(cfg, loops):
        for dataset in _datasets(cfg[f'{loop}_dataloader'].get('dataset')):
            yield loop, dataset


def _used(cfg: Config, loops: tuple[str, ...]) -> list[str]:
    # mmpretrain's loops are empty dicts: nothing to configure, and they run.
    return [
        loop
        for loop in loops
        if cfg.get(f'{loop}_cfg') is not None and cfg.get(f'{loop}_dataloader')
    ]


def _datasets(dataset) -> Iterator[dict]:
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
        path = _locate(root)
        _require(path, root, f'{name}.data_root')
        dataset['data_root'] = root = str(path)
    elif root:
        return
    for table, key, called in _entries(dataset):
        given = os.path.join(root, table[key])
        path = _locate(given)
        _require(path, given, f'{name}.{called}')
        if not root:
            table[key] = str(path)


def _entries(dataset: dict) -> Iterator[tuple[dict, str, str]]:
    """Where paths stand below ``data_root``: a table, its key, and what to call it."""
    if _is_local(dataset, 'ann_file'):
        yield dataset, 'ann_file', 'ann_file'
    if _is_local(dataset, 'data_prefix'):
        yield dataset, 'data_prefix', 'data_prefix'
    elif dataset.get('data_prefix'):
        for key in dataset['data_prefix']:
            if _is_local(dataset['data_prefix'], key):
                yield dataset['data_prefix'], key, f'data_prefix.{key}'


def _is_local(table: dict, key: str) -> bool:
    value = table.get(key)
    return isinstance(value, str) and value != '' and '://' not in value


def _locate(path: str) -> Path:
    given = Path(path).expanduser()
    ours = checkout()
    if not given.exists() and ours and (ours / given).exists():
        return ours / given
    return given


def _require(path: Path, given: str, name: str) -> None:
    if not path.exists():
        places = {str(Path.cwd()), str(checkout() or Path.cwd())}
        raise BadInput(
            f'{name} = {given} does not exist (looked in {" and ".join(sorted(places))}'
            '). docs/data.md of the repository says where each dataset goes and how to '
            'name your own.'
        )
