"""Checks before training: what would end a run in its middle is said at once."""

import os
import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.hooks import CheckpointHook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.utils import apply_to

from ..engine.divergence import joint_batch
from ..errors import BadInput
from .config import tables_in
from .settings import unmatched_keys

GIB = 2**30


def look_ahead(runner: Runner) -> list[str]:
    """Check what is built; a sharded run's parts are not, yet.

    Returns:
        Lines for the log.

    Raises:
        BadInput: A check refuses the run.
    """
    if not isinstance(runner, Runner):
        return []
    check_channels(runner)
    check_data_sets(runner)
    check_last_batch(runner)
    check_shared_memory(runner)
    said = (
        check_space(runner), judge_rate(runner.cfg), compare_sizes(runner),
        unmatched_keys(runner),
    )  # fmt: skip
    return [line for line in said if line]


def check_channels(runner: Runner) -> None:
    """Compare the widths of our backbone's outputs with what the next part takes.

    Raises:
        BadInput: They differ; torch would say so in the first step.
    """
    model: Any = runner.model
    model = model.module if is_model_wrapper(model) else model
    widths = getattr(getattr(model, 'backbone', None), 'out_channels', None)
    if not isinstance(widths, list):
        return
    heads = ('decode_head', 'auxiliary_head')
    parts = ('neck',) if getattr(model, 'neck', None) else heads
    for name in parts:
        part = getattr(model, name, None)
        taken = getattr(part, 'in_channels', None)
        if taken is None:
            continue
        index = getattr(part, 'in_index', range(len(_listed(taken))))
        fit = [widths[i] if i < len(widths) else None for i in _listed(index)]
        if _listed(taken) != fit and len(fit) == len(_listed(taken)):
            raise BadInput(
                f'model.{name}.in_channels={taken} does not fit model.backbone, whose '
                f'outputs have {widths} channels'
            )


def _listed(value: Any) -> list:
    return list(value) if isinstance(value, Iterable) else [value]


def check_data_sets(runner: Runner) -> None:
    """Refuse to train on nothing, or to validate with nothing.

    Raises:
        BadInput: A dataset is empty.
    """
    loaders = {'train': runner.train_dataloader}
    if runner.val_loop is not None:
        loaders['val'] = runner.val_loop.dataloader
    for loop, loader in loaders.items():
        if not len(loader.dataset):
            raise BadInput(
                f'{loop}_dataloader.dataset has no image: its annotations are '
                'empty, or filter_cfg and the classes leave none'
            )


def fit_workers(cfg: Config, loops: tuple[str, ...]) -> list[str]:
    """Drop what asks for workers where a data loader has none; torch refuses it.

    Returns:
        Lines for the log.
    """
    notices = []
    for loop in loops:
        loader = cfg.get(f'{loop}_dataloader') or {}
        if loader.get('num_workers', 0):
            continue
        for key, off in ('persistent_workers', False), ('prefetch_factor', None):
            if loader.get(key):
                loader[key] = off
                notices.append(f'{loop}_dataloader: {key} is off, with num_workers=0')
    return notices


def check_batch_of_one(cfg: Config) -> None:
    """Refuse to train UperNet on single images where batch norm would fail.

    Its pyramid pools each image to 1x1. With one image a process and no
    synchronisation, batch norm there would divide by a variance of nothing. To be asked
    once SyncBN was replaced where it cannot run.

    Raises:
        BadInput: The batch size is 1, and a head pools to 1x1 before batch norm.
    """
    if not cfg.get('train_cfg') or cfg.train_dataloader.get('batch_size') != 1:
        return
    for name, norm in _pooled_to_one(cfg):
        raise BadInput(
            f'train_dataloader.batch_size=1 cannot train model.{name}: {norm} '
            f'Take 2 images or more a process, or {_other_norm(name)}'
        )


