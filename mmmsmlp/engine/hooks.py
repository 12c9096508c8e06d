"""Hooks of a training run: its seeds, what its checkpoints hold, a record of it."""

import json
import logging
import os
import platform
import random
import shlex
import subprocess
import sys
from collections import OrderedDict, deque
from collections.abc import Iterable
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import Runner

import mmmsmlp

from ..configs import checkout
from ..registry import FUNCTIONS, HOOKS


@HOOKS.register_module()
class SeedByProgressHook(Hook):
    """Seeds before every epoch and iteration.

    What the model draws (drop path, samplers of regions) depends on the iteration
    alone. So does what a pipeline draws in this process. Data workers are seeded when
    they start: with every epoch, unless they persist.
    """

    priority = 'VERY_HIGH'

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed for the epoch's first batch, and for the workers that start now."""
        torch.manual_seed(_seed_pipelines(runner, runner.iter))

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Seed for the model, and for the batch that is loaded after this step."""
        _seed_pipelines(runner, runner.iter + 1)
        torch.manual_seed(derive(runner.seed, get_rank(), 1, runner.iter))


def _seed_pipelines(runner: Runner, iteration: int) -> int:
    seed = derive(runner.seed, get_rank(), 0, iteration)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    return seed


def derive(*numbers: int) -> int:
    """A seed of 63 bits that differs wherever one of the numbers does."""
    low, high = np.random.SeedSequence(numbers).generate_state(2)
    return (int(high) << 32 | int(low)) >> 1


@FUNCTIONS.register_module()
def seed_worker(worker_id: int, **_: Any) -> None:
    """Seed a data worker from what torch gave it, which changes with each epoch."""
    seed = torch.initial_seed()
    random.seed(seed)
    np.random.seed(seed % 2**32)


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Saves what ``torch.load(weights_only=True)`` reads without any list of names.

    mmengine pickles its log buffers and numpy's scalars as objects, for which the
    toolboxes' inferencers fall back to a loader that runs code. They are saved as plain
    values, and the buffers come back when a run is resumed, from older files too.
    """

    priority = 'LOWEST'  # behind the hooks that add to a checkpoint

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Make everything in it plain."""
        for key, value in checkpoint.items():
            checkpoint[key] = to_plain(value, key)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Make log buffers again."""
        hub = checkpoint.get('message_hub')
        logs = (hub.get('log_scalars') if isinstance(hub, dict) else None) or {}
        for name, saved in logs.items():
            logs[name] = _to_buffer(saved)


_PLAIN = (
    *(type(None), bool, int, float, complex, str, bytes),
    *(torch.Tensor, torch.nn.Parameter, torch.Size, torch.dtype, torch.device),
)

# OneCycleLR keeps one; the config makes it again.
_FUNCTIONS = FunctionType, MethodType, BuiltinMethodType


def to_plain(value: Any, place: str = '') -> Any:
    """Turn a value into builtin ones and tensors; one that is none is told, and stays.

    Args:
        value: Anything that a checkpoint holds.
        place: Where it stands there, such as 'meta.dataset_meta'.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, (np.generic, np.ndarray)):
        return to_plain(value.tolist(), place)
    if isinstance(value, HistoryBuffer):
        logged = zip(('_log_history', '_count_history'), value.data, strict=True)
        arrays = {name: torch.from_numpy(array) for name, array in logged}
        return dict(arrays, max_length=value.max_length)
    if isinstance(value, dict):
        items = {
            to_plain(k): to_plain(v, f'{place}.{k}')
            for k, v in value.items()
            if not isinstance(v, _FUNCTIONS)
        }
        if not isinstance(value, OrderedDict):
            return items
        ordered = OrderedDict(items)
        ordered.__dict__.update(to_plain(vars(value), place))  # a state dict's versions
        return ordered
    if isinstance(value, (set, frozenset)):
        return {to_plain(one, place) for one in value}
    if isinstance(value, (list, tuple, deque)):
        plain = (to_plain(one, place) for one in value)
        return tuple(plain) if isinstance(value, tuple) else list(plain)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    _tell(type(value).__name__, place)
    return value


@cache  # once a run, not once a checkpoint
def _tell(kind: str, place: str) -> None:
    print_log(
        f'the checkpoint holds a {kind} at {place}: what does not run code while '
        'loading, such as torch.load(weights_only=True), will refuse it',
        logger='current',
        level=logging.WARNING,
    )


def _to_buffer(saved: Any) -> Any:
    """The log buffer of a plain one, or of what is read from files with real ones."""
    state = getattr(saved, 'state', saved)
    if not isinstance(state, dict) or '_log_history' not in state:
        return saved
    logged = (np.asarray(state[key]) for key in ('_log_history', '_count_history'))
    return HistoryBuffer(*logged, max_length=state['max_length'])


PACKAGES = (
    *('torchvision', 'numpy'),
    *('onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmsegmentation'),
    *('onedl-mmpretrain', 'mmengine', 'mmcv', 'mmcv-lite', 'mmdet', 'mmsegmentation'),
    'mmpretrain',
)


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Writes ``run.json`` into the run's dated folder before training starts.

    It holds the command, the config's path, the versions, the commit of the checkout
    and whether it was changed, the sizes of the data sets, the joint batch size, the
    seed and the machine.
    """

    def before_train(self, runner: Runner) -> None:
        """Write the file; process 0 alone."""
        if is_main_process():
            path = Path(runner.log_dir) / 'run.json'
            record = json.dumps(_record(runner), indent=1)
            path.write_text(record + '\n', encoding='utf-8')


def _record(runner: Runner) -> dict:
    loaders = {'train': runner.train_dataloader}
    if runner.val_loop is not None:
        loaders['val'] = runner.val_loop.dataloader
    loader = runner.train_dataloader  # its batch sampler may hold the batch size
    batch = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None)
    return {
        'command': shlex.join(sys.argv),
        'folder': os.getcwd(),
        'config': runner.cfg.filename,
        'started': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'versions': {
            'python': platform.python_version(),
            'mmmsmlp': mmmsmlp.__version__,
            'torch': torch.__version__,  # names the build, unlike the package's version
            **versions_of(PACKAGES),
        },
        'commit': _commit(),
        'images': {name: len(loader.dataset) for name, loader in loaders.items()},
        'processes': get_world_size(),
        'joint_batch_size': batch and batch * get_world_size(),
        'seed': runner.seed,
        'resumed_from': runner.cfg.load_from if runner.cfg.get('resume') else None,
        'machine': f'{platform.node()}, {platform.platform()}',
    }


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """Of the checkout that runs; ``None`` for an installed package."""
    root = checkout()
    if root is None or not (root / '.git').exists():
        return None
    git = ['git', '-C', str(root)]
    try:
        commit = subprocess.check_output([*git, 'rev-parse', 'HEAD']).decode().strip()
        changed = subprocess.check_output([*git, 'status', '--porcelain', '-uno'])
    except (OSError, subprocess.CalledProcessError):
        return None
    return f'{commit} with changes' if changed else commit
