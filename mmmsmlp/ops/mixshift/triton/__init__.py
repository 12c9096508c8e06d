"""The mix-shift operator in Triton: whether it can run; kernels load on first use."""

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

__all__ = ['backward', 'forward', 'unavailable', 'variant']
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# A window's rows and a column of its taps are unrolled into registers.
LARGEST_SIZE = 11
# Offsets inside one image are 32-bit; images are addressed with 64 bits.
LARGEST_IMAGE = 2**31 - 1
OLDEST_CAPABILITY = (8, 0)
# The kernels keep their rows in tuples, which older Tritons treat in different ways.
OLDEST_TRITON = (3, 6)


def unavailable(x: Tensor, weights: Sequence[Tensor]) -> str | None:
    """Why the kernels cannot run, in one sentence; None if they can.

    Args:
        x: The map (N, C, H, W).
        weights: Every filter of both branches.
    """
    return no_triton() or bad_device(x, weights) or bad_tensors(x, weights)


def interpreted() -> bool:
    """Whether Triton runs on the CPU, for tests: it is far slower than PyTorch."""
    return os.environ.get('TRITON_INTERPRET', '0') == '1'


def no_triton() -> str | None:
    try:
        import triton
    except Exception as error:  # a broken installation may raise anything
        return f'Triton cannot be imported ({error}).'
    version = tuple(int(part) for part in triton.__version__.split('.')[:2])
    if version < OLDEST_TRITON:
        needed = '.'.join(map(str, OLDEST_TRITON))
        return (
            f'Triton is {triton.__version__}, and the kernels need {needed} or newer, '
            'which comes with a newer PyTorch.'
        )
    return None


def bad_device(x: Tensor, weights: Sequence[Tensor]) -> str | None:
    elsewhere = {str(weight.device) for weight in weights} - {str(x.device)}
    if elsewhere:
        return f'x is on {x.device} but filters are on {", ".join(sorted(elsewhere))}.'
    if interpreted():
        return None
    if not x.is_cuda:
        return f'x is on {x.device}; Triton needs a CUDA device.'
    if torch.version.hip:
        return 'the kernels have not been tried on ROCm.'
    capability = torch.cuda.get_device_capability(x.device)
    if capability < OLDEST_CAPABILITY:
        return (
            f'compute capability {capability} is below {OLDEST_CAPABILITY}, the '
            'oldest that Triton supports.'
        )
    return None


def bad_tensors(x: Tensor, weights: Sequence[Tensor]) -> str | None:
    wrong = [str(t.dtype) for t in (x, *weights) if t.dtype not in DTYPES]
    if wrong:
        return f'dtype {wrong[0]} is not one of float32, float16, bfloat16.'
    if x.numel() == 0:
        return f'x of shape {tuple(x.shape)} is empty.'
    if any(weight.shape[1] != 1 for weight in weights):
        return 'a filter mixes the channels of its group (a full convolution).'
    largest = max(weight.shape[-1] for weight in weights)
    if largest > LARGEST_SIZE:
        return f'filter size {largest} is above {LARGEST_SIZE}.'
    if x[0].numel() > LARGEST_IMAGE:
        return f'an image of shape {tuple(x.shape[1:])} has more than 2**31 - 1 values.'
    return None


def __getattr__(name: str) -> Any:
    if name not in ('forward', 'backward', 'variant'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module('.host', __name__), name)
