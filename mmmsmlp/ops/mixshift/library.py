"""mix-shift as a ``torch.library`` operator: shapes and gradients for PyTorch.

The fast backends run inside it, so that compilers, exporters, autograd and counters
see one opaque operator with known behaviour.
"""

import itertools
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..custom_op import custom_op
from ..derivatives import composed_gradients
from ..torch_private import is_watched_backward
from .dispatch import implementation
from .reference import mix_shift_reference
from .spec import Filters, Groups
from .trust import trusted_backend

LAST = torch.channels_last


@custom_op(
    'mmmsmlp::mix_shift',
    '(Tensor x, Tensor[] weights_h, Tensor[] biases_h, Tensor[] weights_v, '
    'Tensor[] biases_v, int[] shift_dist, str order, str backend) -> Tensor',
)
def mix_shift_op(
    x: Tensor,
    weights_h: list[Tensor],
    biases_h: list[Tensor],
    weights_v: list[Tensor],
    biases_v: list[Tensor],
    shift_dist: list[int],
    order: str,
    backend: str,
) -> Tensor:
    """:func:`mmmsmlp.ops.mix_shift` on a backend, or on 'auto'; channels_last out."""
    filters = Filters(weights_h, biases_h, weights_v, biases_v)
    groups = Groups.of(weights_h, shift_dist, order)
    backend = trusted_backend(backend, x, groups, with_gradients=True)
    return implementation(backend).forward(x, filters, groups)


@mix_shift_op.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(x, memory_format=LAST)


@custom_op(
    'mmmsmlp::mix_shift_backward',
    '(Tensor grad, Tensor x, Tensor[] weights_h, Tensor[] weights_v, '
    'int[] shift_dist, str order, str backend) '
    '-> (Tensor, Tensor[], Tensor[], Tensor[])',
)
def mix_shift_backward_op(
    grad: Tensor,
    x: Tensor,
    weights_h: list[Tensor],
    weights_v: list[Tensor],
    shift_dist: list[int],
    order: str,
    backend: str,
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    """Gradients of x, of both filter lists and of either bias list."""
    filters = Filters(weights_h, (), weights_v, ())
    groups = Groups.of(weights_h, shift_dist, order)
    backend = trusted_backend(backend, x, groups, with_gradients=True, may_try=False)
    return implementation(backend).backward(grad, x, filters, groups)


@mix_shift_backward_op.register_fake
def _(
    grad: Tensor, x: Tensor, weights_h: list[Tensor], weights_v: list[Tensor], *_: Any
) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
    return (
        torch.empty_like(x, memory_format=LAST),
        [torch.empty_like(weight) for weight in weights_h],
        [torch.empty_like(weight) for weight in weights_v],
        [weight.new_empty(weight.shape[0]) for weight in weights_h],
    )


def _setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
    x, *lists, shift_dist, order, backend = inputs
    ctx.save_for_backward(x, *itertools.chain(*lists))
    ctx.settings = shift_dist, order, backend


def _backward(ctx: Any, grad: Tensor) -> tuple:
    x, *parameters = ctx.saved_tensors
    shift_dist, order, _ = ctx.settings
    filters = _as_lists(parameters)
    if is_watched_backward(grad):
        groups = Groups.of(filters.weights_h, shift_dist, order)

        def composition(x: Tensor, *parameters: Tensor) -> Tensor:
            return mix_shift_reference(x, _as_lists(parameters), groups)

        grad_x, *grads = composed_gradients(composition, [x, *parameters], grad)
        return grad_x, *_as_lists(grads), None, None, None
    grad_x, grads_h, grads_v, grads_bias = mix_shift_backward_op(
        grad, x, filters.weights_h, filters.weights_v, *ctx.settings
    )
    return grad_x, grads_h, grads_bias, grads_v, grads_bias, None, None, None


def _as_lists(parameters: Sequence) -> Filters:
    """Undo the chaining of the four lists of parameters, or of their gradients."""
    groups = len(parameters) // 4
    return Filters(*(list(parameters[n * groups :][:groups]) for n in range(4)))


mix_shift_op.register_autograd(_backward, setup_context=_setup_context)

if 'torch.utils.flop_counter' in sys.modules:
    from .. import flops  # noqa: F401
