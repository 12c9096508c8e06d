"""Launch the mix-shift kernels: pure functions on tensors, no autograd, no state.

The caller asks :func:`unavailable` first; these functions check nothing.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
import triton
from torch import Tensor

from . import kernels, packing
from .layout import (
    SLAB,
    Groups,
    correlate_jobs,
    flat_lengths,
    mix_tables,
    pack_index,
    pack_length,
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


def forward(
    x: Tensor,
    weights_h: Sequence[Tensor],
    biases_h: Sequence[Tensor],
    weights_v: Sequence[Tensor],
    biases_v: Sequence[Tensor],
    shift_dist: Sequence[int],
    order: str,
) -> Tensor:
    """Mix and shift along both axes in one kernel; see :func:`mmmsmlp.ops.mix_shift`.

    Args:
        x: (N, C, H, W); copied to channels_last memory if it is not there.
        weights_h: S depth-wise filters (c_n, 1, r_n, r_n); any floating dtype.
        biases_h: S biases (c_n,).
        weights_v: As ``weights_h``.
        biases_v: As ``biases_h``.
        shift_dist: S distances.
        order: ``'mix_shift'`` or ``'shift_mix'``.

    Returns:
        Tensor (N, C, H, W), channels_last, dtype of x; accumulated in fp32.
    """
    groups = describe(weights_h, shift_dist, order)
    flat = flatten([*weights_h, *weights_v, *biases_h, *biases_v])
    return launch_mix(x, pack(flat, groups, mirrored=False), groups)


def backward(
    grad_y: Tensor,
    x: Tensor,
    weights_h: Sequence[Tensor],
    weights_v: Sequence[Tensor],
    shift_dist: Sequence[int],
    order: str,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Gradients of :func:`forward`, the same bits at every call.

    Args:
        grad_y: Gradient of y, (N, C, H, W).
        x: The input of the forward.
        weights_h: Its filters.
        weights_v: Its filters.
        shift_dist: Its distances.
        order: Its order.

    Returns:
        Gradients of x, of ``weights_h``, of ``weights_v``, and of either bias list:
        both biases are added to every pixel of a group, so theirs are equal.
    """
    grad_x = input_gradient(grad_y, weights_h, weights_v, shift_dist, order)
    flat = parameter_gradient(grad_y, x, weights_h, shift_dist, order)
    return grad_x, *split_flat(flat, weights_h, weights_v)


def input_gradient(
    grad_y: Tensor,
    weights_h: Sequence[Tensor],
    weights_v: Sequence[Tensor],
    shift_dist: Sequence[int],
    order: str,
) -> Tensor:
    """Gradient of x: the forward kernel with the other order and mirrored filters."""
    groups = describe(weights_h, shift_dist, order).transposed()
    flat = flatten([*weights_h, *weights_v])
    return launch_mix(grad_y, pack(flat, groups, mirrored=True), groups)


def parameter_gradient(
    grad_y: Tensor,
    x: Tensor,
    weights_h: Sequence[Tensor],
    shift_dist: Sequence[int],
    order: str,
) -> Tensor:
    """Gradients of all parameters in one flat tensor, for :func:`split_flat`.

    Fixed ranges of pixels are summed in fp32 by one kernel and their sums added in a
    fixed order by a second: no atomics, so a repeated call gives the same bits.
    """
    groups = describe(weights_h, shift_dist, order)
    grad_y, x = channels_last(grad_y), channels_last(x)
    batch, channels, height, width = x.shape
    jobs = correlate_jobs(groups, height, width, x.device)
    n_units = triton.cdiv(batch * width, UNIT_COLUMNS) * triton.cdiv(height, ROWS)
    per_range = triton.cdiv(n_units, max(1, PROGRAMS // len(jobs)))
    n_ranges = triton.cdiv(n_units, per_range)
    length = pack_length(groups)
    partial = x.new_empty((n_ranges, length), dtype=torch.float32)
    flat = weights_h[0].new_empty(sum(flat_lengths(groups)))
    with on(x.device):
        kernels.correlate_kernel[(n_ranges * len(jobs),)](
            grad_y, x, partial, jobs, len(jobs), n_units, per_range, length,
            batch * width, height, width, channels,
            ROLL_FIRST=groups.roll_first, SIZES=distinct(groups), SLAB=SLAB,
            COLUMNS=UNIT_COLUMNS, ROWS=ROWS, num_warps=UNIT_WARPS,
        )  # fmt: skip
        packing.unpack_kernel[(triton.cdiv(length, 64),)](
            partial, pack_index(groups, False, x.device), flat, length, n_ranges,
            BLOCK=64, RANGES=32, num_warps=4,
        )  # fmt: skip
    return flat


def split_flat(
    flat: Tensor, weights_h: Sequence[Tensor], weights_v: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Copy the flat gradients, in one kernel, to tensors of their own and of their
    parameters' strides: an operator of PyTorch may not return views of one buffer."""
    count = len(weights_h)
    biases = [weight.new_empty(weight.shape[0]) for weight in weights_h]
    copies = [torch.empty_like(weight) for weight in (*weights_h, *weights_v)] + biases
    parts = flat[: sum(copy.numel() for copy in copies)].split(
        [copy.numel() for copy in copies]
    )
    shaped = [part.view(copy.shape) for part, copy in zip(parts, copies, strict=True)]
    torch._foreach_copy_(copies, shaped)
    return copies[:count], copies[count : 2 * count], biases


def launch_mix(x: Tensor, packed: Tensor, groups: Groups) -> Tensor:
    """Run the forward kernel on x with packed filters."""
    x = channels_last(x)
    batch, channels, height, width = x.shape
    y = torch.empty_like(x, memory_format=torch.channels_last)
    items, passes = mix_tables(groups, height, width, ROWS, x.device)
    warps = choose_warps(batch * width, len(items))
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
        packing.pack_kernel[(triton.cdiv(length, 1024),)](
            flat, index, packed, length, BLOCK=1024, num_warps=4
        )
    return packed


def flatten(parameters: Sequence[Tensor]) -> Tensor:
    """One copy of all parameters, so that one kernel packs them."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in parameters])


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def describe(
    weights: Sequence[Tensor], shift_dist: Sequence[int], order: str
) -> Groups:
    """The channel groups that these filters stand for."""
    widths = tuple(weight.shape[0] for weight in weights)
    sizes = tuple(weight.shape[-1] for weight in weights)
    return Groups(widths, sizes, tuple(shift_dist), order)


def distinct(groups: Groups) -> tuple[int, ...]:
    """Filter sizes that a kernel is compiled for."""
    return tuple(sorted(set(groups.sizes)))


def on(device: torch.device):
    """Make this GPU current for a launch; nothing to do under the interpreter."""
    return torch.cuda.device(device) if device.type == 'cuda' else nullcontext()
