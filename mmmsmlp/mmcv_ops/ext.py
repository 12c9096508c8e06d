"""What stands in for ``mmcv._ext``: the operators under mmcv's names.

Any other name is there too, so that mmcv's imports pass, and raises when it is called.
"""

from collections.abc import Callable
from importlib import metadata
from typing import NoReturn

import torch

from . import attention, deform, focal, layers, nms, regions, roi, sync_bn  # noqa: F401
from .common import LIBRARIES, OPERATORS

CURE = (
    'install the compiled mmcv: where the scripts make the environment, with '
    'MMMSMLP_COMPILE_MMCV=1 or a folder with its wheel in PIP_FIND_LINKS; elsewhere '
    'with pip install --force-reinstall --no-cache-dir --no-build-isolation --no-deps '
    'onedl-mmcv (upstream: mmcv, after pip uninstall mmcv-lite), which takes a C++ '
    'compiler'
)


def get_compiler_version() -> str:
    version = metadata.version('torchvision')
    return f"none: mmmsmlp's stand-in, by torchvision {version}"


def get_compiling_cuda_version() -> str:
    return f"none: mmmsmlp's stand-in, by torch {torch.__version__}"


def __getattr__(name: str) -> Callable[..., NoReturn]:
    if name.startswith('__'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def missing(*args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError(
            f"mmcv's operator {name} is compiled code, which this environment has not, "
            f'and mmmsmlp has no stand-in for it; {CURE}'
        )

    missing.__name__ = missing.__qualname__ = name
    return missing


globals().update(OPERATORS)
__all__ = ['LIBRARIES', 'get_compiler_version', 'get_compiling_cuda_version']
__all__ += sorted(OPERATORS)
