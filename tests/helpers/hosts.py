"""The hosts in small, and weights for them: drawn, golden, by official names."""

import torch

from mmmsmlp import FocalTransformer
from mmmsmlp.checkpoints.keys import FOCAL
from tests.helpers.golden import load_golden

SWIN_ARCH = dict(
    embed_dims=32, depths=[2, 2, 2, 2], num_heads=[1, 2, 4, 8], window_size=7
)
FOCAL_ARCH = dict(
    embed_dims=24,
    depths=[1, 1, 2, 1],
    num_heads=[1, 2, 4, 8],
    window_size=7,
    focal_levels=[2, 2, 2, 2],
    focal_windows=[7, 5, 3, 1],
    expand_sizes=[3, 3, 3, 0],
)
FOCAL_GOLDENS = [('focal_224x224', [3, 3, 3, 0]), ('focal_288x352', [3, 3, 3, 3])]


def randomise(net):
    """Weights under which no part of the network is negligible."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.1, generator=generator)
            if parameter.dim() == 1:
                parameter.add_(0.5)
    net.train(False)  # the toolboxes' models do not return themselves
    return net


def golden_focal(name, expand_sizes):
    """A golden, the network that holds its weights, and its classifier's tensors."""
    golden = load_golden(name)
    weights = FOCAL.apply(golden.weights)
    head = weights.pop('head.fc.weight'), weights.pop('head.fc.bias')
    arch = dict(FOCAL_ARCH, expand_sizes=expand_sizes)
    net = FocalTransformer(arch, out_indices=(3,)).eval()
    net.load_state_dict(weights)
    return golden, net, head


def official_names(weights):
    """The official repository's names of our tensors, written independently."""
    named = {}
    for key, tensor in weights.items():
        stage, _, rest = key.removeprefix('stages.').partition('.')
        if key.startswith('norm3.'):
            named[key.replace('norm3', 'norm')] = tensor
        elif key.startswith('stages.0.embed.'):
            named[key.replace('stages.0.embed', 'patch_embed')] = tensor
        elif rest.startswith('embed.'):
            name = rest.replace('embed', 'downsample')
            named[f'layers.{int(stage) - 1}.{name}'] = tensor
        elif key.startswith('stages.'):
            named[f'layers.{stage}.{rest}'] = tensor
    return named
