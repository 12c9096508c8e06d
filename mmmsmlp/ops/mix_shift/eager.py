"""The fast mix-shift path without compiled code, for any device; depth-wise only.

What it saves over the reference: nothing is concatenated, since each group writes
its slice of one channels_last map; a roll is never a pass of its own, but part of the
addition or copy that is needed anyway; and 1x1 groups are multiply-adds. On large maps
each group runs by itself, so that it stays in cache; on small ones, where starting an
operation costs more than its arithmetic, like neighbours run as one, and so they do in
the backward pass, which starts more operations on each.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .depthwise import LAST, depthwise, filter_grad, input_grad
from .gathering import roll_both, sum_rolled
from .rolling import add_rolled, rolled_copies, scaled_rolls

SMALL = 640 * 1024  # numbers in a map; measured on an AMD EPYC, two threads


class Run(NamedTuple):
    """Neighbouring groups of one kernel size and width."""

    groups: slice
    channels: slice
    size: int
    widths: list[int]


def forward(
    x: Tensor,
    weights_h: Sequence[Tensor],
    biases_h: Sequence[Tensor],
    weights_v: Sequence[Tensor],
    biases_v: Sequence[Tensor],
    shift_dist: Sequence[int],
    order: str,
) -> Tensor:
    """Compute :func:`mmmsmlp.ops.mix_shift`; (N, C, H, W), channels_last.

    The ``mix_*`` and ``unmix_*`` functions below do one run each: ``x`` and ``grad``
    are the run's channels (N, c, H, W), the filters and biases lists with one entry a
    group, ``widths`` their channels, and ``distances`` signed, as :func:`rolls` gives
    them. ``y`` and ``out`` are slices of the result and are written in place.
    """
    x = x.contiguous(memory_format=LAST)
    y = torch.empty_like(x)
    small = is_small(x)
    for run in find_runs(weights_h, merge=small):
        filters = [
            list(tensors[run.groups])
            for tensors in (weights_h, biases_h, weights_v, biases_v)
        ]
        distances = rolls(shift_dist[run.groups], order)
        x_run, y_run = x[:, run.channels], y[:, run.channels]
        if run.size == 1:
            mix_tokens(y_run, x_run, *filters, run.widths, distances)
        elif small:
            mix_gathered(y_run, x_run, *filters, distances, order)
        else:
            mix_patched(y_run, x_run, *filters, run.widths, distances, order)
    return y


def rolls(shift_dist: Sequence[int], order: str) -> list[int]:
    """Distances d such that each order rolls by ``-d`` (see ``mix_shift``)."""
    return [d if order == 'mix_shift' else -d for d in shift_dist]


def mix_tokens(y, x, weights_h, biases_h, weights_v, biases_v, widths, distances):
    """Write a run of 1x1 groups; mixing single tokens commutes with shifting them."""
    bias = join(biases_h) + join(biases_v)
    weight_h, weight_v = join(weights_h), join(weights_v)
    scaled_rolls(y, x, weight_h, weight_v, bias, widths, distances)


def mix_gathered(y, x, weights_h, biases_h, weights_v, biases_v, distances, order):
    """Write a run of a small map: both axes in one convolution, one gather."""
    weight = torch.cat([*weights_h, *weights_v])
    bias = torch.cat([*biases_h, *biases_v])
    if order == 'mix_shift':
        mixed = depthwise(torch.cat([x, x], 1), weight, bias)
        y.copy_(sum_rolled(mixed, distances))
    else:
        mixed = depthwise(roll_both(x, distances), weight, bias)
        torch.add(*mixed.chunk(2, 1), out=y)


def mix_patched(
    y, x, weights_h, biases_h, weights_v, biases_v, widths, distances, order
):
    """Write a run of a large map, rolled patch by patch."""
    weight_h, weight_v = join(weights_h), join(weights_v)
    bias = join(biases_h) + join(biases_v)
    if order == 'mix_shift':
        x = x.contiguous(memory_format=LAST)
        mixed_h, mixed_v = depthwise(x, weight_h, bias), depthwise(x, weight_v)
        add_rolled(y, mixed_h, mixed_v, widths, distances)
    else:
        rolled_h, rolled_v = rolled_copies(x, widths, distances)
        mixed_h = depthwise(rolled_h, weight_h, bias)
        torch.add(mixed_h, depthwise(rolled_v, weight_v), out=y)


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
    small = is_small(x)
    for run in find_runs(weights_h, merge=True):
        filters = list(weights_h[run.groups]), list(weights_v[run.groups])
        distances = rolls(shift_dist[run.groups], order)
        out, grad_run, x_run = (m[:, run.channels] for m in (grad_x, grad, x))
        if run.size == 1:
            grad_h, grad_v = unmix_tokens(
                out, grad_run, x_run, *filters, run.widths, distances
            )
        elif small:
            grad_h, grad_v = unmix_gathered(
                out, grad_run, x_run, *filters, distances, order
            )
        else:
            grad_h, grad_v = unmix_patched(
                out, grad_run, x_run, *filters, run.widths, distances, order
            )
        grads_h += split(grad_h, run.widths)
        grads_v += split(grad_v, run.widths)
    widths = [weight.shape[0] for weight in weights_h]
    return grad_x, grads_h, grads_v, split(grad.sum((0, 2, 3)), widths)


def unmix_tokens(out, grad, x, weights_h, weights_v, widths, distances):
    """Write the map's gradient of :func:`mix_tokens`, return the filters'."""
    reverse = [-distance for distance in distances]
    weight_h, weight_v = join(weights_h), join(weights_v)
    scaled_rolls(out, grad, weight_h, weight_v, None, widths, reverse)
    return channel_dots(grad, *rolled_copies(x, widths, distances))


def unmix_gathered(out, grad, x, weights_h, weights_v, distances, order):
    """Write the map's gradient of :func:`mix_gathered`, return the filters'."""
    weight = torch.cat([*weights_h, *weights_v])
    reverse = [-distance for distance in distances]
    if order == 'mix_shift':
        grad = roll_both(grad, reverse)
        torch.add(*input_grad(grad, weight).chunk(2, 1), out=out)
    else:
        grad, x = torch.cat([grad, grad], 1), roll_both(x, distances)
        out.copy_(sum_rolled(input_grad(grad, weight), reverse))
    return filter_grad(grad, x, weight.shape[-1]).chunk(2)


def unmix_patched(out, grad, x, weights_h, weights_v, widths, distances, order):
    """Write the map's gradient of :func:`mix_patched`, return the filters'."""
    weight_h, weight_v = join(weights_h), join(weights_v)
    reverse = [-distance for distance in distances]
    if order == 'mix_shift':
        grad_h, grad_v = rolled_copies(grad, widths, reverse)
        x_h = x_v = x.contiguous(memory_format=LAST)
        mixed = input_grad(grad_h, weight_h), input_grad(grad_v, weight_v)
        torch.add(*mixed, out=out)
    else:
        grad_h = grad_v = grad.contiguous(memory_format=LAST)
        x_h, x_v = rolled_copies(x, widths, distances)
        mixed = input_grad(grad_h, weight_h), input_grad(grad_v, weight_v)
        add_rolled(out, *mixed, widths, reverse)
    size = weight_h.shape[-1]
    return filter_grad(grad_h, x_h, size), filter_grad(grad_v, x_v, size)


def is_small(x: Tensor) -> bool:
    """Whether starting an operation on the map costs more than its arithmetic."""
    return x.is_cpu and 0 < x.numel() <= SMALL


def join(tensors: list[Tensor]) -> Tensor:
    """Concatenate the groups of a run; a single one is not copied."""
    return torch.cat(tensors) if len(tensors) > 1 else tensors[0]


def find_runs(weights: Sequence[Tensor], merge: bool) -> Iterator[Run]:
    """Each group by itself, or with ``merge`` neighbours of one shape together."""
    first = start = 0
    for n, weight in enumerate(weights, 1):
        if merge and n < len(weights) and weights[n].shape == weight.shape:
            continue
        widths = [weight.shape[0]] * (n - first)
        stop = start + sum(widths)
        yield Run(slice(first, n), slice(start, stop), weight.shape[-1], widths)
        first, start = n, stop


def split(tensor: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """Copies of the groups' parts, contiguous as the parameters are.

    An operator's outputs must not share memory, and DDP copies gradients whose
    strides differ from their parameter's.
    """
    return [
        part.clone(memory_format=torch.contiguous_format)
        for part in tensor.split(widths)
    ]


def channel_dots(
    grad: Tensor, horizontal: Tensor, vertical: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of 1x1 depth-wise weights: sums over all tokens, (c, 1, 1, 1)."""
    precise = grad.float() if grad.dtype.itemsize < 4 else grad
    return tuple(
        (precise * rolled).sum((0, 2, 3)).view(-1, 1, 1, 1).to(grad.dtype)
        for rolled in (horizontal, vertical)
    )
