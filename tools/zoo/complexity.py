"""Parameters and multiply-adds of a config's model, part by part, without data.

Everything happens on the meta device: shapes without numbers. A multiply-add counts
as one, and the products of convolutions, linear layers, attention and mix-shift are
counted; norms, activations and additions are not.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from mmmsmlp.ops import flops  # noqa: F401  teaches the counter our operators

# The paper's input shapes (H, W); Table 7 names its own, COCO's is its peers'.
SHAPES = {'mmdet': (800, 1280), 'mmseg': (512, 2048), 'mmpretrain': (224, 224)}
BOX_ROIS, MASK_ROIS = 1000, 100  # what a two-stage detector keeps of an image


class Part(NamedTuple):
    """Parameters and multiply-adds of a part of a model, for one image."""

    params: int
    macs: int


class _RatesOnCPU(TorchFunctionMode):
    """Lets a backbone read its drop-path rates off a ``linspace``, as mmdet's Swin."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        on_cpu = {'device': 'cpu'} if func is torch.linspace else {}
        return func(*args, **(kwargs or {}) | on_cpu)


def build_on_meta(cfg: Config) -> nn.Module:
    """The config's model without memory for its parameters, in evaluation mode."""
    scope = DefaultScope.overwrite_default_scope(cfg.default_scope)
    with scope, torch.device('meta'), _RatesOnCPU():
        return MODELS.build(cfg.model).eval()


def complexity(cfg: Config, shape: tuple[int, int] | None = None) -> dict[str, Part]:
    """Count a config's model.

    Args:
        cfg: Of a detector, a segmentor or a classifier.
        shape: Image height and width; by default the paper's for the toolbox.

    Returns:
        Its parts by name, in the order in which an image passes them. Two-stage heads
        see 1,000 boxes and 100 masks in every stage that has such a head. An
        auxiliary head has parameters and no multiply-adds: it runs in training only.

    Raises:
        ValueError: The toolbox is none of mmdet, mmseg and mmpretrain.
    """
    scope = cfg.default_scope
    if scope not in SHAPES:
        raise ValueError(f'default_scope must be one of {list(SHAPES)}, got {scope!r}')
    model = build_on_meta(cfg)
    image = torch.empty(1, 3, *(shape or SHAPES[scope]), device='meta')
    parts, features = {}, image
    for name in ('backbone', 'neck'):
        if getattr(model, name, None) is not None:
            parts[name], features = _run(getattr(model, name), features)
    heads = {'mmdet': _detection, 'mmseg': _segmentation, 'mmpretrain': _classification}
    return parts | heads[scope](model, features)


def total(parts: dict[str, Part]) -> Part:
    """The sum of all parts."""
    return Part(*map(sum, zip(*parts.values(), strict=True)))


def _classification(model: nn.Module, features) -> dict[str, Part]:
    return {'head': _run(model.head, features)[0]}


def _segmentation(model: nn.Module, features) -> dict[str, Part]:
    parts = {'decode_head': _run(model.decode_head, features)[0]}
    if model.with_auxiliary_head:
        parts['auxiliary_head'] = Part(_params(model.auxiliary_head), 0)
    return parts


def _detection(model: nn.Module, features) -> dict[str, Part]:
    if not hasattr(model, 'roi_head'):
        return {'bbox_head': _run(model.bbox_head, features)[0]}
    parts = {'rpn_head': _run(model.rpn_head, features)[0]}
    roi = model.roi_head
    parts['bbox_head'] = _regions(roi.bbox_head, roi.bbox_roi_extractor, BOX_ROIS)
    if roi.with_mask:
        parts['mask_head'] = _regions(roi.mask_head, roi.mask_roi_extractor, MASK_ROIS)
    return parts


def _regions(head: nn.Module, extractor: nn.Module, count: int) -> Part:
    """A region head on ``count`` regions; each stage's, where it is a cascade."""
    staged = isinstance(head, nn.ModuleList)
    heads, extractors = (head, extractor) if staged else ([head], [extractor])
    parts = {}
    for stage, (one, pooled) in enumerate(zip(heads, extractors, strict=True)):
        size = pooled.roi_layers[0].output_size
        regions = torch.empty(count, pooled.out_channels, *size, device='meta')
        parts[stage] = _run(one, regions)[0]
    return total(parts)


def _run(module: nn.Module, inputs: Tensor | Iterable[Tensor]):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        outputs = module(inputs)
    return Part(_params(module), counter.get_total_flops() // 2), outputs


def _params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
