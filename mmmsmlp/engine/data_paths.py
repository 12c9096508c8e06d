"""Does the data that a config names exist? Asked before training, not after."""

import os
from collections.abc import Iterator
from pathlib import Path

from mmengine.config import Config

from .cli import CHECKOUT, BadInput

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
    for loop in loops:
        if not cfg.get(f'{loop}_cfg') or not cfg.get(f'{loop}_dataloader'):
            continue
        for dataset in _datasets(cfg[f'{loop}_dataloader'].get('dataset')):
            _check_dataset(dataset, loop)
        evaluator = cfg.get(f'{loop}_evaluator') or []
        for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
            if isinstance(metric, dict) and _is_local(metric, 'ann_file'):
                path = _locate(metric['ann_file'])
                _require(path, metric['ann_file'], f'{loop}_evaluator.ann_file')
                metric['ann_file'] = str(path)


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
    for key, entry in _entries(dataset):
        _require(
            _locate(os.path.join(root, entry)),
            os.path.join(root, entry),
            f'{name}.{key}',
        )


def _entries(dataset: dict) -> Iterator[tuple[str, str]]:
    if _is_local(dataset, 'ann_file'):
        yield 'ann_file', dataset['ann_file']
    prefix = dataset.get('data_prefix') or {}
    if isinstance(prefix, str):
        prefix = {'': prefix}
    for key in prefix:
        if _is_local(prefix, key):
            yield f'data_prefix.{key}'.rstrip('.'), prefix[key]


def _is_local(table: dict, key: str) -> bool:
    value = table.get(key)
    return isinstance(value, str) and value != '' and '://' not in value


def _locate(path: str) -> Path:
    given = Path(path).expanduser()
    if not given.exists() and (CHECKOUT / given).exists():
        return CHECKOUT / given
    return given


def _require(path: Path, given: str, name: str) -> None:
    if not path.exists():
        raise BadInput(
            f'{name} = {given} does not exist (looked in {Path.cwd()} and {CHECKOUT}). '
            'docs/data.md says where each dataset goes and how to name your own.'
        )
