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

from ..spec import Filters, Groups
from .depthwise import LAST, depthwise, filter_grad, input_grad
from .rolling import add_rolled, roll_both, rolled_copies, scaled_rolls, sum_rolled

SMALL = 640 * 1024  # numbers in a map; measured on an AMD EPYC, two threads


class Run(NamedTuple):
    """Neighbouring groups of one kernel size and width, and where they lie."""

    channels: slice
    filters: Filters
    groups: Groups

    @property
    def size(self) -> int:
        """Of every filter."""
        return self.groups.sizes[0]


def forward(x: Tensor, filters: Filters, groups: Groups) -> Tensor:
    """Compute :func:`mmmsmlp.ops.mix_shift`; (N, C, H, W), channels_last.

    The ``mix_*`` functions below do one run each, and ``mix_*_backward`` its gradients:
    ``x`` and ``grad`` are the run's channels (N, c, H, W); ``out`` is a slice of the
    result and is written in place. Either order rolls by ``-step``.
    """
    x = x.contiguous(memory_format=LAST)
    y = torch.empty_like(x)
    small = is_small(x)
    for run in find_runs(filters, groups, merge=small):
        out, x_run = y[:, run.channels], x[:, run.channels]
        if run.size == 1:
            mix_tokens(out, x_run, run)
        elif small:
            mix_gathered(out, x_run, run)
        else:
            mix_patched(out, x_run, run)
    return y


def mix_tokens(out: Tensor, x: Tensor, run: Run) -> None:
    """Write a run of 1x1 groups; mixing single tokens commutes with shifting them."""
    weight_h, bias_h, weight_v, bias_v = map(join, run.filters)
    widths, steps = run.groups.widths, run.groups.steps
    scaled_rolls(out, x, weight_h, weight_v, bias_h + bias_v, widths, steps)


def mix_gathered(out: Tensor, x: Tensor, run: Run) -> None:
    """Write a run of a small map: both axes in one convolution, one gather."""
    weights_h, biases_h, weights_v, biases_v = run.filters
    weight = torch.cat([*weights_h, *weights_v])
    bias = torch.cat([*biases_h, *biases_v])
    if run.groups.roll_first:
        mixed = depthwise(roll_both(x, run.groups.steps), weight, bias)
        torch.add(*mixed.chunk(2, 1), out=out)
    else:
        mixed = depthwise(torch.cat([x, x], 1), weight, bias)
        out.copy_(sum_rolled(mixed, run.groups.steps))


def mix_patched(out: Tensor, x: Tensor, run: Run) -> None:
    """Write a run of a large map, rolled patch by patch."""
    weight_h, bias_h, weight_v, bias_v = map(join, run.filters)
    bias, widths, steps = bias_h + bias_v, run.groups.widths, run.groups.steps
    if run.groups.roll_first:
        rolled_h, rolled_v = rolled_copies(x, widths, steps)
        mixed_h = depthwise(rolled_h, weight_h, bias)
        torch.add(mixed_h, depthwise(rolled_v, weight_v), out=out)
    else:
        x = x.contiguous(memory_format=LAST)
        mixed_h, mixed_v = depthwise(x, weight_h, bias), depthwise(x, weight_v)
        add_rolled(out, mixed_h, mixed_v, widths, steps)


