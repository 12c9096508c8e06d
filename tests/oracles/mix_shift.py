"""Mix-shift token by token: which neighbour does each one read?"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


def plain_mix_shift(mix: Mapping[str, Tensor], x: Tensor, mark: Tensor) -> Tensor:
    """Both branches of every channel group, summed (Eq. 2; A1-A9).

    Args:
        mix: ``horizontal.N.weight`` and so on.
        x: (N, C, H, W).
        mark: The geometry: 0 for the paper's or 1 for the released, then one distance
            a group.

    Returns:
        Tensor (N, C, H, W).
    """
    code, *distances = mark.tolist()
    groups, start = [], 0
    for n, distance in enumerate(distances):
        width = mix[f'horizontal.{n}.weight'].shape[0]
        group = x[:, start : start + width]
        start += width
        branches = []
        for name, axis in (('horizontal', 3), ('vertical', 2)):
            weight, bias = mix[f'{name}.{n}.weight'], mix[f'{name}.{n}.bias']
            size = group.shape[axis]
            # Released: token i reads i - s, then mixes. Paper: mixes, then reads i + d.
            step = -distance if code == 1 else distance
            reads = [(i + step) % size for i in range(size)]
            reads = torch.tensor(reads)
            if code == 1:
                branches.append(_mix(group.index_select(axis, reads), weight, bias))
            else:
                branches.append(_mix(group, weight, bias).index_select(axis, reads))
        groups.append(branches[0] + branches[1])
    return torch.cat(groups, 1)


def _mix(group, weight, bias):
    parts = group.shape[1] // weight.shape[1]
    return F.conv2d(group, weight, bias, padding=weight.shape[-1] // 2, groups=parts)
