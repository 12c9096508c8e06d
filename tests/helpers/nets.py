"""Small networks of all five kinds, and weights for them: drawn, golden, official."""

import torch

import mmmsmlp
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
MIX_SIZES = [[1, 3, 5], [1, 3, 3], [3, 5, 5], [1, 5, 7]]
SHIFT_DIST = (0, 1, 4)  # for these three groups
SMALL = {
    'MSMLP': dict(embed_dims=12, depths=[1, 1, 2, 1], mix_sizes=MIX_SIZES),
    'SwinTransformer': SWIN_ARCH,
    'FocalTransformer': FOCAL_ARCH,
    'MSMLPSwin': dict(SWIN_ARCH, mix_sizes=MIX_SIZES[0]),
    'MSMLPFocal': dict(FOCAL_ARCH, mix_sizes=MIX_SIZES[0]),
}
MIXING = ('MSMLP', 'MSMLPSwin', 'MSMLPFocal')
FOCAL_GOLDENS = [('focal_224x224', [3, 3, 3, 0]), ('focal_288x352', [3, 3, 3, 3])]


def small_net(kind, **kwargs):
    """A backbone of one of the kinds of :data:`SMALL`, in evaluation mode."""
    if kind in MIXING:
        kwargs = {'shift_dist': SHIFT_DIST, **kwargs}
    net = getattr(mmmsmlp, kind)(**{'arch': SMALL[kind], **kwargs})
    return randomise(net)


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
