"""Launch the mix-shift kernels: pure functions on tensors, no autograd, no state.

The caller asks :func:`unavailable` first; these functions check nothing.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import triton
from torch import Tensor

from ...torch_private import foreach_copy
from ..spec import Filters, Groups
from . import kernels
from .layout import (
    SLAB,
    correlate_jobs,
    flat_lengths,
    mix_tables,
    pack_index,
    pack_length,
    transposed,
)

# Rows that one load of a window's row serves. Four keeps the accumulators and a 7x7
# filter's column of taps in registers, and leaves few empty rows where shifts cut maps
# of 56, 28, 14 or 7 rows into pieces.
ROWS = 4
# Columns of one warp: 8 values a thread and row, one vector load of 16 bytes in half
# precision and two in fp32. Twice as many need over 190 registers a thread.
WARP_COLUMNS = 16
# Registers a thread may use, by bytes of an element: as many warps as fit with at most
# four registers of a 7x7 filter spilled, to have loads under way while others compute.
MIX_REGISTERS = {2: 128, 4: 168}
# Columns and warps of a program of the weight gradient, column taps included: with 8
# taps, 8 columns.
UNIT_COLUMNS, UNIT_WARPS = 64, 4
# Programs to aim for: several waves on any current GPU. A constant and not the number
# of multiprocessors, so that sums are cut alike, and so are equal, on all of them.
PROGRAMS = 2048


def forward(x: Tensor, filters: Filters, groups: Groups) -> Tensor:
    """Mix and shift along both axes in one kernel; see :func:`mmmsmlp.ops.mix_shift`.

    Args:
        x: (N, C, H, W); copied to channels_last memory if it is not there.
        filters: Depth-wise; any floating dtype.
        groups: What they stand for.

    Returns:
        Tensor (N, C, H, W), channels_last, dtype of x; accumulated in fp32.
    """
    weights_h, biases_h, weights_v, biases_v = filters
    flat = flatten([*weights_h, *weights_v, *biases_h, *biases_v])
    return launch_mix(x, pack(flat, groups, mirrored=False), groups)


def backward(
    grad: Tensor, x: Tensor, filters: Filters, groups: Groups
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Gradients of :func:`forward`, the same bits at every call.

    Args:
        grad: Gradient of the output, (N, C, H, W).
        x: The input of the forward.
        filters: Its filters; their biases are not read.
        groups: What they stand for.

    Returns:
        Gradients of x, of ``weights_h``, of ``weights_v``, and of either bias list:
        both biases are added to every pixel of a group, so theirs are equal.
    """
    grad_x = input_gradient(grad, filters, groups)
    flat = parameter_gradient(grad, x, filters, groups)
    return grad_x, *split_flat(flat, filters)


def input_gradient(grad: Tensor, filters: Filters, groups: Groups) -> Tensor:
    """Gradient of x: the forward kernel with the other order and mirrored filters."""
    groups = transposed(groups)
    flat = flatten([*filters.weights_h, *filters.weights_v])
    return launch_mix(grad, pack(flat, groups, mirrored=True), groups)


