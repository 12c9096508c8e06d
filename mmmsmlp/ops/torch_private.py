"""Names that PyTorch keeps private, and what is done where a release lacks one.

Also what they tell: whether operations run as they come, and whether a layer is what
its class says. The operators and models name no private part of PyTorch but these.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as nn_module
from torch.torch_version import TorchVersion
from torch.utils import _python_dispatch

# oneDNN's linear layer, which TorchInductor calls too; it has no gradient of its own.
ONEDNN_LINEAR = getattr(torch.ops.mkldnn, '_linear_pointwise', None)

_functorch_is_active = getattr(
    torch._C, '_are_functorch_transforms_active', lambda: True
)
_count_dispatch_modes = getattr(torch._C, '_len_torch_dispatch_stack', lambda: 1)
_dispatch_keys = getattr(torch._C, '_dispatch_keys', None)
_GLOBAL_HOOKS = [
    hooks
    for name in ('forward', 'forward_pre', 'backward', 'backward_pre')
    if (hooks := getattr(nn_module, f'_global_{name}_hooks', None)) is not None
]
_PLAIN_TENSORS = (nn.Parameter, Tensor, type(None))
# Before, the question for transforms ends a graph (pytorch/pytorch#134889).
_COMPILERS_KNOW_TRANSFORMS = TorchVersion(torch.__version__) >= '2.5'
# Public from PyTorch 2.3 on; compilers know either.
is_compiling = getattr(torch.compiler, 'is_compiling', None) or (
    torch._utils.is_compiling
)


def onednn_is_on() -> bool:
    """Whether PyTorch has oneDNN, and the user did not turn it off."""
    mkldnn = torch.backends.mkldnn
    return getattr(mkldnn, 'enabled', True) and mkldnn.is_available()


def autocast_dtype(device: str) -> torch.dtype | None:
    """What autocast computes in on this type of device; None where it is off."""
    if device == 'meta':  # knows no autocast, and raises when asked for it
        return None
    if hasattr(torch, 'get_autocast_dtype'):
        on = torch.is_autocast_enabled(device)
        return torch.get_autocast_dtype(device) if on else None
    if device == 'cpu':  # before PyTorch 2.4 each type had functions of its own
        on, dtype = torch.is_autocast_cpu_enabled(), torch.get_autocast_cpu_dtype()
    else:
        on, dtype = torch.is_autocast_enabled(), torch.get_autocast_gpu_dtype()
    return dtype if on else None


@contextmanager
def outside_of_modes() -> Iterator[None]:
    """Run operations for real, whatever exports, fakes, counts or moves them."""
    disable = getattr(_python_dispatch, '_disable_current_modes', nullcontext)
    # A tensor born in inference mode could never enter a backward pass later.
    with disable(), torch.inference_mode(False), torch.device('cpu'):
        yield


def foreach_copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy each source to its target, on a GPU in one kernel."""
    if hasattr(torch, '_foreach_copy_'):
        torch._foreach_copy_(targets, sources)
    else:
        for target, source in zip(targets, sources, strict=True):
            target.copy_(source)


def register_flops(operator: Any, formula: Callable) -> None:
    """Tell ``torch.utils.flop_counter`` the FLOPs of an operator, from shapes."""
    counter = import_module('torch.utils.flop_counter')  # loads Triton
    if not hasattr(counter, 'register_flop_formula'):  # before PyTorch 2.2
        counter.flop_mapping[operator] = formula
        return
    counter.register_flop_formula(operator)(formula)
    # PyTorch 2.4 files formulas under overloads, and looks for operators.
    if operator not in counter.flop_registry:
        counter.flop_registry[operator] = counter.flop_registry[operator.default]


def is_transformed() -> bool:
    """Whether a transform of torch.func or forward-mode differentiation is under way.

    Operators of our own know neither; compositions of PyTorch's know both.
    """
    if is_compiling() and not _COMPILERS_KNOW_TRANSFORMS:
        return False  # an operator of ours then refuses a compiled transform
    return _functorch_is_active() or getattr(forward_ad, '_current_level', 0) >= 0


def _is_batched(tensor: Tensor) -> bool:
    """Whether ``is_grads_batched`` of autograd.grad made it; unknown counts as yes."""
    if _dispatch_keys is None:
        return True
    return _dispatch_keys(tensor).has(torch._C._dispatch_key_parse('Batched'))


def is_watched_backward(grad: Tensor) -> bool:
    """Whether a backward pass is recorded (create_graph), transformed or batched."""
    return torch.is_grad_enabled() or is_transformed() or _is_batched(grad)


def is_exporting() -> bool:
    """Whether torch.export traces, whose graph shall serve any number of images."""
    asked = getattr(torch.compiler, 'is_exporting', None)  # PyTorch 2.7 and newer
    return asked is not None and asked()


def is_eager() -> bool:
    """Whether PyTorch runs operations as they come: nothing compiles, traces, lifts."""
    return not (is_compiling() or torch.jit.is_tracing() or is_transformed())


def is_eager_cpu(x: Tensor) -> bool:
    """Whether operations run one by one on a CPU, in the precision of their inputs.

    Elsewhere plain compositions are better: a compiler fuses them, a GPU wants all of
    its work at once, and autocast chooses the precisions.
    """
    return x.device.type == 'cpu' and autocast_dtype('cpu') is None and is_eager()


def is_unobserved(x: Tensor) -> bool:
    """Whether nobody asks for gradients, graphs or counts of operations on ``x``."""
    return (
        not torch.is_grad_enabled()
        and is_eager()
        and type(x) is Tensor
        and not _count_dispatch_modes()
    )


def are_plain(kind: type[nn.Module], *layers: nn.Module, biased: bool = True) -> bool:
    """Whether each layer is a ``kind`` and nothing more.

    That is: no subclass and no parametrisation, no hooks of its own or for all modules,
    no ``forward`` set on the instance, no weight of a tensor subclass, and no bias left
    out where ``biased``. Only then may its weight be used without calling it.
    """
    if any(_GLOBAL_HOOKS):
        return False
    for layer in layers:
        if (
            type(layer) is not kind
            or layer._forward_hooks
            or layer._forward_pre_hooks
            or layer._backward_hooks
            or layer._backward_pre_hooks
            or 'forward' in layer.__dict__
            or (biased and layer._parameters.get('bias', True) is None)
        ):
            return False
        weight = type(layer._parameters.get('weight'))
        # Compilers and exporters put tensors of their own in place of all weights.
        if weight not in _PLAIN_TENSORS and not is_compiling():
            return False
    return True
