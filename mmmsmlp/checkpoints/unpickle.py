"""What the pickle in a checkpoint may name: harmless functions, inert stand-ins."""

import _compat_pickle
import collections
import datetime
import pathlib
import pickle
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy
import torch
from torch.torch_version import TorchVersion

from ..errors import CheckpointError

# Since then a name that a file uses can be given a stand-in.
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
    try:
        with torch.serialization.safe_globals(_for_torch()):
            return torch.load(file, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        if 'Unsupported operand' in str(error):
            return _load_restricted(file)
        named = re.search(r'GLOBAL (\S+) (?:was not|whose)', str(error))
        if not named:
            raise
        module, _, name = named[1].rpartition('.')
        # torch writes builtins without their module.
        raise CheckpointError(f'{_today(module or "builtins")}.{name}') from None


def _today(module: str) -> str:
    """torch.save writes protocol 2, which spells modules as Python 2 did."""
    return _compat_pickle.IMPORT_MAPPING.get(module, module)


def _load_restricted(file: Path) -> Any:
    return torch.load(
        file, map_location='cpu', weights_only=False, pickle_module=RestrictedPickle
    )


class InertDict(dict):
    """Stands in for mappings (OrderedDict, yacs' CfgNode): the items, no behaviour."""

    def __init__(self, *args: Any):
        super().__init__(*(a for a in args if isinstance(a, (dict, list, tuple))))

    def __setstate__(self, state: Any) -> None:
        """Drop the attributes, but for the versions of modules in a state dict."""
        versions = state.get('_metadata') if isinstance(state, dict) else None
        if isinstance(versions, dict):
            self._metadata = versions


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


def _list(items: Iterable = (), *_: Any) -> list:
    return list(items)


def _callables() -> dict[str, _Callable]:
    functions: dict[str, Callable] = {
        'builtins.getattr': _history_statistic,
        'collections.deque': _list,
        'datetime.datetime': datetime.datetime,
        'datetime.timedelta': datetime.timedelta,
        'numpy.dtype': numpy.dtype,
        'numpy.ndarray': InertObject,
    }
    for core in ('numpy.core', 'numpy._core'):  # numpy 1 and 2
        functions[f'{core}.multiarray._reconstruct'] = _empty_array
        functions[f'{core}.multiarray.scalar'] = _numpy_scalar
    for module in ('pathlib', 'pathlib._local'):  # Python 3.13 pickles the second
        for name in ('PosixPath', 'PurePosixPath'):
            functions[f'{module}.{name}'] = pathlib.PurePosixPath
        for name in ('WindowsPath', 'PureWindowsPath'):
            functions[f'{module}.{name}'] = pathlib.PureWindowsPath
    for kind in (bool, complex, float, int, str, slice, dict, frozenset, list, tuple):
        functions[f'builtins.{kind.__name__}'] = kind
    return {name: _Callable(function) for name, function in functions.items()}


_CALLABLES = _callables()
_OBJECTS = (
    'argparse.Namespace',
    'mmengine.logging.history_buffer.HistoryBuffer',
    'types.SimpleNamespace',
)
_MAPPINGS = (
    'addict.addict.Dict',
    'easydict.EasyDict',
    'lightning.fabric.utilities.data.AttributeDict',
    'lightning_fabric.utilities.data.AttributeDict',
    'mmcv.utils.config.ConfigDict',
    'mmengine.config.config.ConfigDict',
    'pytorch_lightning.utilities.parsing.AttributeDict',
    'timm.utils.config.CfgNode',
    'yacs.config.CfgNode',
)


def _for_torch() -> list[Any]:
    """The names in the form of ``torch.serialization.safe_globals``.

    torch sets items on plain dicts and OrderedDict alone, and the state of a class
    alone that is on the list: of numpy's under names that no file can write.
    """
    names: dict[str, Any] = {
        **_CALLABLES,
        **dict.fromkeys(_OBJECTS, InertObject),
        **dict.fromkeys(_MAPPINGS, collections.OrderedDict),
        'collections.defaultdict': _DEFAULT_DICT,
        'an array\n': numpy.ndarray,
    }
    codes = numpy.typecodes['All']
    names.update({f'a type {code}\n': type(numpy.dtype(code)) for code in codes})
    return [(stand_in, name) for name, stand_in in names.items()]


_DEFAULT_DICT = _Callable(lambda *_: collections.OrderedDict())
# What torch's own unpickler knows.
_TORCHS_OWN = {
    'collections.Counter': InertDict,
    'collections.OrderedDict': InertDict,
    'builtins.set': _Callable(set),
    'torch._utils._rebuild_tensor': _Callable(torch._utils._rebuild_tensor),
    'torch._utils._rebuild_tensor_v2': _Callable(torch._utils._rebuild_tensor_v2),
    'torch._utils._rebuild_parameter': _Callable(torch._utils._rebuild_parameter),
    'torch.Size': _Callable(torch.Size),
    'torch.device': _Callable(torch.device),
    '_codecs.encode': _Callable(_encode),
    **{str(kind): kind for kind in vars(torch).values() if type(kind) is torch.dtype},
}
_RESTRICTED = {
    **_TORCHS_OWN,
    **_CALLABLES,
    **dict.fromkeys(_OBJECTS, InertObject),
    **dict.fromkeys((*_MAPPINGS, 'collections.defaultdict'), InertDict),
}


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that imports nothing (storages are ``torch.load``'s own part)."""

    def find_class(self, module: str, name: str) -> Any:
        full_name = f'{_today(module)}.{name}'
        if full_name not in _RESTRICTED:
            raise CheckpointError(full_name)
        return _RESTRICTED[full_name]


class RestrictedPickle:
    """What ``torch.load`` asks of a ``pickle_module``."""

    Unpickler = RestrictedUnpickler

    @staticmethod
    def load(file: BinaryIO, **kwargs: Any) -> Any:
        return RestrictedUnpickler(file, **kwargs).load()
