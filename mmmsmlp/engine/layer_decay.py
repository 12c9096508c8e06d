"""Layer-wise learning-rate decay for every backbone that can name its layers."""

from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import nn

from ..registry import OPTIM_WRAPPER_CONSTRUCTORS


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
        backbone = model.backbone
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
