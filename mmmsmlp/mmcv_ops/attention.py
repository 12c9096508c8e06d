"""Multi-scale deformable attention, by bilinear samples of every level."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .common import operator, wide


def attend(
    value: Tensor, shapes: list[list[int]], locations: Tensor, weights: Tensor
) -> Tensor:
    """The weighted sum of samples.

    Args:
        value: (N, pixels of all levels, heads, C).
        shapes: Height and width of each level.
        locations: (N, queries, heads, levels, points, 2): x and y, 0 to 1 on the map.
        weights: (N, queries, heads, levels, points).

    Returns:
        (N, queries, heads * C).
    """
    n, queries, heads, levels, points, _ = locations.shape
    grids = (2 * locations - 1).transpose(1, 2).flatten(0, 1)
    rows = weights.transpose(1, 2).reshape(n * heads, 1, queries, levels * points)
    samples = []
    sizes = [height * width for height, width in shapes]
    for level, pixels in enumerate(value.split(sizes, dim=1)):
        maps = pixels.permute(0, 2, 3, 1).reshape(n * heads, -1, *shapes[level])
        samples.append(F.grid_sample(maps, grids[:, :, level], align_corners=False))
    attended = (torch.cat(samples, dim=-1) * rows).sum(-1)  # (N * heads, C, queries)
    return attended.view(n, -1, queries).transpose(1, 2)


@operator('torch')
def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """See :func:`attend`; the levels stand one after the other in ``value``."""
    inputs = map(wide, (value, sampling_locations, attention_weights))
    values, locations, weights = inputs
    shapes = value_spatial_shapes.tolist()
    return attend(values, shapes, locations, weights).to(value.dtype).contiguous()


@operator('torch')
def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    inputs = [
        wide(x).detach().requires_grad_()
        for x in (value, sampling_locations, attention_weights)
    ]
    with torch.enable_grad():
        output = attend(inputs[0], value_spatial_shapes.tolist(), *inputs[1:])
    grads = torch.autograd.grad(output, inputs, wide(grad_output).view_as(output))
    outputs = (grad_value, grad_sampling_loc, grad_attn_weight)
    for target, grad in zip(outputs, grads, strict=True):
        target.copy_(grad)
