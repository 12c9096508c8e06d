"""``--try``: a run's whole life in small, and what the whole run will take."""

import os
import shutil
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner

from ..configs import checkout
from ..errors import BadInput
from .config import build_runner
from .launch import stop_workers
from .mends import latest_checkpoint
from .preflight import datasets_of
from .training_checks import GIB, checkpoint_sizes, planned_checkpoints

STEPS = 6  # of training, before and after resuming
WARM_UP = 2  # of them, not counted
BATCHES = 6  # of each evaluation


class Times(Hook):
    """Seconds of what a run does, data included.

    Attributes:
        step: Of each step of training but the first ones.
        start: Of each first step: the data workers start.
        batch: Of each batch of an evaluation but the first.
        scoring: From the last batch to the metrics.
        saving: Of each checkpoint by number.
        saving_best: Of each of the best.
    """

    priority = 'LOW'  # just ahead of the checkpoints, whose time is their own

    def __init__(self) -> None:
        self.step: list[float] = []
        self.start: list[float] = []
        self.batch: list[float] = []
        self.scoring: list[float] = []
        self.saving: list[float] = []
        self.saving_best: list[float] = []
        self.last = 0.0

    def _lap(self, *_: Any, **__: Any) -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        before, self.last = self.last, time.perf_counter()
        return self.last - before

    before_train_epoch = before_val_epoch = _lap

    def before_train(self, runner: Runner) -> None:
        """Time the runner's saving, which has no hook at its end."""
        save = runner.save_checkpoint

        def timed(*args: Any, save_optimizer: bool = True, **kwargs: Any) -> None:
            self._lap()
            save(*args, save_optimizer=save_optimizer, **kwargs)
            (self.saving if save_optimizer else self.saving_best).append(self._lap())

        runner.save_checkpoint = timed

    def after_train_iter(
        self, runner: Runner, batch_idx: int, *_: Any, **__: Any
    ) -> None:
        """Note a step."""
        lap, number = self._lap(), batch_idx % STEPS
        if number == 0:
            self.start.append(lap)
        elif number >= WARM_UP:
            self.step.append(lap)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, *_: Any, **__: Any
    ) -> None:
        """Note a batch."""
        lap = self._lap()
        if batch_idx:
            self.batch.append(lap)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Note the scoring."""
        self.scoring.append(self._lap())


@dataclass(frozen=True)
class Plan:
    """What the whole run does.

    Attributes:
        steps: Iterations of training.
        starts: How often its data workers start.
        evaluations: How many there are.
        batches: Of one of them.
        written: Checkpoints by number.
        kept: Of these, what lies there in the end.
        best: Checkpoints of the best metrics, without the optimizer.
    """

    steps: int
    starts: int
    evaluations: int
    batches: int
    written: int
    kept: int
    best: int

    @classmethod
    def of(cls, runner: Runner) -> 'Plan':
        """Read it off a runner whose loops are built."""
        loop = runner.train_loop
        by_epoch = hasattr(loop, 'run_epoch')
        length = loop.max_epochs if by_epoch else loop.max_iters
        evaluations = [
            n
            for n in range(loop.val_begin, length + 1)
            if n % loop.val_interval == 0 or n == length
        ]
        hook = next((h for h in runner.hooks if isinstance(h, CheckpointHook)), None)
        written, kept, best = planned_checkpoints(runner, hook) if hook else (0, 0, 0)
        afresh = by_epoch and not runner.train_dataloader.persistent_workers
        return cls(
            steps=loop.max_iters,
            starts=length if afresh else 1,
            evaluations=len(evaluations) if runner.val_loop else 0,
            batches=len(runner.val_loop.dataloader) if runner.val_loop else 0,
            written=written,
            kept=kept,
            best=best,
        )


def go_through(cfg: Config, plan: Plan) -> str:
    """Train some steps, save, evaluate, resume, train on, evaluate and draw.

    Args:
        cfg: Config of the run; its work_dir is the trial's own.
        plan: The run as it will be.

    Returns:
        A table: what was done and measured, and what the whole run will take.

    Raises:
        BadInput: The drawing failed.
    """
    times = Times()
    small = shortened(cfg)
    _train(small, times, 1)
    small.update(resume=True, load_from=_last(cfg))
    small.train_cfg[_length_of(small)] *= 2
    runner = _train(small, times, 2)
    last = _last(cfg)
    sizes = Path(last).stat().st_size, checkpoint_sizes(runner)[1]
    drawn = _draw(small, runner, last) if is_main_process() else ''
    for weights in Path(cfg.work_dir).glob('*.pth'):
        if is_main_process():
            weights.unlink()
    return table(plan, times, sizes, cfg.work_dir) + f'\ndrawn: {drawn}'


def _last(cfg: Config) -> str:
    checkpoint = latest_checkpoint(cfg.work_dir)
    if checkpoint is None:
        raise BadInput(f'{cfg.work_dir} holds no checkpoint after {STEPS} steps')
    return checkpoint


def _length_of(cfg: Config) -> str:
    return 'max_epochs' if 'max_epochs' in cfg.train_cfg else 'max_iters'


def shortened(cfg: Config) -> Config:
    """The config of a run of :data:`STEPS` steps and one evaluation."""
    small = deepcopy(cfg)
    object.__setattr__(small, '_filename', cfg.filename)
    for loop, count in ('train', STEPS), ('val', BATCHES):
        for _, dataset in datasets_of(small, (loop,)):
            batch = small[f'{loop}_dataloader'].get('batch_size') or 1
            dataset['indices'] = count * batch * get_world_size()
    unit = _length_of(small)
    length = 1 if unit == 'max_epochs' else STEPS
    small.train_cfg.update({unit: length, 'val_interval': length, 'val_begin': 1})
    small.train_cfg.pop('dynamic_intervals', None)
    hooks = small.default_hooks
    hooks.checkpoint = {
        **(hooks.get('checkpoint') or dict(type='CheckpointHook')),
        **dict(interval=length, by_epoch=unit == 'max_epochs', save_begin=0),
        'published_keys': None,
    }
    hooks.logger = dict(hooks.get('logger') or dict(type='LoggerHook'), interval=1)
    return small


def _train(cfg: Config, times: Times, number: int) -> Runner:
    cfg.experiment_name = f'try-{number}-{os.getpid()}-{time.time()}'
    runner = build_runner(cfg, 'train')
    runner.register_hook(times)
    runner.train()
    stop_workers(runner)
    return runner


def _draw(cfg: Config, runner: Runner, checkpoint: str) -> str:
    """Draw one image by tools/image_demo.py; gives its folder."""
    loader = runner.val_loop.dataloader if runner.val_loop else runner.train_dataloader
    image = loader.dataset.get_data_info(0)['img_path']
    record = Path(cfg.work_dir) / Path(cfg.filename).name
    folder = Path(cfg.work_dir) / 'drawn'
    paths = [str(checkout() or ''), os.environ.get('PYTHONPATH', '')]
    done = subprocess.run(
        [
            *(sys.executable, '-m', 'mmmsmlp', 'image_demo', image, record, checkpoint),
            *('--out-dir', folder, '--quiet'),
        ],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths))},
        capture_output=True,
    )
    if done.returncode:
        raise BadInput(
            f'drawing {image} failed: {done.stderr.decode(errors="replace")}'
        )
    return str(folder)


def table(plan: Plan, times: Times, sizes: tuple[int, int], folder: str) -> str:
    """What was measured, and what follows for the whole run.

    Args:
        plan: The whole run.
        times: What was measured.
        sizes: Bytes of a checkpoint, and of one without the optimizer.
        folder: Where the checkpoints will lie.
    """
    step, first, batch, scoring, saving, best = (
        fmean(laps) if laps else 0.0
        for laps in (
            # A run of two or three steps has none but the first ones.
            *(times.step or times.start, times.start[1:], times.batch, times.scoring),
            *(times.saving, times.saving_best),
        )
    )
    training = plan.steps * step + plan.starts * max(0.0, first - step)
    once = plan.batches * (batch + scoring / BATCHES)
    # Each may be the best so far; then the numbered one is written anew to note it.
    once_saved = once + plan.best * (best + saving)
    total = training + plan.evaluations * once_saved + plan.written * saving
    end = datetime.now() + timedelta(seconds=total)
    disk = plan.kept * sizes[0] + plan.best * sizes[1]
    free = shutil.disk_usage(folder).free
    peak, memory = _peak_memory()
    rows = [
        ('', 'measured', 'the whole run'),
        ('training', f'{step:.3f} s a step', f'{plan.steps} steps: {_span(training)}'),
        (
            'evaluation',
            f'{batch:.3f} s a batch',
            f'{plan.evaluations} of {plan.batches} batches: '
            + _span(plan.evaluations * once),
        ),
        (
            'checkpoints',
            f'{_bytes(sizes[0])}, {saving:.1f} s',
            f'{plan.kept} of {plan.written} stay'
            + f', and {plan.best} of the best' * bool(plan.best)
            + f': {_bytes(disk)} of {_bytes(free)} free',
        ),
        ('memory', _bytes(peak), f'of {_bytes(memory)}'),
        ('resuming', 'goes on', ''),
        ('in all', '', f'{_span(total)}; begun now, it ends {end:%Y-%m-%d %H:%M}'),
    ]
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    return '\n'.join(
        f'{a:{widths[0]}}  {b:{widths[1]}}  {c}'.rstrip() for a, b, c in rows
    )


def _bytes(count: float) -> str:
    return f'{count / GIB:.1f} GiB' if count >= GIB else f'{count / 2**20:.0f} MiB'


def _span(seconds: float) -> str:
    days, rest = divmod(round(seconds), 86400)
    return f'{days} d ' * bool(days) + str(timedelta(seconds=rest))


def _peak_memory() -> tuple[int, int]:
    """Bytes that this process took at its peak, on the GPU if there is one, and all."""
    if torch.cuda.is_available():
        device = torch.cuda.current_device()
        return (
            torch.cuda.max_memory_reserved(device),
            torch.cuda.get_device_properties(device).total_memory,
        )
    try:
        import resource
    except ImportError:  # on Windows
        import psutil  # type: ignore[import-untyped]

        memory = psutil.virtual_memory().total
        return psutil.Process().memory_info().peak_wset, memory
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    return peak * (1 if sys.platform == 'darwin' else 1024), memory
