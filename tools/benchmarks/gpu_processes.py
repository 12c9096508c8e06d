"""``gpu_check``: DDP and FSDP on one GPU and on all of them (NCCL), or on gloo."""

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, distributed, multiprocessing, nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.parallel import DistributedDataParallel

from mmmsmlp.engine.fsdp import wrap_blocks
from mmmsmlp.run.launch import leave_gloo

from .gate import without_tf32
from .gpu_correct import BACKBONE
from .gpu_scale import SCALES, Scale, finding, worst_error

STEPS = 3
LIMIT = BACKBONE[torch.float32][1]  # of gradients, and of losses


def processes(scale: Scale) -> Iterator[dict]:
    """One training step of each kind on one process and on all, beside no process.

    Every process takes its share of one batch, in float32.
    """
    counts = {1, torch.cuda.device_count()} if scale.device == 'cuda' else {2}
    for count in sorted(counts):
        with tempfile.TemporaryDirectory() as folder:
            arguments = scale.device, count, folder
            multiprocessing.spawn(_work, arguments, nprocs=count)
            found = torch.load(Path(folder, 'found'), weights_only=True)
        want, _ = _train(scale.net(), scale.images(*_batch(count)).cpu())
        for kind, (losses, seconds) in found.items():
            # Of all steps: on its way down a loss may pass zero.
            error = worst_error([torch.tensor(losses)], [torch.tensor(want)])
            what = f'{kind}, {count} process(es), {_group(scale.device)}'
            result = f'losses of {STEPS} steps differ by {error:.1e}; '
            result += f'{1e3 * seconds:.0f} ms the last one'
            yield finding(what, result, error <= LIMIT, error)


def _batch(count: int) -> tuple[int, int, int]:
    return 2 * count, 64, 96


def _group(device: str) -> str:
    return 'nccl' if device == 'cuda' else 'gloo'


def _work(rank: int, device: str, count: int, folder: str) -> None:
    """What each process runs; the first writes what it found."""
    scale = SCALES[device]
    place = torch.device(device, rank if device == 'cuda' else None)
    if device == 'cuda':
        torch.cuda.set_device(place)
    method = f'file://{folder}/meet'
    distributed.init_process_group(
        _group(device), init_method=method, rank=rank, world_size=count
    )
    images = scale.images(*_batch(count)).cpu()[2 * rank :][:2].to(place)
    wrappers = {
        'DDP': DistributedDataParallel,
        'FSDP': partial(
            FullyShardedDataParallel,
            auto_wrap_policy=wrap_blocks,
            use_orig_params=True,
            device_id=place,
        ),
    }
    found = {}
    for name, wrap in wrappers.items():
        with without_tf32():
            found[name] = _train(wrap(scale.net().to(place)), images)
    if rank == 0:
        torch.save(found, Path(folder, 'found'))
    if device == 'cuda':
        distributed.destroy_process_group()
    else:
        leave_gloo()


def _train(net: nn.Module, x: Tensor) -> tuple[list[float], float]:
    """The losses of a few steps of SGD, over the images of all processes.

    And the seconds of the last step, when everything is compiled and met.
    """
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)
    losses = []
    for _ in range(STEPS):
        start = time.perf_counter()
        # Normalised maps have no gradient in their squares; a ramp sees them.
        loss = sum((y * _ramp(y)).mean() for y in net(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        shared = loss.detach()
        if distributed.is_initialized():
            distributed.all_reduce(shared)
            shared = shared / distributed.get_world_size()
        losses.append(shared.item())
    return losses, time.perf_counter() - start


def _ramp(y: Tensor) -> Tensor:
    """Factors from -1 to 1 over the values of one image."""
    return torch.linspace(-1, 1, y[0].numel(), device=y.device).view(y[0].shape)
