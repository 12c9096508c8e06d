"""bfloat16 training on a CPU, which mmengine's AmpOptimWrapper refuses."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from ..registry import OPTIM_WRAPPERS

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
    found = []
    for name, module in model.named_modules():
        if name.rpartition('.')[2] in PARTS:
            found += module if isinstance(module, nn.ModuleList) else [module]
    return found


@contextmanager
def _autocast(part: nn.Module) -> Iterator[None]:
    """Autocast a part's ``forward``, which mmseg's heads call without its hooks."""
    forward = part.forward

    def in_bfloat16(*args, **kwargs):
        with torch.autocast('cpu', torch.bfloat16):
            return _to_float32(forward(*args, **kwargs))

    part.forward = in_bfloat16
    try:
        yield
    finally:
        del part.forward


def _to_float32(output):
    if isinstance(output, torch.Tensor):
        return output.float() if output.dtype == torch.bfloat16 else output
    if isinstance(output, (list, tuple)):
        return type(output)(_to_float32(one) for one in output)
    return output
