"""The mix-shift operator of the MS-block, both axes at once (paper Sec. 3.2)."""

from .api import mix_shift

__all__ = ['mix_shift']
