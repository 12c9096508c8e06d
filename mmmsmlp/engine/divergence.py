"""The guard against NaN: a run stops where its loss or its weights are no numbers."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from itertools import chain, count
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..checkpoints import non_finite
from ..errors import Diverged, join_some
from ..registry import HOOKS


@dataclass(frozen=True)
class BadStep:
    """A step whose loss was no number, as one process saw it.

    Attributes:
        step: Number of the iteration, from 1.
        epoch: From 1.
        process: Its rank.
        terms: The loss and its terms.
        norm: The gradient's norm before it; ``None`` where it was not measured.
        normed: The step of that norm.
        images: Paths of the batch, or ids.
    """

    step: int
    epoch: int
    process: int
    terms: dict[str, float]
    norm: float | None
    normed: int
    images: tuple[str, ...]

    def __str__(self) -> str:
        terms = ', '.join(f'{name} {value:.4g}' for name, value in self.terms.items())
        where = f' of process {self.process}' if get_world_size() > 1 else ''
        known = self.norm is not None
        norm = f'{self.norm:.4g} in step {self.normed}' if known else 'not measured'
        return (
            f'first in step {self.step} (epoch {self.epoch}){where} with {terms}, '
            f'gradient norm {norm}, '
            f'images {join_some(self.images, 8) or "that have no path or id"}'
        )


EVERY = 10  # steps, from the first on: norms that nobody clips by are measured


@HOOKS.register_module()
class DivergenceHook(Hook):
    """Stops a run, all processes together, once its loss is NaN or infinite.

    Weights that are not finite are neither saved nor evaluated, so the last checkpoint
    stays a sound one. Steps that fp16's scaler leaves out do not count: their loss is a
    number.

    Args:
        steps: How many steps in a row with such a loss stop the run; with 0 or ``None``
            none does, and the weights are still looked at.
    """

    priority = 'ABOVE_NORMAL'  # ahead of what averages, saves and evaluates

    def __init__(self, steps: int | None = 3):
        self.steps = steps or 0
        self.row = 0
        self.first: BadStep | None = None
        self.norm: tuple[int, Tensor] | None = None
        self.born_so: set[str] = set()

    def before_train(self, runner: Runner) -> None:
        """Note what is infinite on purpose, and measure gradients that nobody clips."""
        self.row, self.first, self.norm = 0, None, None
        self.born_so = set(_broken(runner))
        optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
        clipped = getattr(runner.optim_wrapper, 'clip_grad_kwargs', None)
        if self.steps and isinstance(optimizer, torch.optim.Optimizer) and not clipped:
            self._measure_before_steps_of(optimizer, runner)

    def _measure_before_steps_of(
        self, optimizer: torch.optim.Optimizer, runner: Runner
    ) -> None:
        """Wrap its steps: torch 2.1 loses their hooks where torch.compile is loaded."""
        step, steps = optimizer.step, count()

        @wraps(step)  # with the marks that schedulers look for
        def measured(*args: Any, **kwargs: Any) -> Any:
            if next(steps) % EVERY == 0:
                self.norm = runner.iter + 1, _norm_of(optimizer)
            return step(*args, **kwargs)

        optimizer.step = measured  # type: ignore[method-assign]

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Look at the loss.

        Raises:
            Diverged: It was no number ``steps`` times in a row.
        """
        if not self.steps:
            return
        terms = {k: v for k, v in (outputs or {}).items() if 'loss' in k}
        if 'loss' in terms:  # the sum of the others; mmengine's log has waited for it
            bad = not isfinite(_item(terms['loss']))
        else:
            bad = not all(map(isfinite, map(_item, terms.values())))
        if not _anywhere(bad):
            self.row, self.first = 0, None
            return
        self.row += 1
        if bad and self.first is None:
            self.first = self._look(runner, terms, data_batch)
        if self.row == self.steps:
            raise Diverged(
                self._message(
                    runner, f'the loss is not finite in {self.row} steps in a row'
                )
            )
        if self.row == 1:
            runner.logger.warning(
                f'step {runner.iter + 1}: the loss is not finite; {self.steps} steps '
                'in a row stop the run'
            )

    def after_train_epoch(self, runner: Runner) -> None:
        """Look at the weights before they are saved.

        Raises:
            Diverged: They hold a NaN or an infinity.
        """
        self._check_weights(runner)

    def before_val(self, runner: Runner) -> None:
        """As after an epoch, for those who train by iterations."""
        self._check_weights(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Refuse to save weights that are not finite.

        Raises:
            Diverged: They hold a NaN or an infinity.
        """
        for part in ('state_dict', 'ema_state_dict'):
            found = map(_bare, non_finite(checkpoint.get(part) or {}))
            if broken := [name for name in found if name not in self.born_so]:
                raise Diverged(self._message(runner, _weights(broken), together=False))

    def _check_weights(self, runner: Runner) -> None:
        broken = [name for name in _broken(runner) if name not in self.born_so]
        if _anywhere(bool(broken)):
            raise Diverged(self._message(runner, _weights(broken)))

    def _look(self, runner: Runner, terms: dict, data_batch: Any) -> BadStep:
        normed, norm = self.norm or (0, None)
        logged = runner.message_hub.log_scalars.get('train/grad_norm')
        if logged is not None and len(logged.data[0]) > 1:
            normed, norm = runner.iter, logged.data[0][-2]
        return BadStep(
            step=runner.iter + 1,
            epoch=runner.epoch + 1,
            process=get_rank(),
            terms={name: _item(value) for name, value in terms.items()},
            norm=None if norm is None else float(norm),
            normed=normed,
            images=tuple(images_of(data_batch)),
        )

    def _message(self, runner: Runner, what: str, together: bool = True) -> str:
        seen = all_gather_object(self.first) if together else [self.first]
        steps = sorted(filter(None, seen), key=lambda one: (one.step, one.process))
        first = steps[0] if steps else None
        cures = ' '.join(
            f'({i}) {cure};' for i, cure in enumerate(_cures(runner, first), 1)
        )
        return (
            f'training diverged: {what}'
            + (f', {first}' if first else f' after step {runner.iter}')
            + f'; rate {_rate(runner):.4g}. {_last_sound(runner)} '
            f'Try, in this order: {cures.rstrip(";")}.'
        )


def _norm_of(optimizer: torch.optim.Optimizer) -> Tensor:
    of_all = chain.from_iterable(group['params'] for group in optimizer.param_groups)
    grads = [p.grad for p in of_all if p.grad is not None]
    return torch.stack([grad.norm() for grad in grads]).norm()


def _item(value: Any) -> float:
    return value.item() if isinstance(value, Tensor) else float(value)


def _weights(names: Sequence[str]) -> str:
    tensors = (
        f'{len(names)} tensors of the model are not finite ({join_some(names, 3)})'
    )
    return tensors if names else 'weights of another process are not finite'


def _bare(name: str) -> str:
    return name.removeprefix('module.')


def _broken(runner: Runner) -> list[str]:
    """The model's tensors that are not finite; of a sharded one, the shards here."""
    model = runner.model
    own = chain(model.named_parameters(), model.named_buffers())
    return [_bare(name) for name in non_finite(dict(own))]


def _anywhere(bad: bool) -> bool:
    """Whether it is so in any process: they go on, or stop, together."""
    if get_world_size() == 1:
        return bad
    flag = torch.tensor(float(bad))
    all_reduce(flag, 'max')
    return bool(flag)


def images_of(data: Any) -> Iterator[str]:
    """The path of each image in a batch, or its id, however the batch is nested."""
    if isinstance(data, BaseDataElement):
        known = data.metainfo.get('img_path') or data.metainfo.get('img_id')
        if known is not None:
            yield str(known)
    elif isinstance(data, dict):
        for value in data.values():
            yield from images_of(value)
    elif isinstance(data, (list, tuple)):
        for value in data:
            yield from images_of(value)


def _last_sound(runner: Runner) -> str:
    note = Path(runner.work_dir) / 'last_checkpoint'
    if not note.is_file():
        return 'No checkpoint was written before.'
    return (
        f'The last sound checkpoint is {os.fsdecode(note.read_bytes()).strip()}, from '
        'which the same command with --resume and a cure goes on.'
    )


def _rates(runner: Runner) -> list[float]:
    return [rate for rates in runner.optim_wrapper.get_lr().values() for rate in rates]


def _rate(runner: Runner) -> float:
    return max(_rates(runner), default=0.0)


EARLY = 1000  # steps within which a warm-up counts
LARGE = 1e3  # of a gradient's norm


def _cures(runner: Runner, first: BadStep | None) -> list[str]:
    """What helps, those first that fit what was seen."""
    wrapper: Any = runner.optim_wrapper
    rate, before = _rate(runner), first.norm if first else None
    exploded = before is not None and before > LARGE
    too_high, lower = _judge_rate(runner, rate)
    fp16 = isinstance(wrapper, AmpOptimWrapper) and wrapper.cast_dtype in (
        None,
        torch.float16,
    )
    clip = getattr(wrapper, 'clip_grad_kwargs', None)
    norm = f'lower than {clip["max_norm"]:g}' if clip and 'max_norm' in clip else '1'
    calm = first is not None and not (too_high or exploded or fp16)
    early = runner.iter < EARLY
    cures = [
        (too_high, lower),
        (fp16, 'another precision, --amp bf16 or none: fp16 ends at 65504')
        if fp16
        else (),
        (exploded, f'gradient clipping, optim_wrapper.clip_grad.max_norm={norm}'),
        (calm and not early, 'the boxes, labels and pixels of the images named'),
        (early, 'a longer warm-up, LinearLR as the first of param_scheduler'),
    ]
    return [cure[1] for cure in sorted(filter(None, cures), key=lambda one: not one[0])]


def _judge_rate(runner: Runner, rate: float) -> tuple[bool, str]:
    """Whether the rate is suspected, and the cure that says so."""
    scaling = runner.cfg.get('auto_scale_lr') or {}
    base, joint = scaling.get('base_batch_size'), joint_batch(runner.cfg)
    if base and joint and not scaling.get('enable') and base >= 2 * joint:
        return True, (
            f'--auto-scale-lr: the rate is for {base:g} images a step, and this run '
            f'takes {joint}'
        )
    kind = str((runner.cfg.optim_wrapper.get('optimizer') or {}).get('type', ''))
    usual = 1e-2 if 'Adam' in kind or 'Lion' in kind else 1.0
    said = f', since {rate:g} is far above what {kind} trains with'
    return (
        rate > usual,
        f'a lower rate, optim_wrapper.optimizer.lr{said * (rate > usual)}',
    )


def joint_batch(cfg: Any) -> int:
    """Images of all processes that one step of the optimizer sees; 0 if not known."""
    batch = cfg.train_dataloader.get('batch_size') or 0
    accumulated = cfg.optim_wrapper.get('accumulative_counts', 1)
    return batch * get_world_size() * accumulated
