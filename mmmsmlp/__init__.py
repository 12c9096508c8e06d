"""MS-MLP backbones for mmdet, mmsegmentation and mmpretrain.

Importing this package registers the backbones by name (``type='mmmsmlp.MSMLP'``)
and loads nothing heavy; the classes themselves load on first use.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from .mmcv_ops.finder import stand_in
from .version import __version__

# `python -m mmmsmlp doctor` must run where mmengine or torch cannot be imported, and
# `mmmsmlp.deploy` where neither is installed.
_is_doctor = (
    sys.argv[:2] == ['-m', 'doctor'] and sys.orig_argv[-len(sys.argv)] == __name__
)
if find_spec('mmengine') and not _is_doctor:
    from . import registry  # noqa: F401  its children make the names resolvable

stand_in()  # for mmcv._ext, where mmcv has no compiled operators

_LAZY = {
    'FocalTransformer': 'mmmsmlp.models',
    'MSMLP': 'mmmsmlp.models',
    'MSMLPFocal': 'mmmsmlp.models',
    'MSMLPSwin': 'mmmsmlp.models',
    'SwinTransformer': 'mmmsmlp.models',
    'get_config': 'mmmsmlp.configs',
    'list_configs': 'mmmsmlp.configs',
    'mark_geometry': 'mmmsmlp.geometry',
    'with_backbone': 'mmmsmlp.swap',
}

__all__ = ['__version__', *_LAZY]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
