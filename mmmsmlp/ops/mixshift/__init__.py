"""The mix-shift operator of the MS-block, both axes at once (paper Sec. 3.2)."""

from .api import mix_shift
from .dispatch import BackendError, use_backend, why_not

__all__ = ['BackendError', 'mix_shift', 'use_backend', 'why_not']
