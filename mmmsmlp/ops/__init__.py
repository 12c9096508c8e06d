"""Operators on plain tensors: pure functions, no mmengine, no mmcv."""

from .mix_shift import mix_shift

__all__ = ['mix_shift']