def check_last_batch(runner: Runner) -> None:
    """Refuse a last batch of one image, as :func:`check_batch_of_one`.

    Raises:
        BadInput: The images of a process leave one for the last batch of an epoch.
    """
    loader = runner.train_dataloader
    batch, images = loader.batch_size, len(loader.sampler)
    endless = 'Infinite' in type(loader.sampler).__name__
    if endless or not batch or loader.drop_last or images % batch != 1 or batch == 1:
        return
    for name, norm in _pooled_to_one(runner.cfg):
        each = ' of each process' if get_world_size() > 1 else ''
        raise BadInput(
            f'{images} images{each} at train_dataloader.batch_size={batch} leave a '
            f'last batch of one, which cannot train model.{name}: {norm} Take '
            'train_dataloader.drop_last=True, another batch size, or '
            f'{_other_norm(name)}'
        )


def _pooled_to_one(cfg: Config) -> Iterator[tuple[str, str]]:
    """Heads that pool to 1x1 before batch norm, and what is wrong with that."""
    for name in ('decode_head', 'auxiliary_head'):
        for head in tables_in(cfg.model.get(name)):
            norm = (head.get('norm_cfg') or {}).get('type')
            if 1 in head.get('pool_scales', ()) and norm in ('BN', 'BN2d'):
                yield (
                    name,
                    f'it pools each image to 1x1, and {norm} needs more than one value '
                    'a channel.',
                )


def _other_norm(name: str) -> str:
    return (
        f'a norm without batch statistics: model.{name}.norm_cfg.type=GN '
        f'model.{name}.norm_cfg.num_groups=32'
    )


def judge_rate(cfg: Config) -> str | None:
    """Say where nothing is learned, or the rate was chosen for quite another batch."""
    rate = (cfg.optim_wrapper.get('optimizer') or {}).get('lr')
    if rate == 0:
        return 'optim_wrapper.optimizer.lr=0: no weight will change'
    scaling = cfg.get('auto_scale_lr') or {}
    base, joint = scaling.get('base_batch_size'), joint_batch(cfg)
    if not base or not joint or scaling.get('enable') or 1 / 2 < joint / base < 2:
        return None
    scaled = f' (to {rate * joint / base:g})' if isinstance(rate, (int, float)) else ''
    return (
        f'the rate {rate} was chosen for {base} images a step, and this run takes '
        f'{joint}; --auto-scale-lr scales it{scaled}'
    )


def check_space(runner: Runner) -> str | None:
    """Compare what the checkpoints will take with what the disk has.

    Returns:
        One line for the log, where those of the whole run would not fit.

    Raises:
        BadInput: Not even one fits.
    """
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    if not hooks:
        return None
    size, best_size = checkpoint_sizes(runner)
    _, kept, best = planned_checkpoints(runner, hooks[0])
    folder = Path(runner.work_dir)
    free = shutil.disk_usage(folder).free
    said = (
        f'a checkpoint takes about {size / GIB:.2f} GiB, and {folder} has '
        f'{free / GIB:.2f} GiB left'
    )
    if size > free:
        raise BadInput(f'{said}; free some space, or name another --work-dir')
    if size * kept + best_size * best <= free:
        return None
    return (
        f'{said}, while the run keeps {kept + best} of them; '
        'default_hooks.checkpoint.max_keep_ckpts=2 keeps two'
    )


def checkpoint_sizes(runner: Runner) -> tuple[int, int]:
    """Bytes of one to resume from, and of a best one, which has no optimizer."""
    weights = sum(p.numel() * p.element_size() for p in runner.model.parameters())
    optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
    states = 2  # averages of Adam and its like
    if isinstance(optimizer, torch.optim.SGD):
        states = int(optimizer.defaults['momentum'] != 0)
    averaged = any('EMA' in type(hook).__name__ for hook in runner.hooks)
    return weights * (1 + states + averaged), weights * (1 + averaged)


