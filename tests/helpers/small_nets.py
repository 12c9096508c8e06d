"""The five backbones in small, with weights under which every part matters."""

import re

import pytest
import torch
from torch import nn

from mmmsmlp import MSMLP, FocalTransformer, MSMLPFocal, MSMLPSwin, SwinTransformer

# Uneven channel groups, two of one size; windows that need padding, shifts and masks.
WIDTHS = dict(embed_dims=10, depths=[2, 2, 1, 1])
REGIONS = [[1, 1, 3], [1, 3, 3], [1, 3, 5], [3, 3, 3]]
WINDOWS = dict(num_heads=[1, 2, 2, 4], window_size=3)
FOCUS = dict(
    focal_levels=[2, 2, 2, 1], focal_windows=[3, 1, 1, 1], expand_sizes=[1, 1, 1, 0]
)
SWIN, FOCAL = dict(WIDTHS, **WINDOWS), dict(WIDTHS, **WINDOWS, **FOCUS)
PAPER = dict(shift_dist=[0, 1, 2], layer_scale_init_value=1.0)
RELEASED = dict(PAPER, geometry='released', shift_dist=[-1, 0, 1])
SETTINGS = {
    MSMLP: dict(arch=dict(WIDTHS, mix_sizes=REGIONS), **PAPER),
    SwinTransformer: dict(arch=SWIN),
    FocalTransformer: dict(arch=FOCAL),
    MSMLPSwin: dict(arch=dict(SWIN, mix_sizes=[1, 3, 3]), **PAPER),
    MSMLPFocal: dict(arch=dict(FOCAL, mix_sizes=[1, 3, 5]), **RELEASED),
}
every_backbone = pytest.mark.parametrize(
    'backbone', SETTINGS, ids=lambda backbone: backbone.__name__
)


def build(backbone, dtype=torch.float32, **kwargs):
    """A small net; the same weights at every call."""
    net = backbone(**{**SETTINGS[backbone], **kwargs})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            is_weight = parameter.dim() > 1 and 'table' not in name
            scale = parameter[0].numel() ** -0.5 if is_weight else 0.3
            parameter.normal_(0, scale, generator=generator)
            if 'gamma' in name or ('norm' in name and name.endswith('weight')):
                parameter.add_(1)
    return net.to(dtype)


def images(*shape, dtype=torch.float32):
    """Images (N, 3, H, W) of one content at every call; 2 of 32x32 without a shape."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape or (2, 3, 32, 32), generator=generator, dtype=dtype)


def loss_of(outputs):
    """A mean over the images of how far each is from a fixed pattern."""
    return sum(
        (output - pattern(output)).square().sum() / output[0].numel() / len(output)
        for output in outputs
    )


def pattern(output):
    """What :func:`loss_of` wants of each image: numbers within -1..1, fixed."""
    steps = torch.arange(output[0].numel(), dtype=output.dtype)
    return steps.cos().view(output.shape[1:])


def layers_of(net, kinds=(nn.Module,)):
    """``{name: module}`` of all that hold parameters and no modules."""
    return {
        name: module
        for name, module in net.named_modules()
        if isinstance(module, kinds)
        and [*module.parameters(recurse=False)]
        and not [*module.children()]
        and not isinstance(module, nn.ParameterList)  # attention's tables
    }


def one_of_each(net, kinds=(nn.Module,)):
    """Of :func:`layers_of`, the names in the first block that has such a layer."""
    names = {}
    for name in layers_of(net, kinds):
        names.setdefault(re.sub(r'^stage.*?\d(\.blocks\.\d)?', '', name), name)
    return [*names.values()]


def put(net, name, module):
    """Put ``module`` in the place of the layer ``name``."""
    parent, _, own_name = name.rpartition('.')
    setattr(net.get_submodule(parent), own_name, module)


def assert_near(actual, expected, rtol, where=''):
    """Each tensor agrees, relative to the largest magnitude of its counterpart.

    Numbers below a thousandth count as such: some gradients are nothing but rounding.
    """
    for i, (a, b) in enumerate(zip(actual, expected, strict=True)):
        assert a.shape == b.shape
        error = ((a - b).abs().max() / b.abs().max().clamp(1e-3)).item()
        assert error <= rtol, f'{where} tensor {i}: relative error {error:.1e}'
