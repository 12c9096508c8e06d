"""The fast mix-shift path without compiled code, for any device; depth-wise only.

What it saves over the reference: nothing is concatenated, since each group writes
its slice of one channels_last map; neighbouring groups of one kernel size share a
convolution; a roll is never a pass of its own, but part of the addition or copy
that is needed anyway; and 1x1 groups are multiply-adds.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LAST = torch.channels_last


class Run(NamedTuple):
    """Neighbouring groups of one kernel size."""

    groups: slice
    channels: slice
    size: int


def forward(
    x: Tensor,
    weights_h: Sequence[Tensor],
    biases_h: Sequence[Tensor],
    weights_v: Sequence[Tensor],
    biases_v: Sequence[Tensor],
    shift_dist: Sequence[int],
    order: str,
) -> Tensor:
    """Compute :func:`mmmsmlp.ops.mix_shift`; (N, C, H, W), channels_last."""
    x = x.contiguous(memory_format=LAST)
    y = torch.empty_like(x)
    bias = torch.cat([*biases_h]) + torch.cat([*biases_v])
    for run in find_runs(weights_h):
        weight_h = torch.cat([*weights_h[run.groups]])
        weight_v = torch.cat([*weights_v[run.groups]])
        x_run, y_run = x[:, run.channels], y[:, run.channels]
        distances = shift_dist[run.groups]
        widths = [weight.shape[0] for weight in weights_h[run.groups]]
        if order == 'shift_mix':
            distances = [-distance for distance in distances]
        if run.size == 1:  # mixing single tokens commutes with shifting them
            scaled_rolls(
                y_run, x_run, weight_h, weight_v, bias[run.channels], widths, distances
            )
        elif order == 'mix_shift':
            x_run = x_run.contiguous(memory_format=LAST)
            mixed_h = depthwise(x_run, weight_h, bias[run.channels])
            mixed_v = depthwise(x_run, weight_v)
            add_rolled(y_run, mixed_h, mixed_v, widths, distances)
        else:
            rolled_h, rolled_v = rolled_copies(x_run, widths, distances)
            mixed_h = depthwise(rolled_h, weight_h, bias[run.channels])
            torch.add(mixed_h, depthwise(rolled_v, weight_v), out=y_run)
    return y


def backward(
    grad: Tensor,
    x: Tensor,
    weights_h: Sequence[Tensor],
    weights_v: Sequence[Tensor],
    shift_dist: Sequence[int],
    order: str,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Gradients of x, of both filter lists, and of either bias list (they are equal).

    The adjoint of a roll by ``-d`` is a roll by ``+d``, so each order's backward
    rolls where the other order's forward does.
    """
    x = x.contiguous(memory_format=LAST)
    grad = grad.contiguous(memory_format=LAST)
    grad_x = torch.empty_like(x)
    grads_h, grads_v = [], []
    for run in find_runs(weights_h):
        weight_h = torch.cat([*weights_h[run.groups]])
        weight_v = torch.cat([*weights_v[run.groups]])
        x_run, grad_run = x[:, run.channels], grad[:, run.channels]
        out = grad_x[:, run.channels]
        distances = shift_dist[run.groups]
        widths = [weight.shape[0] for weight in weights_h[run.groups]]
        if order == 'shift_mix':
            distances = [-distance for distance in distances]
        reverse = [-distance for distance in distances]
        if run.size == 1:
            scaled_rolls(out, grad_run, weight_h, weight_v, None, widths, reverse)
            rolled_h, rolled_v = rolled_copies(x_run, widths, distances)
            grad_h, grad_v = channel_dots(grad_run, rolled_h, rolled_v)
        elif order == 'mix_shift':
            x_run = x_run.contiguous(memory_format=LAST)
            rolled_h, rolled_v = rolled_copies(grad_run, widths, reverse)
            mixed_h, grad_h = depthwise_backward(rolled_h, x_run, weight_h)
            mixed_v, grad_v = depthwise_backward(rolled_v, x_run, weight_v)
            torch.add(mixed_h, mixed_v, out=out)
        else:
            grad_run = grad_run.contiguous(memory_format=LAST)
            rolled_h, rolled_v = rolled_copies(x_run, widths, distances)
            mixed_h, grad_h = depthwise_backward(grad_run, rolled_h, weight_h)
            mixed_v, grad_v = depthwise_backward(grad_run, rolled_v, weight_v)
            add_rolled(out, mixed_h, mixed_v, widths, reverse)
        grads_h += split(grad_h, widths)
        grads_v += split(grad_v, widths)
    widths = [weight.shape[0] for weight in weights_h]
    return grad_x, grads_h, grads_v, split(grad.sum((0, 2, 3)), widths)


def find_runs(weights: Sequence[Tensor]) -> Iterator[Run]:
    """Merge neighbouring groups of one kernel size."""
    first = start = stop = 0
    for n, weight in enumerate(weights):
        stop += weight.shape[0]
        size = weight.shape[-1]
        if n + 1 == len(weights) or weights[n + 1].shape[-1] != size:
            yield Run(slice(first, n + 1), slice(start, stop), size)
            first, start = n + 1, stop


