"""Which globals may a pickled checkpoint name, and what stands in for them?

Nothing that a file names is imported. A name on the list gets the harmless
callable or the inert class given here; any other name refuses the file.
"""

import _compat_pickle
import collections
import datetime
import pathlib
import pickle

import numpy
import torch

from ..errors import CheckpointError


class InertDict(dict):
    """Stands in for mappings (OrderedDict, yacs' CfgNode): the items, no behaviour."""

    def __init__(self, *args):
        super().__init__(*(a for a in args if isinstance(a, (dict, list, tuple))))

    def __setstate__(self, state):
        """Drop the attributes, among them a state dict's ``_metadata``."""


class InertObject:
    """Stands in for other classes: keeps the pickled state, has no behaviour."""

    def __init__(self, *args):
        self.state = args

    def __setstate__(self, state):
        self.state = state


class _Callable:
    """Lets a pickle call a function, and do nothing else with it.

    The plain function would let a pickle set attributes on it.
    """

    __slots__ = ('_function',)

    def __init__(self, function):
        self._function = function

    def __call__(self, *args):
        return self._function(*args)

    def __setstate__(self, state):
        raise pickle.UnpicklingError('a function has no state to set')


def _encode(text, encoding):
    """Bytes in pickles of protocol 2, which ``torch.save`` writes."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'unexpected encoding {encoding!r}')
    return text.encode('latin1')


def _empty_array(kind, shape, code):
    """numpy's array shell; the state that follows gives shape, type and data."""
    return numpy.ndarray((0,), numpy.int8)


def _history_statistic(owner, name):
    """``getattr``, as mmengine's HistoryBuffer needs it for its four methods."""
    if owner is not InertObject or name not in ('min', 'max', 'mean', 'current'):
        raise CheckpointError(f'builtins.getattr(..., {name!r})')
    return InertObject(name)


def _allowed_globals():
    allowed = {
        'torch._utils._rebuild_tensor': torch._utils._rebuild_tensor,
        'torch._utils._rebuild_tensor_v2': torch._utils._rebuild_tensor_v2,
        'torch._utils._rebuild_parameter': torch._utils._rebuild_parameter,
        'torch.Size': torch.Size,
        'torch.device': torch.device,
        'numpy.dtype': numpy.dtype,
        'numpy.ndarray': InertObject,
        'builtins.getattr': _history_statistic,
        'collections.deque': collections.deque,
        'datetime.datetime': datetime.datetime,
        'datetime.timedelta': datetime.timedelta,
        '_codecs.encode': _encode,
    }
    for core in ('numpy.core', 'numpy._core'):  # numpy 1 and 2
        allowed[f'{core}.multiarray._reconstruct'] = _empty_array
        allowed[f'{core}.multiarray.scalar'] = _numpy_scalar
    for module in ('pathlib', 'pathlib._local'):  # Python 3.13 pickles the second
        for name in ('PosixPath', 'PurePosixPath'):
            allowed[f'{module}.{name}'] = pathlib.PurePosixPath
        for name in ('WindowsPath', 'PureWindowsPath'):
            allowed[f'{module}.{name}'] = pathlib.PureWindowsPath
    builtin_kinds = (bool, complex, float, int, str, slice)
    for kind in (*builtin_kinds, dict, frozenset, list, set, tuple):
        allowed[f'builtins.{kind.__name__}'] = kind
    return {name: _Callable(function) for name, function in allowed.items()}


def _numpy_scalar(dtype, data):
    if dtype.hasobject:
        raise pickle.UnpicklingError('a numpy scalar that is a Python object')
    return numpy.frombuffer(data, dtype)[0]


_CALLABLES = _allowed_globals()
_STAND_INS = {
    'collections.OrderedDict': InertDict,
    'collections.defaultdict': InertDict,
    'collections.Counter': InertDict,
    'addict.addict.Dict': InertDict,
    'easydict.EasyDict': InertDict,
    'mmcv.utils.config.ConfigDict': InertDict,
    'mmengine.config.config.ConfigDict': InertDict,
    'timm.utils.config.CfgNode': InertDict,
    'yacs.config.CfgNode': InertDict,
    'argparse.Namespace': InertObject,
    'types.SimpleNamespace': InertObject,
    'mmengine.logging.history_buffer.HistoryBuffer': InertObject,
}
_DTYPES = {
    f'torch.{name}': value
    for name, value in vars(torch).items()
    if isinstance(value, torch.dtype)
}


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that imports nothing (storages are ``torch.load``'s own part)."""

    def find_class(self, module, name):
        # torch.save writes protocol 2, which spells modules as Python 2 did.
        module = _compat_pickle.IMPORT_MAPPING.get(module, module)
        full_name = f'{module}.{name}'
        for table in (_CALLABLES, _STAND_INS, _DTYPES):
            if full_name in table:
                return table[full_name]
        raise CheckpointError(full_name)


class RestrictedPickle:
    """What ``torch.load`` asks of a ``pickle_module``."""

    Unpickler = RestrictedUnpickler

    @staticmethod
    def load(file, **kwargs):
        return RestrictedUnpickler(file, **kwargs).load()
