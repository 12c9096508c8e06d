"""Operators on plain tensors: pure functions, no mmengine, no mmcv."""

from .fast_linear import linear
from .mixshift import BackendError, mix_shift, use_backend, why_not
from .mlp import channel_mlp

__all__ = [
    'BackendError',
    'channel_mlp',
    'linear',
    'mix_shift',
    'use_backend',
    'why_not',
]
