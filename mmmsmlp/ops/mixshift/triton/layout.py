"""The layout of the kernels' work: slabs, passes and packed filters.

A *slab* is ``SLAB`` neighbouring channels. A *pass* is one filter size and one shift
applied to a slab; its filters are zero for the channels of the slab that belong to
another group, so a slab on a boundary has the passes of both groups and needs no
channel mask. (A value that is not finite therefore spreads over its slab's passes.)

The pack, fp32, is [biases, slab by slab][pass 0][pass 1]...; a pass is stored as
(column tap, row tap, channel of the slab). The flat list of parameters is
[horizontal filters][vertical filters][horizontal biases][vertical biases].
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate

import torch
from torch import Tensor

from ..spec import Groups

SLAB = 16


def count_slabs(groups: Groups) -> int:
    """How many slabs hold the channels of all groups."""
    return -(-groups.channels // SLAB)


def transposed(groups: Groups) -> Groups:
    """The input gradient is the forward of the other order with mirrored filters.

    The roll by -d after the convolution becomes a roll by +d before it.
    """
    order = 'mix_shift' if groups.roll_first else 'shift_mix'
    return replace(groups, order=order)


@dataclass(frozen=True)
class Pass:
    """One filter size at one shift, over one slab."""

    slab: int
    group: int
    size: int
    row_step: int
    column_step: int
    branches: tuple[int, ...]  # 0 horizontal, 1 vertical; both where nothing is shifted
    offset: int


@lru_cache(maxsize=256)
def list_passes(groups: Groups) -> tuple[Pass, ...]:
    """The passes of every slab, slab by slab; a group that is not shifted needs one."""
    slabs, bounds = count_slabs(groups), groups.bounds
    passes, offset = [], slabs * SLAB
    for slab in range(slabs):
        for group, (start, stop) in enumerate(bounds):
            if stop <= slab * SLAB or start >= (slab + 1) * SLAB:
                continue
            size, step = groups.sizes[group], groups.steps[group]
            moves = [(0, step, (0,)), (step, 0, (1,))] if step else [(0, 0, (0, 1))]
            for row_step, column_step, branches in moves:
                passes.append(
                    Pass(slab, group, size, row_step, column_step, branches, offset)
                )
                offset += size * size * SLAB
    return tuple(passes)


def pack_length(groups: Groups) -> int:
    last = list_passes(groups)[-1]
    return last.offset + last.size**2 * SLAB


def flat_lengths(groups: Groups) -> list[int]:
    """Number of values of each parameter, in the order of the flat list."""
    filters = [c * r * r for c, r in zip(groups.widths, groups.sizes, strict=True)]
    return [*filters, *filters, *groups.widths, *groups.widths]


@lru_cache(maxsize=256)
def pack_index(groups: Groups, mirrored: bool, device: torch.device) -> Tensor:
    """Where each value of the pack comes from: int32 (2, pack_length).

    Two flat positions are added, -1 stands for zero. ``mirrored`` turns the filters by
    180 degrees and leaves the biases out, as the input gradient needs.
    """
    index = torch.full((2, pack_length(groups)), -1, dtype=torch.int32, device='cpu')
    bounds, count = groups.bounds, len(groups.widths)
    starts = [0, *accumulate(flat_lengths(groups))]
    for item in list_passes(groups):
        area = item.size**2
        block = index[:, item.offset : item.offset + area * SLAB].view(2, -1, SLAB)
        taps = (
            torch.arange(area, device='cpu').view(item.size, item.size).T.reshape(-1, 1)
        )
        if mirrored:
            taps = area - 1 - taps
        start, stop = bounds[item.group]
        first = max(start, item.slab * SLAB)
        channel = torch.arange(first, min(stop, (item.slab + 1) * SLAB), device='cpu')
        lane = slice(first - item.slab * SLAB, first - item.slab * SLAB + len(channel))
        for term, branch in enumerate(item.branches):
            begin = starts[branch * count + item.group]
            block[term, :, lane] = (begin + (channel - start) * area + taps).int()
    if not mirrored:
        for term in range(2):
            begin = starts[(2 + term) * count]
            index[term, : groups.channels] = begin + torch.arange(
                groups.channels, device='cpu'
            )
    return place(index, device)


@lru_cache(maxsize=1024)
def mix_tables(
    groups: Groups, height: int, width: int, rows: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Work of the forward kernel: items and passes, both int32.

    An item is (slab, first row, last row, first pass, last pass): up to ``rows`` output
    rows. Where the convolution comes before the roll, no item may cross the row at
    which its frame wraps around: its rows would no longer be neighbours there.
    """
    passes, items = list_passes(groups), []
    for slab in range(count_slabs(groups)):
        mine = [n for n, item in enumerate(passes) if item.slab == slab]
        cuts = {0, height}
        if not groups.roll_first:
            cuts |= {height - passes[n].row_step % height for n in mine}
        edges = sorted(cuts)
        for start, stop in zip(edges, edges[1:], strict=False):
            for row in range(start, stop, rows):
                last = min(row + rows, stop)
                items.append((slab, row, last, mine[0], mine[-1] + 1))
    # Slabs of one place run side by side: they share cache lines of x and y.
    items.sort(key=lambda item: (item[1], item[0]))
    table = [
        (item.size, item.row_step % height, item.column_step % width, item.offset)
        for item in passes
    ]
    return as_table(items, device), as_table(table, device)


@lru_cache(maxsize=1024)
def correlate_jobs(
    groups: Groups, height: int, width: int, device: torch.device
) -> Tensor:
    """Work of the weight gradient, int32: (slab, size, row shift, column shift,
    position of the filters in the pack, position of the bias or -1) per pass."""
    jobs, seen = [], set()
    for item in list_passes(groups):
        bias_at = -1 if item.slab in seen else item.slab * SLAB
        seen.add(item.slab)
        shifts = item.row_step % height, item.column_step % width
        jobs.append((item.slab, item.size, *shifts, item.offset, bias_at))
    return as_table(jobs, device)


def as_table(rows: Sequence[tuple[int, ...]], device: torch.device) -> Tensor:
    return place(torch.tensor(rows, dtype=torch.int32, device='cpu'), device)


def place(table: Tensor, device: torch.device) -> Tensor:
    """Copy a table that is kept to its device, by a thread of its own.

    While torch.compile warms up for CUDA graphs, it takes what this thread allocates
    for the graph's, and ends the run if that outlives the call. Inference mode, too,
    is a thread's.
    """
    if device.type == 'cpu':
        return table
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(table.to, device).result()
