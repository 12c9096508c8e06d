"""What the operators share: how they run, types, and torchvision's operators."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from types import ModuleType
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec('P')
R = TypeVar('R')

CHUNK = 1 << 24  # elements that an operator samples at a time

OPERATORS: dict[str, Callable] = {}  # by mmcv's names
LIBRARIES: dict[str, str] = {}


def operator(library: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a function the operator of mmcv's that has its name, by ``library``.

    It runs as the compiled ones do: without autograd, outside autocast, and unseen by
    torch.compile, which would lose what a traced one writes into its arguments.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @torch.compiler.disable
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            values = (*args, *kwargs.values())
            device = next((v.device.type for v in values if isinstance(v, Tensor)), '')
            known = device in ('cpu', 'cuda')
            autocast = torch.autocast(device, enabled=False) if known else nullcontext()
            with torch.no_grad(), autocast:
                return function(*args, **kwargs)

        OPERATORS[function.__name__] = run
        LIBRARIES[function.__name__] = library
        return run

    return decorate


def wide(x: Tensor) -> Tensor:
    """Half and bfloat16 as float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def native(x: Tensor) -> Tensor:
    """bfloat16, which neither mmcv nor torchvision compute in, as float32."""
    return x.float() if x.dtype == torch.bfloat16 else x


def torchvision_ops() -> ModuleType:
    """``torch.ops.torchvision``, whose operators torchvision's import registers."""
    try:
        import torchvision  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "mmcv's operators need either a compiled mmcv or torchvision, and "
            f'torchvision does not import ({error}); pip install the torchvision of '
            f'torch {torch.__version__}'
        ) from error
    return torch.ops.torchvision