def split(tensor: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """Copies of the groups' parts, contiguous as the parameters are.

    An operator's outputs must not share memory, and DDP copies gradients whose
    strides differ from their parameter's.
    """
    return [
        part.clone(memory_format=torch.contiguous_format)
        for part in tensor.split(widths)
    ]


def depthwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """'Same' depth-wise convolution."""
    return torch.conv2d(
        x, weight, bias, padding=weight.shape[-1] // 2, groups=weight.shape[0]
    )


def depthwise_backward(
    grad: Tensor, x: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`depthwise` for its input and its weight."""
    padding = [weight.shape[-1] // 2] * 2
    grad_x, grad_weight, _ = torch.ops.aten.convolution_backward(
        grad,
        x,
        weight,
        None,
        [1, 1],
        padding,
        [1, 1],
        False,
        [0, 0],
        weight.shape[0],
        [True, True, False],
    )
    return grad_x, grad_weight


class Patch(NamedTuple):
    """A rectangle of one group that a roll moves as a whole.

    Offsets count elements from where each map starts.
    """

    channels: slice
    size: tuple[int, int, int, int]
    target: int
    source_h: int
    source_v: int


def segments(size: int, distance: int) -> list[tuple[int, int, int]]:
    """Triples (target, source, length) of one axis under a roll by ``-distance``."""
    distance %= size
    split = size - distance
    return [(0, distance, split), (split, 0, distance)][: 2 if distance else 1]


@functools.lru_cache(maxsize=512)
def find_patches(
    shape: tuple[int, ...],
    target: tuple[int, ...],
    source_h: tuple[int, ...],
    source_v: tuple[int, ...],
    widths: tuple[int, ...],
    distances: tuple[int, ...],
    axes: str,
) -> tuple[Patch, ...]:
    """Cut a map into patches; the middle arguments are the strides of three maps.

    The addresses are computed once: on small maps, slicing by index would take
    longer than the arithmetic.
    """

    def offset(stride, channel, row, column):
        return channel * stride[1] + row * stride[2] + column * stride[3]

    patches, start = [], 0
    for width, distance in zip(widths, distances, strict=True):
        channels = slice(start, start + width)
        over_rows = segments(shape[2], distance if 'H' in axes else 0)
        over_columns = segments(shape[3], distance if 'W' in axes else 0)
        for row, from_row, rows in over_rows:
            for column, from_column, columns in over_columns:
                patches.append(
                    Patch(
                        channels,
                        (shape[0], width, rows, columns),
                        offset(target, start, row, column),
                        offset(source_h, start, row, from_column),
                        offset(source_v, start, from_row, column),
                    )
                )
        start += width
    return tuple(patches)


def rolled_views(
    target: Tensor,
    source_h: Tensor,
    source_v: Tensor,
    widths: Sequence[int],
    distances: Sequence[int],
    axes: str = 'HW',
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """For each patch: its channels, and views of three maps of one shape.

    The first is where it goes, the second and third where a roll by ``-d`` along W
    and along H takes it from; an axis that is not in ``axes`` is not rolled along.
    """
    maps = target, source_h, source_v
    strides = [tensor.stride() for tensor in maps]
    starts = [tensor.storage_offset() for tensor in maps]
    patches = find_patches(
        target.shape, *strides, tuple(widths), tuple(distances), axes
    )
    for channels, size, *offsets in patches:
        yield (
            channels,
            *(
                tensor.as_strided(size, stride, start + offset)
                for tensor, stride, start, offset in zip(
                    maps, strides, starts, offsets, strict=True
                )
            ),
        )


def add_rolled(
    out: Tensor,
    horizontal: Tensor,
    vertical: Tensor,
    widths: Sequence[int],
    distances: Sequence[int],
) -> None:
    """Write roll(horizontal, -d, W) + roll(vertical, -d, H) for each group."""
    views = rolled_views(out, horizontal, vertical, widths, distances)
    for _, target, from_h, from_v in views:
        torch.add(from_h, from_v, out=target)


def scaled_rolls(
    out: Tensor,
    x: Tensor,
    weight_h: Tensor,
    weight_v: Tensor,
    bias: Tensor | None,
    widths: Sequence[int],
    distances: Sequence[int],
) -> None:
    """Write weight_h * roll(x, -d, W) + weight_v * roll(x, -d, H) + bias."""
    weight_h, weight_v = weight_h.view(1, -1, 1, 1), weight_v.view(1, -1, 1, 1)
    bias = torch.zeros_like(weight_h) if bias is None else bias.view(1, -1, 1, 1)
    for channels, target, from_h, from_v in rolled_views(out, x, x, widths, distances):
        scale_h, scale_v = weight_h[:, channels], weight_v[:, channels]
        if from_h.storage_offset() == from_v.storage_offset():  # not rolled
            torch.addcmul(bias[:, channels], from_h, scale_h + scale_v, out=target)
        else:
            torch.addcmul(bias[:, channels], from_h, scale_h, out=target)
            target.addcmul_(from_v, scale_v)


def rolled_copies(
    x: Tensor, widths: Sequence[int], distances: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Copies of x with each group rolled by -d, once along W and once along H."""
    horizontal = torch.empty(
        x.shape, dtype=x.dtype, device=x.device, memory_format=LAST
    )
    vertical = torch.empty_like(horizontal)
    for _, target, from_h, _ in rolled_views(horizontal, x, x, widths, distances, 'W'):
        target.copy_(from_h)
    for _, target, _, from_v in rolled_views(vertical, x, x, widths, distances, 'H'):
        target.copy_(from_v)
    return horizontal, vertical


def channel_dots(
    grad: Tensor, horizontal: Tensor, vertical: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of 1x1 depth-wise weights: sums over all tokens, (c, 1, 1, 1)."""
    precise = grad.float() if grad.dtype.itemsize < 4 else grad
    return tuple(
        (precise * rolled).sum((0, 2, 3)).view(-1, 1, 1, 1).to(grad.dtype)
        for rolled in (horizontal, vertical)
    )
