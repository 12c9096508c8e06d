"""The models that are compared, and how each is built."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from mmmsmlp import MSMLP, FocalTransformer, MSMLPFocal, MSMLPSwin, SwinTransformer
from mmmsmlp.models import msmlp, swin

from .baselines.focal_reference import focal_reference
from .baselines.straightforward import StraightforwardMSMLP

NCHW, NHWC = 'NCHW', 'channels_last'
FORMATS = {NCHW: torch.contiguous_format, NHWC: torch.channels_last}
SIZES = {'t': 'tiny', 's': 'small', 'b': 'base'}


class Entry(NamedTuple):
    """A backbone of the comparison.

    ``label`` has a place for the size; ``build(size, layout)`` makes it without drop
    path; ``layouts`` are the memory layouts it is tried in, and the better one counts.
    """

    label: str
    build: Callable[[str, str], nn.Module]
    layouts: tuple[str, ...] = (NCHW,)
    sizes: str = 'tsb'


def own(model: Callable[..., nn.Module], *settings: str) -> Callable:
    return lambda size, layout: model(size, *settings)


def straightforward(size, layout):
    return StraightforwardMSMLP(MSMLP(size, 'released'), FORMATS[layout])


def without_mixing(size, layout):
    return MSMLP(dict(msmlp.ARCHS[SIZES[size]], mix_sizes=[[1] * 5] * 4))


def focal_released(size, layout):
    """FocalTransformer with its attention in the release's formulation."""
    backbone = FocalTransformer(size)
    backbone.formulation = focal_reference(backbone)  # undone when it is collected
    backbone.formulation.__enter__()
    return backbone


def mmdet_swin(size, layout):
    from mmdet.models import backbones

    return backbones.SwinTransformer(drop_path_rate=0.0, **swin.ARCHS[SIZES[size]])


def mmpretrain_convnext(size, layout):
    from mmpretrain.models.backbones import ConvNeXt

    return ConvNeXt(SIZES[size], out_indices=(0, 1, 2, 3), gap_before_final_norm=False)


def mmpretrain_resnet(size, layout):
    from mmpretrain.models.backbones import ResNet

    return ResNet(50, out_indices=(0, 1, 2, 3))


def torchvision_swin(size, layout):
    """Without its head; its one output is the last map."""
    from torchvision import models, ops

    model = getattr(models, f'swin_{size}')()
    for module in model.modules():
        if isinstance(module, ops.StochasticDepth):
            module.p = 0.0  # its rate is no argument
    del model.head
    model.forward = lambda x: (model.norm(model.features(x)),)
    return model


ZOO = {
    'msmlp': Entry('MS-MLP-{}', own(MSMLP, 'paper')),
    'msmlp-released': Entry('MS-MLP-{} (released)', own(MSMLP, 'released')),
    'straightforward': Entry('straightforward MS-MLP-{}', straightforward),
    'straightforward-nhwc': Entry(
        'straightforward MS-MLP-{} (channels_last)', straightforward, (NHWC,)
    ),
    'r1': Entry('MS-MLP-{}, r = 1', without_mixing),
    'swin': Entry('Swin-{} (mmdet)', mmdet_swin),
    'swin-own': Entry('Swin-{} (mmmsmlp)', own(SwinTransformer)),
    'swin-torchvision': Entry('Swin-{} (torchvision)', torchvision_swin),
    'convnext': Entry('ConvNeXt-{} (mmpretrain)', mmpretrain_convnext, (NCHW, NHWC)),
    'resnet50': Entry('ResNet-50 (mmpretrain)', mmpretrain_resnet, (NCHW, NHWC), 't'),
    'msmlp-swin': Entry('MS-MLP+Swin-{}', own(MSMLPSwin)),
    'focal': Entry('Focal-{}', own(FocalTransformer)),
    'focal-released': Entry('straightforward Focal-{}', focal_released),
    'msmlp-focal': Entry('MS-MLP+Focal-{}', own(MSMLPFocal)),
}
CORE = (
    *('msmlp', 'straightforward', 'straightforward-nhwc', 'r1'),
    *('swin', 'convnext', 'resnet50'),
)
# Every ratio of a table is taken to one of these, in a column of this title.
BASELINES = {
    'straightforward': 'straightf.',
    'swin': 'Swin',
    'convnext': 'ConvNeXt',
    'focal-released': 'straightf. Focal',
    'focal': 'Focal',
}


class Subject(NamedTuple):
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
        label = entry.label.format(size.upper())
        subjects.append(Subject(key, label, layout, model))
    return subjects
