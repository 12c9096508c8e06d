"""The fast mix-shift path without compiled code, for any device; depth-wise only."""

from .runs import backward, forward

__all__ = ['backward', 'forward']
