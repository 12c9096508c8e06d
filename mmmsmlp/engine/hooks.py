"""Hooks of a training run: seeds that follow its progress, a record of what ran."""

import json
import os
import platform
import random
import shlex
import subprocess
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook

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

    def before_train_epoch(self, runner) -> None:
        """Seed for the epoch's first batch, and for the workers that start now."""
        torch.manual_seed(_seed_pipelines(runner, runner.iter))

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Seed for the model, and for the batch that is loaded after this step."""
        _seed_pipelines(runner, runner.iter + 1)
        torch.manual_seed(derive(runner.seed, get_rank(), 1, runner.iter))


def _seed_pipelines(runner, iteration: int) -> int:
    seed = derive(runner.seed, get_rank(), 0, iteration)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    return seed


def derive(*numbers: int) -> int:
    """A seed of 63 bits that differs wherever one of the numbers does."""
    low, high = np.random.SeedSequence(numbers).generate_state(2)
    return (int(high) << 32 | int(low)) >> 1


@FUNCTIONS.register_module()
def seed_worker(worker_id: int, **_) -> None:
    """Seed a data worker from what torch gave it, which changes with each epoch."""
    seed = torch.initial_seed()
    random.seed(seed)
    np.random.seed(seed % 2**32)


PACKAGES = (
    *('torchvision', 'numpy'),
    *('onedl-mmengine', 'onedl-mmcv', 'onedl-mmdetection', 'onedl-mmsegmentation'),
    *('onedl-mmpretrain', 'mmengine', 'mmcv', 'mmdet', 'mmsegmentation', 'mmpretrain'),
)


@HOOKS.register_module()
class RunRecordHook(Hook):
    """Writes ``run.json`` into the run's dated folder before training starts.

    It holds the command, the config's path, the versions, the commit of the checkout
    and whether it was changed, the sizes of the data sets, the joint batch size, the
    seed and the machine.
    """

    def before_train(self, runner) -> None:
        """Write the file; process 0 alone."""
        if is_main_process():
            path = Path(runner.log_dir) / 'run.json'
            path.write_text(json.dumps(_record(runner), indent=1) + '\n')


def _record(runner) -> dict:
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
        commit = subprocess.check_output([*git, 'rev-parse', 'HEAD'], text=True).strip()
        changed = subprocess.check_output([*git, 'status', '--porcelain', '-uno'])
    except (OSError, subprocess.CalledProcessError):
        return None
    return f'{commit} with changes' if changed else commit
