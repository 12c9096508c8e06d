"""Norm, channel MLP, layer scale and residual of the MS-block, as one function."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .derivatives import composed_gradients, layer_norm
from .fast_linear import linear
from .torch_private import is_eager_cpu, is_watched_backward

# Rows at a time: their hidden layer stays in cache, and a product has enough of them.
HIDDEN, ROWS = 768 * 1024, 2048  # numbers and rows; measured on an AMD EPYC
aten = torch.ops.aten


def channel_mlp(
    x: Tensor,
    residual: Tensor,
    norm: tuple[Tensor, Tensor, float],
    fc1: tuple[Tensor, Tensor],
    fc2: tuple[Tensor, Tensor],
    gamma: Tensor | None = None,
    keep: Tensor | None = None,
) -> Tensor:
    """``residual + keep * gamma * fc2(gelu(fc1(layer_norm(x))))`` (Fig. 2; A10, A11).

    Args:
        x: Mixed tokens (N, C, H, W); channels_last is the fast layout.
        residual: The block's input (N, C, H, W).
        norm: Weight (C,), bias (C,) and eps of the LayerNorm over channels.
        fc1: Weight (D, C) and bias (D,) of the first linear layer.
        fc2: Weight (C, D) and bias (C,) of the second.
        gamma: Layer scale (C,), or None for 1.
        keep: Factor per sample (N, 1, 1, 1) that drop path drew, or None for 1.

    Returns:
        Tensor (N, C, H, W).
    """
    if is_eager_cpu(x):
        tokens, skip = _rows(x), _rows(residual)
        scale = None if keep is None else keep.expand(-1, -1, *x.shape[2:]).reshape(-1)
        if gamma is None:
            gamma = torch.ones_like(fc2[1])
        recording = torch.is_grad_enabled()
        out = _ChunkedMLP.apply(
            tokens, skip, *norm, *fc1, *fc2, gamma, scale, recording
        )
        return out.view(x.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)
    tokens = _compose(x.permute(0, 2, 3, 1), *norm[:2], *fc1, *fc2, gamma, eps=norm[2])
    tokens = tokens.permute(0, 3, 1, 2)
    return residual + (tokens if keep is None else keep * tokens)


def _compose(
    tokens: Tensor,
    ln_w: Tensor,
    ln_b: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    gamma: Tensor | None,
    eps: float,
) -> Tensor:
    """The change of tokens (..., C) in PyTorch's own operations."""
    tokens = layer_norm(tokens, ln_w, ln_b, eps)
    tokens = F.linear(F.gelu(F.linear(tokens, w1, b1)), w2, b2)
    return tokens if gamma is None else gamma * tokens


def _rows(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _chunks(rows: int, hidden: int) -> Iterator[slice]:
    """Cut ``rows`` tokens, each with ``hidden`` numbers between the two layers."""
    step = max(ROWS, HIDDEN // hidden)
    return (slice(i, min(i + step, rows)) for i in range(0, rows, step))


class _ChunkedMLP(torch.autograd.Function):
    """The MLP over chunks of rows: inference never holds the hidden layer whole.

    Kept for the backward pass are x and the hidden layer before GELU; the outputs of
    the norm and of GELU are computed again. The gradient of gamma needs the second
    layer's output, which is linear in what its weight gradient sums up anyway.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        residual: Tensor,
        ln_w: Tensor,
        ln_b: Tensor,
        eps: float,
        w1: Tensor,
        b1: Tensor,
        w2: Tensor,
        b2: Tensor,
        gamma: Tensor,
        scale: Tensor | None,
        recording: bool,
    ) -> Tensor:
        # needs_input_grad alone cannot tell: it is set under no_grad too.
        recording = recording and any(ctx.needs_input_grad)
        out = torch.empty_like(residual)
        hidden = []
        for part in _chunks(x.shape[0], w1.shape[0]):
            normed = F.layer_norm(x[part], ln_w.shape, ln_w, ln_b, eps)
            if recording:
                hidden.append(linear(normed, w1, b1))
                after = F.gelu(hidden[-1])
            else:
                after = linear(normed, w1, b1, gelu=True)
            change = linear(after, w2, b2)
            if scale is not None:
                change *= scale[part, None]
            torch.addcmul(residual[part], change, gamma, out=out[part])
        if recording:
            ctx.save_for_backward(x, ln_w, ln_b, w1, b1, w2, b2, gamma, scale, *hidden)
            ctx.eps = eps
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        x, ln_w, ln_b, w1, b1, w2, b2, gamma, scale, *hidden = ctx.saved_tensors
        if is_watched_backward(grad_out):
            grad = grad_out if scale is None else grad_out * scale[:, None]
            grad_x, grad_ln_w, grad_ln_b, *grads = composed_gradients(
                partial(_compose, eps=ctx.eps),
                [x, ln_w, ln_b, w1, b1, w2, b2, gamma],
                grad,
            )
            return grad_x, grad_out, grad_ln_w, grad_ln_b, None, *grads, None, None
        grad_out = grad_out.contiguous()
        grad_x = torch.empty_like(x)
        grad_ln_w, grad_ln_b = torch.zeros_like(ln_w), torch.zeros_like(ln_b)
        grad_w1, grad_b1 = torch.zeros_like(w1), w1.new_zeros(w1.shape[0])
        grad_w2, grad_b2 = torch.zeros_like(w2), torch.zeros_like(b2)  # before gamma
        # An adapter may train alone: half of the products are frozen weights' then.
        needs_first = any(ctx.needs_input_grad[5:7])
        needs_second = any(ctx.needs_input_grad[7:10])
        for part, before in zip(_chunks(x.shape[0], w1.shape[0]), hidden, strict=True):
            grad = grad_out[part]
            if scale is not None:
                grad = grad * scale[part, None]
            normed, mean, rstd = aten.native_layer_norm(
                x[part], ln_w.shape, ln_w, ln_b, ctx.eps
            )
            if needs_second:
                torch.addmm(grad_w2, grad.t(), F.gelu(before), out=grad_w2)
                grad_b2 += grad.sum(0)
            grad = linear(grad * gamma, w2.t())
            aten.gelu_backward.grad_input(grad, before, grad_input=grad)
            if needs_first:
                torch.addmm(grad_w1, grad.t(), normed, out=grad_w1)
                grad_b1 += grad.sum(0)
            grad_x[part], weight, bias = aten.native_layer_norm_backward(
                linear(grad, w1.t()), x[part], ln_w.shape, mean, rstd, ln_w, ln_b,
                [True, True, True],
            )  # fmt: skip
            grad_ln_w += weight
            grad_ln_b += bias
        grad_gamma = torch.linalg.vecdot(grad_w2, w2) + grad_b2 * b2
        grad_w2 *= gamma[:, None]
        return (
            grad_x, grad_out, grad_ln_w, grad_ln_b, None, grad_w1, grad_b1, grad_w2,
            grad_b2 * gamma, grad_gamma, None, None,
        )  # fmt: skip
