"""The mix-shift operator in Triton; nothing here imports Triton before it is used."""

from importlib import import_module
from typing import Any

from .availability import unavailable

__all__ = ['backward', 'forward', 'unavailable']


def __getattr__(name: str) -> Any:
    if name not in ('forward', 'backward'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module('.host', __name__), name)