def planned_checkpoints(runner: Runner, hook: CheckpointHook) -> tuple[int, int, int]:
    """How many are written by number, how many of them stay, and how many best ones."""
    loop = runner.train_loop
    length = loop.max_epochs if hook.by_epoch else loop.max_iters
    saved = -(-length // hook.interval) if hook.interval > 0 else 1  # the last one too
    kept = min(saved, hook.max_keep_ckpts) if hook.max_keep_ckpts > 0 else saved
    return saved, kept, len(hook.save_best or ())


def check_shared_memory(runner: Runner, folder: str = '/dev/shm') -> None:
    """Refuse where the batches of the data workers do not fit, as in a container.

    Raises:
        BadInput: They take more than is free.
    """
    loader = runner.train_dataloader
    if not loader.num_workers or not os.path.isdir(folder):
        return
    free = shutil.disk_usage(folder).free
    if free > GIB:
        return
    batch = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', 1)
    ahead = loader.num_workers * (loader.prefetch_factor or 2)
    ahead *= int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    needed = _size_of_sample(loader.dataset) * batch * ahead
    if needed > free:
        raise BadInput(
            f'the data workers hand over {ahead} batches of about '
            f'{needed / ahead / 2**20:.0f} MiB in {folder}, which has '
            f'{free / 2**20:.0f} MiB: they would die of a bus error. Enlarge it '
            '(docker run --shm-size=8g), or take train_dataloader.num_workers=0'
        )


def _size_of_sample(dataset: Any) -> int:
    """Bytes of the first one's tensors."""
    sizes: list[int] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    with drawing_nothing():
        apply_to(dataset[0], torch.is_tensor, note)
    return sum(sizes)


def compare_sizes(runner: Runner) -> str | None:
    """Say where pictures are evaluated at another scale than they are trained at.

    As where one pipeline resizes and the other does not, or a scale was changed in one
    alone: the metrics of such a run tell nothing. Random scales overlap, and sets whose
    pictures differ are made alike, or left as they are: neither is a fault.
    """
    if runner.val_loop is None:
        return None
    train = _seen(runner.cfg.train_dataloader, runner.train_dataloader.dataset)
    val = train and _seen(runner.cfg.val_dataloader, runner.val_loop.dataloader.dataset)
    if not val or not (_dwarfs(train, val) or _dwarfs(val, train)):
        return None
    lengths = (sorted({round(side) for side, _ in some}) for some in (train, val))
    trained, evaluated = (
        f'{few[0]}' + (f' to {few[-1]}' if few[1:] else '') for few in lengths
    )
    return (
        f'pictures are {trained} pixels long in training and {evaluated} in '
        "evaluation: give 'Resize' of both pipelines one scale"
    )


def _dwarfs(one: list[tuple], other: list[tuple]) -> bool:
    """Whether sides and scales of one are at least twice all those of the other."""
    return all(min(s[i] for s in one) >= 2 * max(s[i] for s in other) for i in (0, 1))


def _seen(loader: dict, dataset: Any, count: int = 5) -> list[tuple[float, float]]:
    """Long sides at which the model sees some pictures, whole, and their scales.

    Empty where samples do not tell: of several resizes they know the last one alone,
    and pictures that are put together have no size of their own.
    """
    kinds = [str(table.get('type')) for table in tables_in(loader.get('dataset'))]
    resizes = sum('Resize' in kind for kind in kinds)
    others = ('Mosaic', 'Mix', 'CopyPaste', 'Affine', 'Albu', 'Zoom')
    if resizes > 1 or any(other in kind for kind in kinds for other in others):
        return []
    seen = []
    with drawing_nothing():
        for number in sorted({i * len(dataset) // count for i in range(count)}):
            sample = dataset[number]
            told = sample.get('data_samples') if isinstance(sample, dict) else None
            known = getattr(told, 'metainfo', {})
            shape = known.get('ori_shape')
            scale = known.get('scale_factor', None if resizes else (1.0, 1.0))
            if not (_is_pair(shape) and _is_pair(scale)):
                return []
            side = max(shape[1] * scale[0], shape[0] * scale[1])
            seen.append((side, max(scale[:2])))
    return seen


def _is_pair(value: Any) -> TypeGuard[Sequence[float]]:
    listed = isinstance(value, (tuple, list)) and len(value) > 1
    return listed and all(isinstance(number, Real) for number in value)


@contextmanager
def drawing_nothing() -> Iterator[None]:
    """Leave the states of the generators as a run would find them."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
