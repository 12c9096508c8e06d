"""Patch embeddings of maps, whose gradients are products on a CPU."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .derivatives import composed_gradients
from .torch_private import is_eager_cpu, is_watched_backward


def project_patches(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A convolution whose kernel is its stride.

    Its gradients as a product of patches and weights take half the time of those of a
    convolution on a CPU (docs/notes/limit_and_constants.md).

    Args:
        x: Map (N, C, H, W) whose sides are multiples of p.
        weight: Tensor (D, C, p, p).
        bias: Tensor (D,).

    Returns:
        Tensor (N, D, H / p, W / p), in the memory format of ``x``.
    """
    if x.requires_grad and torch.is_grad_enabled() and is_eager_cpu(x):
        return _ProjectPatches.apply(x, weight, bias)
    return _project(x, weight, bias)


def _project(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.conv2d(x, weight, bias, stride=weight.shape[-1])


class _ProjectPatches(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        return _project(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        if is_watched_backward(grad):
            return tuple(composed_gradients(_project, [x, weight, bias], grad))
        (n, channels, height, width), size = x.shape, weight.shape[-1]
        # Two tokens of a row of a patch lie side by side: its parts are moved whole.
        cut = n, height // size, size, width // size, size * channels
        flat = weight.permute(0, 2, 3, 1).flatten(1)
        grads = grad.permute(0, 2, 3, 1).flatten(0, 2)
        grad_rows = (grads @ flat).view(*cut[:2], cut[3], size, cut[4])
        grad_x = grad_rows.transpose(2, 3).reshape(n, height, width, channels)
        grad_weight = grad_bias = None
        if any(ctx.needs_input_grad[1:]):
            rows = x.permute(0, 2, 3, 1).reshape(cut).transpose(2, 3)
            grad_flat = grads.t() @ rows.flatten(3).flatten(0, 2)
            grad_weight = grad_flat.view(-1, size, size, channels).permute(0, 3, 1, 2)
            grad_weight = grad_weight.contiguous()  # DDP copies other strides
            grad_bias = grads.sum(0)
        return grad_x.permute(0, 3, 1, 2), grad_weight, grad_bias
