"""Operations whose derivatives are right under every transform of torch.func."""

from collections.abc import Callable, Sequence
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor

from .torch_private import is_transformed


def composed_gradients(
    composition: Callable[..., Tensor],
    inputs: Sequence[Tensor | None],
    grad: Tensor,
) -> list[Tensor | None]:
    """Gradients of ``composition(*inputs)`` by PyTorch's own operations alone.

    For a backward pass by hand that is itself recorded, transformed or batched: neither
    autograd nor torch.func would see what its own products depend on.

    Args:
        composition: The operator in PyTorch's own differentiable operations.
        inputs: What it takes; None is handed on.
        grad: Gradient of its output.

    Returns:
        For each input its gradient, or None where none is required.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views of their own: one input may lie in the history of another.
        own = [t.view_as(t) if _requires_grad(t) else t for t in inputs]
        wanted = [t for t in own if _requires_grad(t)]
        found = torch.autograd.grad(
            composition(*own),
            wanted,
            grad,
            create_graph=create_graph,
            allow_unused=True,
        )
    remaining = iter(found)
    return [next(remaining) if _requires_grad(t) else None for t in own]


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """``F.layer_norm`` over the last axis of ``x``, whose derivatives are right.

    PyTorch's own (2.11) has wrong mixed second derivatives of map and weight under
    torch.func, so transforms see its definition instead.
    """
    if not is_transformed():
        return F.layer_norm(x, weight.shape, weight, bias, eps)
    precise = x.float() if x.dtype.itemsize < 4 else x
    centred = precise - precise.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    return ((centred * (variance + eps).rsqrt()) * weight + bias).to(x.dtype)


def _requires_grad(tensor: Tensor | None) -> TypeGuard[Tensor]:
    return tensor is not None and tensor.requires_grad
