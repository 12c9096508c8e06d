"""What ran? One JSON file a run says it, beside the log."""

import json
import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook

import mmmsmlp

from ..configs import checkout
from ..registry import HOOKS

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
        'versions': _versions(),
        'commit': _commit(),
        'images': {name: len(loader.dataset) for name, loader in loaders.items()},
        'processes': get_world_size(),
        'joint_batch_size': batch and batch * get_world_size(),
        'seed': runner.seed,
        'resumed_from': runner.cfg.load_from if runner.cfg.get('resume') else None,
        'machine': f'{platform.node()}, {platform.platform()}',
    }


def _versions() -> dict[str, str]:
    found = {
        'python': platform.python_version(),
        'mmmsmlp': mmmsmlp.__version__,
        'torch': torch.__version__,  # names the build, as the package's version may not
    }
    for package in PACKAGES:
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