def parameter_gradient(
    grad: Tensor, x: Tensor, filters: Filters, groups: Groups
) -> Tensor:
    """Gradients of all parameters in one flat tensor, for :func:`split_flat`.

    Fixed ranges of pixels are summed in fp32 by one kernel and their sums added in a
    fixed order by a second: no atomics, so a repeated call gives the same bits.
    """
    grad, x = channels_last(grad), channels_last(x)
    batch, channels, height, width = x.shape
    jobs = correlate_jobs(groups, height, width, x.device)
    n_units = triton.cdiv(batch * width, UNIT_COLUMNS) * triton.cdiv(height, ROWS)
    per_range = triton.cdiv(n_units, max(1, PROGRAMS // len(jobs)))
    n_ranges = triton.cdiv(n_units, per_range)
    length = pack_length(groups)
    partial = x.new_empty((n_ranges, length), dtype=torch.float32)
    flat = filters.weights_h[0].new_empty(sum(flat_lengths(groups)))
    with on(x.device):
        kernels.correlate_kernel[(n_ranges * len(jobs),)](
            grad, x, partial, jobs, len(jobs), n_units, per_range, length,
            batch * width, height, width, channels,
            ROLL_FIRST=groups.roll_first, SIZES=distinct(groups), SLAB=SLAB,
            COLUMNS=UNIT_COLUMNS, ROWS=ROWS, num_warps=UNIT_WARPS,
        )  # fmt: skip
        kernels.unpack_kernel[(triton.cdiv(length, 64),)](
            partial, pack_index(groups, False, x.device), flat, length, n_ranges,
            BLOCK=64, RANGES=32, num_warps=4,
        )  # fmt: skip
    return flat


def split_flat(
    flat: Tensor, filters: Filters
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Copy the flat gradients, in one kernel, to tensors of their own and of their
    parameters' strides: an operator of PyTorch may not return views of one buffer."""
    weights_h, _, weights_v, _ = filters
    count = len(weights_h)
    biases = [weight.new_empty(weight.shape[0]) for weight in weights_h]
    copies = [torch.empty_like(weight) for weight in (*weights_h, *weights_v)] + biases
    parts = flat[: sum(copy.numel() for copy in copies)].split(
        [copy.numel() for copy in copies]
    )
    shaped = [part.view(copy.shape) for part, copy in zip(parts, copies, strict=True)]
    foreach_copy(copies, shaped)
    return copies[:count], copies[count : 2 * count], biases


def launch_mix(x: Tensor, packed: Tensor, groups: Groups) -> Tensor:
    """Run the forward kernel on x with packed filters."""
    x = channels_last(x)
    batch, channels, height, width = x.shape
    y = torch.empty_like(x, memory_format=torch.channels_last)
    items, passes = mix_tables(groups, height, width, ROWS, x.device)
    warps = variant(x.shape, groups, x.device)
    columns = WARP_COLUMNS * warps
    grid = (triton.cdiv(batch * width, columns) * len(items),)
    with on(x.device):
        kernels.mix_kernel[grid](
            x, y, packed, items, passes, len(items),
            batch * width, height, width, channels,
            ROLL_FIRST=groups.roll_first, SIZES=distinct(groups), SLAB=SLAB,
            COLUMNS=columns, ROWS=ROWS, num_warps=warps,
            maxnreg=MIX_REGISTERS[x.element_size()],
        )  # fmt: skip
    return y


def variant(shape: Sequence[int], groups: Groups, device: torch.device) -> int:
    """Which of its compiled forms the forward kernel takes: its warps a program."""
    batch, _, height, width = shape
    items, _ = mix_tables(groups, height, width, ROWS, device)
    return choose_warps(batch * width, len(items))


def choose_warps(columns: int, n_items: int) -> int:
    """Warps of a forward program: two share their borders in L1 and load fewer tables,
    but only where that leaves enough programs to fill the device."""
    return 2 if triton.cdiv(columns, WARP_COLUMNS * 2) * n_items >= PROGRAMS else 1


def pack(flat: Tensor, groups: Groups, mirrored: bool) -> Tensor:
    """Arrange the parameters as the kernel reads them, fp32 (see ``layout``)."""
    length = pack_length(groups)
    packed = flat.new_empty(length, dtype=torch.float32)
    index = pack_index(groups, mirrored, flat.device)
    with on(flat.device):
        kernels.pack_kernel[(triton.cdiv(length, 1024),)](
            flat, index, packed, length, BLOCK=1024, num_warps=4
        )
    return packed


def flatten(parameters: Sequence[Tensor]) -> Tensor:
    """One copy of all parameters, so that one kernel packs them."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in parameters])


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def distinct(groups: Groups) -> tuple[int, ...]:
    """Filter sizes that a kernel is compiled for."""
    return tuple(sorted(set(groups.sizes)))


def on(device: torch.device) -> AbstractContextManager[None]:
    """Make this GPU current for a launch; nothing to do under the interpreter."""
    return torch.cuda.device(device) if device.type == 'cuda' else nullcontext()