def backward(
    grad: Tensor, x: Tensor, filters: Filters, groups: Groups
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Gradients of x, of both filter lists, and of either bias list (they are equal).

    The adjoint of a roll by ``-d`` is a roll by ``+d``, so each order's backward
    rolls where the other order's forward does. Biases of ``filters`` are not read.
    """
    x = x.contiguous(memory_format=LAST)
    grad = grad.contiguous(memory_format=LAST)
    grad_x = torch.empty_like(x)
    grads_h, grads_v = [], []
    small = is_small(x)
    for run in find_runs(filters, groups, merge=True):
        out, grad_run, x_run = (m[:, run.channels] for m in (grad_x, grad, x))
        if run.size == 1:
            grad_h, grad_v = mix_tokens_backward(out, grad_run, x_run, run)
        elif small:
            grad_h, grad_v = mix_gathered_backward(out, grad_run, x_run, run)
        else:
            grad_h, grad_v = mix_patched_backward(out, grad_run, x_run, run)
        grads_h += split(grad_h, run.groups.widths)
        grads_v += split(grad_v, run.groups.widths)
    return grad_x, grads_h, grads_v, split(grad.sum((0, 2, 3)), groups.widths)


def mix_tokens_backward(
    out: Tensor, grad: Tensor, x: Tensor, run: Run
) -> tuple[Tensor, Tensor]:
    """Write the map's gradient of :func:`mix_tokens`, return the filters'."""
    weight_h, weight_v = join(run.filters.weights_h), join(run.filters.weights_v)
    widths, steps, back = run.groups.widths, run.groups.steps, reverse(run.groups)
    scaled_rolls(out, grad, weight_h, weight_v, None, widths, back)
    return channel_dots(grad, *rolled_copies(x, widths, steps))


def mix_gathered_backward(
    out: Tensor, grad: Tensor, x: Tensor, run: Run
) -> tuple[Tensor, Tensor]:
    """Write the map's gradient of :func:`mix_gathered`, return the filters'."""
    weight = torch.cat([*run.filters.weights_h, *run.filters.weights_v])
    steps, back = run.groups.steps, reverse(run.groups)
    if run.groups.roll_first:
        grad, x = torch.cat([grad, grad], 1), roll_both(x, steps)
        out.copy_(sum_rolled(input_grad(grad, weight), back))
    else:
        grad = roll_both(grad, back)
        torch.add(*input_grad(grad, weight).chunk(2, 1), out=out)
    grad_h, grad_v = filter_grad(grad, x, run.size).chunk(2)
    return grad_h, grad_v


def mix_patched_backward(
    out: Tensor, grad: Tensor, x: Tensor, run: Run
) -> tuple[Tensor, Tensor]:
    """Write the map's gradient of :func:`mix_patched`, return the filters'."""
    weight_h, weight_v = join(run.filters.weights_h), join(run.filters.weights_v)
    widths, steps, back = run.groups.widths, run.groups.steps, reverse(run.groups)
    if run.groups.roll_first:
        grad_h = grad_v = grad.contiguous(memory_format=LAST)
        x_h, x_v = rolled_copies(x, widths, steps)
        mixed = input_grad(grad_h, weight_h), input_grad(grad_v, weight_v)
        add_rolled(out, *mixed, widths, back)
    else:
        grad_h, grad_v = rolled_copies(grad, widths, back)
        x_h = x_v = x.contiguous(memory_format=LAST)
        mixed = input_grad(grad_h, weight_h), input_grad(grad_v, weight_v)
        torch.add(*mixed, out=out)
    return filter_grad(grad_h, x_h, run.size), filter_grad(grad_v, x_v, run.size)


def reverse(groups: Groups) -> tuple[int, ...]:
    """The steps of the adjoint rolls."""
    return tuple([-step for step in groups.steps])


def is_small(x: Tensor) -> bool:
    """Whether starting an operation on the map costs more than its arithmetic."""
    return x.is_cpu and 0 < x.numel() <= SMALL


def join(tensors: Sequence[Tensor]) -> Tensor:
    """Concatenate the groups of a run; a single one is not copied."""
    return torch.cat([*tensors]) if len(tensors) > 1 else tensors[0]


def find_runs(filters: Filters, groups: Groups, merge: bool) -> Iterator[Run]:
    """Each group by itself, or with ``merge`` neighbours of one shape together."""
    widths, sizes, first, start = groups.widths, groups.sizes, 0, 0
    for stop in range(1, len(widths) + 1):
        same = stop < len(widths) and (widths[stop], sizes[stop]) == (
            widths[first],
            sizes[first],
        )
        if merge and same:
            continue
        part = slice(first, stop)
        end = start + sum(widths[part])
        described = Groups(
            widths[part], sizes[part], groups.distances[part], groups.order
        )
        yield Run(slice(start, end), filters.of(part), described)
        first, start = stop, end


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
    dots_h, dots_v = (
        (precise * rolled).sum((0, 2, 3)).view(-1, 1, 1, 1).to(grad.dtype)
        for rolled in (horizontal, vertical)
    )
    return dots_h, dots_v
