"""Which random numbers does a step draw? Those of its own number, resumed or not.

mmengine seeds once, at the start of the process. A resumed run then draws other numbers
than one that was never stopped, and data workers that start anew every epoch repeat the
same augmentations in each. Here the seeds follow from the run's seed, the process and
how far training is.
"""

import random

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.hooks import Hook

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


def seed_by_progress(cfg: Config) -> None:
    """Make training draw its random numbers as this module says."""
    hook = dict(type='mmmsmlp.SeedByProgressHook')
    cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), hook]
    if cfg.get('train_dataloader'):
        worker = dict(type='mmmsmlp.seed_worker')
        cfg.train_dataloader.setdefault('worker_init_fn', worker)
