"""The models that are compared, and how each is built."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

NCHW, NHWC = 'NCHW', 'channels_last'
FORMATS = {NCHW: torch.contiguous_format, NHWC: torch.channels_last}
SIZES = {'t': 'tiny', 's': 'small', 'b': 'base'}


@dataclass(frozen=True)
class Entry:
    """A backbone of the comparison.

    ``build(size, layout)`` makes it without drop path; ``layouts`` are the memory
    layouts it is tried in, and the better one counts.
    """

    label: str
    build: Callable[[str, str], nn.Module]
    layouts: tuple[str, ...] = (NCHW,)
    sizes: str = 'tsb'

    def name(self, size: str) -> str:
        """The label with the size filled in."""
        return self.label.format(size.upper())


def msmlp(size, layout, geometry='paper'):
    from mmmsmlp import MSMLP

    return MSMLP(size, geometry)


def msmlp_released(size, layout):
    return msmlp(size, layout, 'released')


def straightforward(size, layout):
    from .baselines.straightforward import StraightforwardMSMLP

    return StraightforwardMSMLP(msmlp_released(size, layout), FORMATS[layout])


def without_mixing(size, layout):
    from mmmsmlp import MSMLP
    from mmmsmlp.models.msmlp import ARCHS

    return MSMLP(dict(ARCHS[SIZES[size]], mix_sizes=[[1] * 5] * 4))


def own(name: str):
    def build(size, layout):
        import mmmsmlp

        return getattr(mmmsmlp, name)(size)

    return build


class FocalAsReleased(nn.Module):
    """FocalTransformer with its attention in the release's formulation."""

    def __init__(self, backbone: nn.Module):
        super().__init__()
        from .baselines.focal_reference import focal_reference

        self.backbone = backbone
        self._patched = focal_reference(backbone)  # undone when it is collected
        self._patched.__enter__()

    def forward(self, x):
        return self.backbone(x)


def focal_released(size, layout):
    return FocalAsReleased(own('FocalTransformer')(size, layout))


def mmdet_swin(size, layout):
    from mmdet.models.backbones import SwinTransformer

    variants = dict(
        t=dict(embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
        s=dict(embed_dims=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)),
        b=dict(embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    )
    return SwinTransformer(drop_path_rate=0.0, **variants[size])


def mmpretrain_convnext(size, layout):
    from mmpretrain.models.backbones import ConvNeXt

    return ConvNeXt(SIZES[size], out_indices=(0, 1, 2, 3), gap_before_final_norm=False)


def mmpretrain_resnet(size, layout):
    from mmpretrain.models.backbones import ResNet

    return ResNet(50, out_indices=(0, 1, 2, 3))


class FeaturesOnly(nn.Module):
    """torchvision's Swin without its head; its one output is the last map."""

    def __init__(self, size: str):
        super().__init__()
        from torchvision import models, ops

        model = getattr(models, f'swin_{size}')()
        self.features, self.norm = model.features, model.norm
        for module in self.modules():
            if isinstance(module, ops.StochasticDepth):
                module.p = 0.0  # its rate is no argument

    def forward(self, x):
        return (self.norm(self.features(x)),)


ZOO = {
    'msmlp': Entry('MS-MLP-{}', msmlp),
    'msmlp-released': Entry('MS-MLP-{} (released)', msmlp_released),
    'straightforward': Entry('straightforward MS-MLP-{}', straightforward),
    'straightforward-nhwc': Entry(
        'straightforward MS-MLP-{} (channels_last)', straightforward, (NHWC,)
    ),
    'r1': Entry('MS-MLP-{}, r = 1', without_mixing),
    'swin': Entry('Swin-{} (mmdet)', mmdet_swin),
    'swin-own': Entry('Swin-{} (mmmsmlp)', own('SwinTransformer')),
    'swin-torchvision': Entry(
        'Swin-{} (torchvision)', lambda size, layout: FeaturesOnly(size)
    ),
    'convnext': Entry('ConvNeXt-{} (mmpretrain)', mmpretrain_convnext, (NCHW, NHWC)),
    'resnet50': Entry('ResNet-50 (mmpretrain)', mmpretrain_resnet, (NCHW, NHWC), 't'),
    'msmlp-swin': Entry('MS-MLP+Swin-{}', own('MSMLPSwin')),
    'focal': Entry('Focal-{}', own('FocalTransformer')),
    'focal-released': Entry('straightforward Focal-{}', focal_released),
    'msmlp-focal': Entry('MS-MLP+Focal-{}', own('MSMLPFocal')),
}
CORE = (
    'msmlp',
    'straightforward',
    'straightforward-nhwc',
    'r1',
    'swin',
    'convnext',
    'resnet50',
)
# Every ratio of a table is taken to one of these.
BASELINES = ('straightforward', 'swin', 'convnext', 'focal-released', 'focal')


@dataclass(frozen=True)
class Subject:
    """A built model in one memory layout."""

    key: str
    label: str
    layout: str
    model: nn.Module


def build(key: str, size: str, device: str) -> list[Subject]:
    """Build a model of the zoo in each of its layouts, weights the same.

    Raises:
        ImportError: The toolbox it comes from is not installed.
    """
    entry = ZOO[key]
    subjects = []
    for layout in entry.layouts:
        torch.manual_seed(0)
        model = entry.build(size, layout).to(device, memory_format=FORMATS[layout])
        subjects.append(Subject(key, entry.name(size), layout, model))
    return subjects
