"""Reading a checkpoint file without running anything that stands in it."""

import _compat_pickle
import collections
import contextlib
import datetime
import difflib
import pathlib
import pickle
import re
import tarfile
import warnings
import zipfile
from pathlib import Path

import numpy
import torch

from ..errors import CheckpointError, join_some

_ADDRESS = re.compile(r'^[A-Za-z][A-Za-z0-9+.-]+://')
_SUFFIXES = ('.pth', '.pt', '.ckpt', '.bin')


def read_checkpoint(path):
    """Read a checkpoint that ``torch.save`` wrote, of whatever content.

    Code in the file never runs: tensors-only files are read by
    ``torch.load(weights_only=True)``, all others by an unpickler that knows a
    short list of harmless names and puts inert stand-ins for configs (yacs,
    mmengine, argparse), which therefore need not be installed.

    Args:
        path (str or os.PathLike): A local file.

    Returns:
        dict: The content, with all tensors on the CPU.

    Raises:
        CheckpointError: If there is no such file, it is no torch checkpoint, it
            is damaged, it names anything that is not on the list, or it holds
            no tensors.
    """
    file = _existing_file(path)
    try:
        problem = why_no_checkpoint(file)
    except OSError as error:
        raise CheckpointError(f'{file} cannot be read: {error.strerror}') from error
    if problem:
        raise CheckpointError(f'{file} {problem}')
    content = _load(file)
    if not isinstance(content, dict):
        raise CheckpointError(
            f'{file} holds a {type(content).__name__}, not a dict of tensors'
        )
    if not _holds_tensors(content):
        raise CheckpointError(
            f'{file} holds no tensors; its entries are {join_some(content) or "none"}'
        )
    return content


def _existing_file(path):
    if _ADDRESS.match(str(path)):
        raise CheckpointError(
            f'{path} is an address, and checkpoints are not downloaded here; download '
            'it first and give the local file'
        )
    file = Path(path).expanduser()
    if file.is_dir():
        files = sorted(f.name for f in file.iterdir() if f.suffix in _SUFFIXES)
        inside = f'it holds {join_some(files)}' if files else 'it holds no .pth file'
        raise CheckpointError(f'{file} is a folder, not a checkpoint; {inside}')
    if file.is_file():
        return file
    if not file.parent.is_dir():
        raise CheckpointError(
            f'{file} does not exist, and neither does its folder {file.parent}'
        )
    near = difflib.get_close_matches(file.name, (f.name for f in file.parent.iterdir()))
    hint = f'; near it there is {join_some(near)}' if near else ''
    raise CheckpointError(f'{file} does not exist{hint}')


def _load(file):
    options = dict(map_location='cpu')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # on pickle protocols and storages of old files
        # What is refused here may still hold no more than a config.
        with contextlib.suppress(Exception):
            return torch.load(file, weights_only=True, **options)
        return _load_restricted(file, options)


def _load_restricted(file, options):
    try:
        return torch.load(
            file, pickle_module=RestrictedPickle, weights_only=False, **options
        )
    except CheckpointError as refused:
        raise CheckpointError(
            f'{file} was not read: it names {refused}, which could run code while '
            'loading, and no code in a checkpoint is run here. If you trust its '
            "source, have it saved there as tensors only: torch.save({'state_dict': "
            'model.state_dict()}, DST)'
        ) from None
    # A damaged pickle can raise nearly anything.
    except Exception as error:
        if 'magic number' in str(error):
            raise CheckpointError(
                f'{file} is a plain pickle; a file written by torch.save is needed'
            ) from error
        kind = 'truncated' if _looks_cut(error) else 'damaged'
        raise CheckpointError(
            f'{file} is {kind} ({type(error).__name__}: {_first_line(error)}); copy or '
            'download it again'
        ) from error


def _looks_cut(error):
    words = ('truncated', 'EOF', 'Ran out of input', 'end of file', 'seek')
    return isinstance(error, EOFError) or (
        isinstance(error, (pickle.UnpicklingError, RuntimeError, ValueError))
        and any(word in str(error) for word in words)
    )


def _first_line(error):
    return (str(error).splitlines() or ['no message'])[0][:120]


def _holds_tensors(content, depth=3):
    if isinstance(content, torch.Tensor):
        return True
    if not isinstance(content, dict) or depth == 0:
        return False
    return any(_holds_tensors(value, depth - 1) for value in content.values())


_LFS = b'version https://git-lfs'
_MAGIC = (
    (b'\x89HDF', 'an HDF5 file (Keras?)'),
    (b'\x93NUMPY', 'a numpy array'),
    (b'\x1f\x8b', 'a gzip archive; unpack it first'),
    (b'7z\xbc\xaf', 'a 7z archive; unpack it first'),
    (b'\xfd7zXZ', 'an xz archive; unpack it first'),
    (b'%PDF', 'a PDF'),
    (b'GGUF', 'a GGUF model'),
)


def why_no_checkpoint(path):
    """Look at a file's outside, without unpickling anything.

    Args:
        path (pathlib.Path): An existing file.

    Returns:
        str or None: Why it is no torch checkpoint and what to do about it, or
        None where it looks like one.
    """
    with path.open('rb') as file:
        head = file.read(1024)
    if not head:
        return 'is empty; copy or download it again'
    if head.startswith(b'PK'):
        return _why_no_torch_zip(path)
    if _is_safetensors(head, path.stat().st_size):
        return (
            'is a safetensors file, which this reader does not take; convert it with '
            'torch.save(safetensors.torch.load_file(FILE), DST)'
        )
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return f'is {kind}; a file written by torch.save is needed'
    if tarfile.is_tarfile(path):
        return 'is a tar archive; unpack it, or re-save it with torch.save'
    if head.startswith(b'\x80'):
        return None
    return _why_text(head) or (
        'is of an unknown format; a file written by torch.save is needed'
    )


def _why_no_torch_zip(path):
    if not zipfile.is_zipfile(path):
        return 'is truncated (its end is missing); copy or download it again'
    with zipfile.ZipFile(path) as archive:
        names = [name.rsplit('/', 1)[-1] for name in archive.namelist()]
    if 'constants.pkl' in names:
        return (
            'is a TorchScript program, not a state dict; export the weights with '
            'torch.save(torch.jit.load(FILE).state_dict(), DST)'
        )
    if 'data.pkl' not in names:
        return 'is a zip archive, but not one that torch.save wrote'
    return None


def _is_safetensors(head, size):
    header = int.from_bytes(head[:8], 'little')
    return 0 < header <= size and head[8:9] == b'{'


def _why_text(head):
    text = head.decode('latin1').strip()
    if head.startswith(_LFS):
        return 'is a Git LFS pointer; fetch the file itself with `git lfs pull`'
    if text[:1] == '<':
        return (
            'is a web page (HTML or XML), as a failed download leaves it; download '
            'the checkpoint again'
        )
    if all(byte in b'\t\n\r' or 32 <= byte < 127 for byte in head):
        line = text.splitlines()[0][:60] if text else ''
        return f'is a text file ({line!r}...), not a checkpoint'
    return None


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
