"""Deformable convolution, plain and modulated, by torchvision's operator.

The operators take what mmcv hands them: x (N, C, H, W), weight
(O, C / groups, *kernel), offset (N, 2 * places, *size), mask (N, places, *size) and
output (N, O, *size), where places are deform groups times the kernel's. ``ones``,
``im2col_step`` and, but for one use, ``columns`` are the compiled ones' workspace and
count for nothing here.
"""

import weakref

import torch
from torch import Tensor

from .common import native, operator, torchvision_ops

Sizes = tuple[int, int, int, int, int, int]  # stride, padding, dilation: down, along
FAR = 3e4  # further than a map reaches; half can hold it


def finite(offset: Tensor) -> Tensor:
    """Offsets that are NaN or endless as far ones, which sample 0 as mmcv's do.

    torchvision reads them from outside of its memory.
    """
    return native(offset).nan_to_num(FAR).clamp(-FAR, FAR)


def convolve(
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    sizes: Sizes,
    groups: int,
    deform_groups: int,
) -> Tensor:
    """The convolution of (N, C, H, W) at its kernel's places moved by offset."""
    x, weight, offset = native(x), native(weight), finite(offset)
    used = mask is not None
    mask = native(mask) if mask is not None else x.new_zeros(len(x), 1)
    bias = native(bias) if bias is not None else x.new_zeros(len(weight))
    forward = torchvision_ops().deform_conv2d
    return forward(x, weight, offset, mask, bias, *sizes, groups, deform_groups, used)


def derive(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    sizes: Sizes,
    groups: int,
    deform_groups: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, weight, offset, mask and bias."""
    grad, x, weight, offset = native(grad), native(x), native(weight), finite(offset)
    used = mask is not None
    mask = native(mask) if mask is not None else x.new_zeros(len(x), 1)
    bias = x.new_zeros(len(weight))
    backward = torchvision_ops()._deform_conv2d_backward
    grads = backward(
        grad, x, weight, offset, mask, bias, *sizes, groups, deform_groups, used
    )
    outside = places_outside(offset, x.shape[2:], weight.shape[2:], sizes)
    grads[2].view(len(x), -1, 2, *offset.shape[2:]).masked_fill_(outside, 0)
    return grads


def places_outside(
    offset: Tensor, image: torch.Size, kernel: torch.Size, sizes: Sizes
) -> Tensor:
    """Where a sample lies a pixel or more beside the map: (N, places, 1, H, W).

    mmcv moves no such sample, torchvision one that lies at -1 exactly: all of the
    border's, while the offsets are the zeros that they start as.
    """
    steps = [
        torch.arange(n, device=offset.device) for n in (*kernel, *offset.shape[2:])
    ]
    places = offset.view(len(offset), -1, *kernel, 2, *offset.shape[2:])
    outside = []
    for axis in (0, 1):
        stride, padding, dilation = sizes[axis::2]
        start = steps[2 + axis] * stride - padding
        at = steps[axis].view(-1, 1) * dilation + start  # (kernel, map) along the axis
        shape = [1] * 4
        shape[axis], shape[2 + axis] = at.shape
        along = places[:, :, :, :, axis] + at.view(shape)
        outside.append((along <= -1) | (along >= image[axis]))
    return (outside[0] | outside[1]).flatten(1, 3)[:, :, None]


@operator('torchvision')
def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    sizes = (dH, dW, padH, padW, dilationH, dilationW)
    groups = (group, deformable_group)
    output.copy_(convolve(input, weight, offset, None, None, sizes, *groups))


@operator('torchvision')
def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Gradients of input and offset.

    The weight's, which torchvision computes with them, waits on ``columns``, the
    buffer that mmcv hands to both halves of a backward pass.
    """
    sizes = (dH, dW, padH, padW, dilationH, dilationW)
    groups = (group, deformable_group)
    grads = derive(gradOutput, input, weight, offset, None, sizes, *groups)
    gradInput.copy_(grads[0])
    gradOffset.copy_(grads[2])
    columns.waiting = (weakref.ref(gradOutput), grads[1])  # type: ignore[attr-defined]


@operator('torchvision')
def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Adds ``scale`` times the gradient of the weight."""
    owner, grad = vars(columns).pop('waiting', (lambda: None, None))
    if owner() is not gradOutput:
        sizes = (dH, dW, padH, padW, dilationH, dilationW)
        groups = (group, deformable_group)
        weight = torch.zeros_like(gradWeight)  # the gradient does not depend on it
        grad = derive(gradOutput, input, weight, offset, None, sizes, *groups)[1]
    gradWeight.add_(grad, alpha=scale)


def as_read(moves: Tensor, size: torch.Size) -> Tensor:
    """Offsets or masks as mmcv's modulated operator reads them: (N, C, *size).

    It takes their places from memory one after the other and does not look at their
    size, which mmdet's DyHead gives too large.
    """
    if moves.shape[2:] == size:
        return moves
    places = moves.shape[1] * size.numel()
    return moves.flatten(1)[:, :places].view(len(moves), -1, *size)


def write(target: Tensor, grad: Tensor) -> None:
    """Copy a gradient to where :func:`as_read` reads; zeros elsewhere."""
    whole = grad
    if target.shape != grad.shape:
        whole = grad.new_zeros(target.shape)
        as_read(whole, grad.shape[2:]).copy_(grad)
    target.copy_(whole)


@operator('torchvision')
def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    sizes = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w)
    added = bias if with_bias else None
    groups = (group, deformable_group)
    offset, mask = (as_read(moves, output.shape[2:]) for moves in (offset, mask))
    output.copy_(convolve(input, weight, offset, mask, added, sizes, *groups))


@operator('torchvision')
def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    sizes = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w)
    groups = (group, deformable_group)
    offset, mask = (as_read(moves, grad_output.shape[2:]) for moves in (offset, mask))
    grads = derive(grad_output, input, weight, offset, mask, sizes, *groups)
    outputs = [grad_input, grad_weight, grad_offset, grad_mask]
    if with_bias:
        outputs.append(grad_bias)
    for output, grad in zip(outputs, grads, strict=False):
        write(output, grad)
