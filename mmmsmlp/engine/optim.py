"""Optimizers: layer-wise learning-rate decay, and bfloat16 training on a CPU."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.utils import apply_to
from torch import nn

from ..registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Scales the learning rate of each layer of the backbone by its depth.

    ``paramwise_cfg=dict(layer_decay_rate=r)`` multiplies a parameter's rate by
    ``r ** (layers above it)``; necks and heads keep the full rate. What else stands in
    ``paramwise_cfg`` acts as ever. Serves every toolbox, as mmdet's own constructor
    knows ConvNeXt alone and mmpretrain's expects a classifier.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer of a model and scale its rates.

        Raises:
            ValueError: ``layer_decay_rate`` is missing or outside (0, 1], or the
                backbone has no ``get_layer_depth``.
        """
        rate = self.paramwise_cfg.get('layer_decay_rate')
        if not isinstance(rate, float | int) or not 0 < rate <= 1:
            raise ValueError(
                'paramwise_cfg needs layer_decay_rate, a number above 0 and at most 1 '
                f'such as 0.8, got {rate!r}'
            )
        optim_wrapper = super().__call__(model)
        model = getattr(model, 'module', model)
        backbone: Any = model.backbone
        if not hasattr(backbone, 'get_layer_depth'):
            raise ValueError(
                f'{type(backbone).__name__} has no get_layer_depth, which says how '
                'deep a parameter lies; use a backbone of mmmsmlp or of mmpretrain'
            )
        above = {}
        for name, parameter in model.named_parameters():
            depth, depths = backbone.get_layer_depth(name, prefix='backbone.')
            above[id(parameter)] = depths - 1 - depth
        for group in optim_wrapper.optimizer.param_groups:  # one a parameter
            group['lr'] *= rate ** above[id(group['params'][0])]
        return optim_wrapper


# mmcv's CPU operators between these parts (NMS, RoIAlign) know no bfloat16, so each
# part is autocast by itself and hands on float32.
PARTS = {
    *('backbone', 'neck', 'rpn_head', 'bbox_head', 'mask_head'),
    *('decode_head', 'auxiliary_head', 'head'),
}


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Runs the parts of a model under bfloat16 autocast; losses stay in float32.

    bfloat16 has float32's range, so no loss scaling is needed.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """As mmengine's, for one forward pass of training."""
        with super().optim_context(model), ExitStack() as stack:
            for part in _parts(model):
                stack.enter_context(_autocast(part))
            yield


def _parts(model: nn.Module) -> list[nn.Module]:
    """The parts by name; of a cascade's lists, each stage."""
    found: list[nn.Module] = []
    for name, module in model.named_modules():
        if name.rpartition('.')[2] in PARTS:
            found += module if isinstance(module, nn.ModuleList) else [module]
    return found


@contextmanager
def _autocast(part: nn.Module) -> Iterator[None]:
    """Autocast a part's ``forward``, which mmseg's heads call without its hooks."""
    forward = part.forward

    def in_bfloat16(*args: object, **kwargs: object) -> Any:
        with torch.autocast('cpu', torch.bfloat16):
            output = forward(*args, **kwargs)
            return apply_to(output, _is_bfloat16, torch.Tensor.float)

    part.forward = in_bfloat16
    try:
        yield
    finally:
        del part.forward


def _is_bfloat16(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16
