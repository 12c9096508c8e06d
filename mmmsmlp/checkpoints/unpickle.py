"""What the pickle in a checkpoint may name: harmless functions, inert stand-ins."""

import _compat_pickle
import collections
import datetime
import pathlib
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy
import torch
from torch.torch_version import TorchVersion

from ..errors import CheckpointError

# From then on safe_globals takes (stand-in, name).
TORCH_TAKES_NAMES = TorchVersion(torch.__version__) >= '2.6'


def unpickle(file: Path) -> Any:
    """Load what ``torch.save`` wrote, tensors on the CPU, importing nothing it names.

    By torch's own safe unpickler, which gets our names beside its own. Where it cannot
    be given any (torch < 2.6), and for pickle protocols above 2, which it does not
    know, by :class:`RestrictedUnpickler`.

    Raises:
        CheckpointError: A name that is on neither list; the message is this name.
        Exception: Nearly any, on a damaged file.
    """
    if not TORCH_TAKES_NAMES:
        return _load_restricted(file)
    # An array comes with the class of its type, allowed as a value; the
    # newline keeps files from naming it.
    kinds = {type(numpy.dtype(code)) for code in numpy.typecodes['All']}
    arrays = [(kind, f'{kind}\n') for kind in (numpy.ndarray, *kinds)]
    named: list[Any] = [(stand_in, name) for name, stand_in in _STAND_INS.items()]
    try:
        with torch.serialization.safe_globals(named + arrays):
            return torch.load(file, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        if 'Unsupported operand' in str(error):
            return _load_restricted(file)
        refused = re.search(r'GLOBAL (\S+) (?:was not|whose)', str(error))
        if not refused:
            raise
        module, _, name = refused[1].rpartition('.')
        # torch writes builtins without their module.
        raise CheckpointError(f'{_today(module or "builtins")}.{name}') from None


def _today(module: str) -> str:
    """torch.save writes protocol 2, which spells modules as Python 2 did."""
    return _compat_pickle.IMPORT_MAPPING.get(module, module)


def _load_restricted(file: Path) -> Any:
    return torch.load(
        file, map_location='cpu', weights_only=False, pickle_module=RestrictedPickle
    )


class InertObject:
    """Stands in for other classes: keeps the pickled state, has no behaviour."""

    def __init__(self, *args: Any):
        self.state = args

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Callable:
    """Lets a pickle call a function, and do nothing else with it.

    The plain function would let a pickle set attributes on it.
    """

    __slots__ = ('_function',)

    def __init__(self, function: Callable):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError('a function has no state to set')


def _encode(text: str, encoding: str) -> bytes:
    """Bytes in pickles of protocol 2, which ``torch.save`` writes."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'unexpected encoding {encoding!r}')
    return text.encode('latin1')


def _empty_array(kind: Any, shape: Any, code: Any) -> numpy.ndarray:
    """numpy's array shell; the state that follows gives shape, type and data."""
    return numpy.ndarray((0,), numpy.int8)


def _numpy_scalar(dtype: numpy.dtype, data: bytes) -> numpy.generic:
    if dtype.hasobject:
        raise pickle.UnpicklingError('a numpy scalar that is a Python object')
    return numpy.frombuffer(data, dtype)[0]


def _history_statistic(owner: Any, name: str) -> InertObject:
    """``getattr``, as mmengine's HistoryBuffer needs it for its four methods."""
    if owner is not InertObject or name not in ('min', 'max', 'mean', 'current'):
        raise CheckpointError(f'builtins.getattr(..., {name!r})')
    return InertObject(name)


_OBJECTS = (
    'argparse.Namespace',
    'mmengine.logging.history_buffer.HistoryBuffer',
    'types.SimpleNamespace',
)
_MAPPINGS = (
    'addict.addict.Dict',
    'collections.Counter',
    'collections.OrderedDict',
    'easydict.EasyDict',
    'lightning.fabric.utilities.data.AttributeDict',
    'lightning_fabric.utilities.data.AttributeDict',
    'mmcv.utils.config.ConfigDict',
    'mmengine.config.config.ConfigDict',
    'pytorch_lightning.utilities.parsing.AttributeDict',
    'timm.utils.config.CfgNode',
    'yacs.config.CfgNode',
)


def _stand_ins() -> dict[str, Any]:
    """All that a pickle may name, and what it gets for it."""
    harmless: tuple[Any, ...] = (
        *(bool, complex, float, int, str, slice, dict, frozenset, list, set, tuple),
        *(datetime.datetime, datetime.timedelta, numpy.dtype, torch.Size, torch.device),
        *(torch._utils._rebuild_tensor, torch._utils._rebuild_tensor_v2),
        *(
            torch._utils._rebuild_parameter,
            torch._utils._rebuild_meta_tensor_no_storage,
        ),
    )
    functions: dict[str, Callable] = {
        **{f'{each.__module__}.{each.__name__}': each for each in harmless},
        '_codecs.encode': _encode,
        'builtins.getattr': _history_statistic,
        'collections.defaultdict': lambda *_: collections.OrderedDict(),
        'collections.deque': lambda items=(), *_: list(items),
        'numpy.ndarray': InertObject,
    }
    for core in ('numpy.core', 'numpy._core'):  # numpy 1 and 2
        functions[f'{core}.multiarray._reconstruct'] = _empty_array
        functions[f'{core}.multiarray.scalar'] = _numpy_scalar
    for module in ('pathlib', 'pathlib._local'):  # Python 3.13 pickles the second
        for pure in ('', 'Pure'):
            functions[f'{module}.{pure}PosixPath'] = pathlib.PurePosixPath
            functions[f'{module}.{pure}WindowsPath'] = pathlib.PureWindowsPath
    dtypes = (value for value in vars(torch).values() if type(value) is torch.dtype)
    return {
        **{name: _Callable(function) for name, function in functions.items()},
        **dict.fromkeys(_OBJECTS, InertObject),
        # torch sets items on plain dicts and OrderedDict alone.
        **dict.fromkeys(_MAPPINGS, collections.OrderedDict),
        **{str(dtype): dtype for dtype in dtypes},
    }


_STAND_INS = _stand_ins()


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that imports nothing (storages are ``torch.load``'s own part)."""

    def find_class(self, module: str, name: str) -> Any:
        full_name = f'{_today(module)}.{name}'
        if full_name not in _STAND_INS:
            raise CheckpointError(full_name)
        return _STAND_INS[full_name]


class RestrictedPickle:
    """What ``torch.load`` asks of a ``pickle_module``."""

    Unpickler = RestrictedUnpickler

    @staticmethod
    def load(file: BinaryIO, **kwargs: Any) -> Any:
        return RestrictedUnpickler(file, **kwargs).load()
