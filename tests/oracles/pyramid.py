"""What does a state dict compute, read stage by stage with no module built?"""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import focal_attention, swin_attention
from .mix_shift import plain_mix_shift

MS_EPS, HOST_EPS = 1e-6, 1e-5


def plain_forward(weights: Mapping[str, Tensor], x: Tensor) -> tuple[list, Tensor]:
    """Compute a backbone and, where there is one, its classifier.

    Args:
        weights: A backbone's state dict under this package's names, mark included;
            ``head.fc.`` beside it or not.
        x: Images (N, 3, H, W) of any size.

    Returns:
        The maps (N, C, H, W) of stages 1-4 before any norm, and the logits; without a
        classifier the normed and averaged features.
    """
    outputs, last = [], {}
    for name in ('stage0', *(f'stages.{number}' for number in range(4))):
        stage = _under(f'{name}.', weights)
        if not stage:
            continue
        last = stage
        x = _embed(_under('embed.', stage), x, _eps(stage))
        for index in range(_depth(stage)):
            x = _block(_under(f'blocks.{index}.', stage), x, index, weights)
        outputs.append(x)
    norm = _under('norm3.', weights)
    if 'blocks.0.norm.weight' in last:  # MS-MLP averages, then norms
        x = _norm(x.mean((2, 3)), norm, MS_EPS)
    else:
        x = _norm(x.permute(0, 2, 3, 1), norm, HOST_EPS).mean((1, 2))
    if 'head.fc.weight' in weights:
        x = F.linear(x, weights['head.fc.weight'], weights['head.fc.bias'])
    return outputs[-4:], x


def _under(prefix, weights):
    return {k[len(prefix) :]: w for k, w in weights.items() if k.startswith(prefix)}


def _depth(stage):
    return 1 + max(int(m[1]) for k in stage if (m := re.match(r'blocks\.(\d+)\.', k)))


def _eps(stage):
    return MS_EPS if 'blocks.0.norm.weight' in stage else HOST_EPS


def _norm(tokens, norm, eps):
    affine = norm.get('weight'), norm.get('bias')
    return F.layer_norm(tokens, tokens.shape[-1:], *affine, eps)


def _embed(embed, x, eps):
    patch = embed['proj.weight'].shape[-1] if 'proj.weight' in embed else 2
    x = F.pad(x, (0, -x.shape[3] % patch, 0, -x.shape[2] % patch))
    if 'proj.weight' in embed:
        x = F.conv2d(x, embed['proj.weight'], embed['proj.bias'], stride=patch)
        x = _norm(x.permute(0, 2, 3, 1), _under('norm.', embed), eps)
    else:
        four = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        x = torch.cat(four, 1).permute(0, 2, 3, 1)
        x = _norm(x, _under('norm.', embed), eps) @ embed['reduction.weight'].t()
    return x.permute(0, 3, 1, 2)


def _block(block, x, index, weights):
    if 'norm.weight' in block:
        mixed = plain_mix_shift(_under('mix.', block), x, weights['geometry'])
        tokens = _norm(mixed.permute(0, 2, 3, 1), _under('norm.', block), MS_EPS)
        change = _mlp(tokens, block)
        change = change * block['gamma'] if 'gamma' in block else change
        return x + change.permute(0, 3, 1, 2)
    x = x.permute(0, 2, 3, 1)
    focal = any('pool.' in key or 'neighbors' in key for key in block)
    attend = focal_attention if focal else swin_attention
    tokens = _norm(x, _under('norm1.', block), HOST_EPS)
    x = x + attend(_under('attn.', block), tokens, index % 2 == 1)
    tokens = _norm(x, _under('norm2.', block), HOST_EPS)
    return (x + _mlp(tokens, _under('mlp.', block))).permute(0, 3, 1, 2)


def _mlp(tokens, mlp):
    hidden = F.gelu(F.linear(tokens, mlp['fc1.weight'], mlp['fc1.bias']))
    return F.linear(hidden, mlp['fc2.weight'], mlp['fc2.bias'])
