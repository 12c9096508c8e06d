"""Reading a checkpoint file once, without running anything that stands in it."""

import copy
import errno
import hashlib
import os
import re
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import numpy as np
import torch

from ..errors import CheckpointError, is_there_another, join_some
from .unpickle import unpickle

FileName = str | os.PathLike[str]
_SUFFIXES = ('.pth', '.pt', '.ckpt', '.bin', '.safetensors')
# By real path: when the file was written and how large it is, and its content.
_kept: dict[str, tuple[tuple[int, int], dict]] = {}


class _BrokenFileError(CheckpointError):
    """A file that is no checkpoint, or not all of one."""


def read_checkpoint(path: FileName) -> dict[str, Any]:
    """Read a checkpoint of ``torch.save`` or safetensors, of whatever content.

    Code in the file never runs: what it names is on a short list of harmless names,
    or gets an inert stand-in as configs do (yacs, mmengine, argparse), which therefore
    need not be installed.

    Args:
        path: A file, or an https address, which is downloaded once.

    Returns:
        The content, with all tensors on the CPU.

    Raises:
        CheckpointError: There is no such file, it is no checkpoint, it is damaged, it
            names anything that is not on the list, or it holds no tensors.
    """
    file = local_file(path)
    change, content = _kept.pop(os.path.realpath(file), (None, {}))
    if change == _last_change(file):
        return content
    try:
        return _read(file)
    except _BrokenFileError:
        if _scheme(path):  # a download that broke off must not be taken for the file
            file.unlink(missing_ok=True)
        raise


def peek_checkpoint(path: FileName) -> dict[str, Any]:
    """Read a checkpoint ahead of the one who uses it up, and keep the content for it.

    The next :func:`read_checkpoint` takes the content over, so that it stays no longer
    than that one needs it; a file that was changed in between is read again. Nothing
    of what is given here may be changed.
    """
    name = os.path.realpath(local_file(path))
    change = _last_change(name)
    content = read_checkpoint(path)
    _kept[name] = change, content
    return content


@contextmanager
def lent_checkpoint(path: FileName) -> Iterator[None]:
    """Let foreign code read a checkpoint that is read once more behind it.

    It gets a copy, since it may change what it reads.
    """
    name, content = os.path.realpath(local_file(path)), peek_checkpoint(path)
    change, _ = _kept[name]
    _kept[name] = change, copy.deepcopy(content)
    try:
        yield
        _kept[name] = change, content
    except BaseException:
        _kept.pop(name, None)
        raise


def _last_change(file: FileName) -> tuple[int, int]:
    found = os.stat(file)
    return found.st_mtime_ns, found.st_size


def _scheme(path: FileName) -> str:
    found = re.match(r'([A-Za-z][A-Za-z0-9+.:-]+)://', str(path))
    return found[1].lower() if found else ''


def local_file(path: FileName) -> Path:
    """Find the file that a name or an address stands for, downloading the latter.

    Raises:
        CheckpointError: There is none; says what is near it. Or the address is not one
            that is read from.
    """
    scheme = _scheme(path)
    if not scheme:
        return _existing_file(Path(path).expanduser())
    parts = urlparse(str(path))
    here = ('localhost', '127.0.0.1', '::1')
    if scheme == 'https' or (scheme == 'http' and parts.hostname in here):
        return _downloaded(str(path))
    cure = 'download it first and give the local file'
    if scheme == 'file':
        cure = f'give the path alone: {url2pathname(parts.path)}'
    elif scheme == 'http':
        cure = f'give its https address, or {cure}'
    raise CheckpointError(
        f'{path}: checkpoints are not read from {scheme}:// addresses, only from files '
        f'and https:// (http:// on this machine itself); {cure}'
    )


def _downloaded(address: str) -> Path:
    """The file in torch.hub's folder; of several processes one downloads it."""
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    name = Path(urlparse(address).path)
    # Of the whole address, since many files are called model.pth.
    digest = hashlib.sha256(address.encode()).hexdigest()[:8]
    file = folder / f'{name.stem}-{digest}{name.suffix}'
    if file.exists():
        return file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f'.{file.name}.lock', 'wb') as lock:
            _wait_for(lock)
            if not file.exists():
                torch.hub.download_url_to_file(address, str(file))
    except (OSError, ValueError, HTTPException) as error:
        raise CheckpointError(f'{address} cannot be downloaded: {error}') from error
    return file


def _wait_for(lock: IO) -> None:
    """Wait until no other process holds the open file; closing it lets go."""
    try:
        import fcntl
    except ImportError:  # on Windows
        import msvcrt

        while True:
            try:  # for ten seconds
                return msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore
            except OSError as error:
                if error.errno != errno.EDEADLK:
                    raise
    fcntl.flock(lock, fcntl.LOCK_EX)


def _existing_file(file: Path) -> Path:
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
    raise CheckpointError(f'{file} does not exist{is_there_another(str(file))}')


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open('rb') as opened:
            head = opened.read(1024)
        header = int.from_bytes(head[:8], 'little')
        safetensors = 0 < header <= file.stat().st_size and head[8:9] == b'{'
        problem = None if safetensors else _why_no_checkpoint(head, file)
    except OSError as error:
        raise CheckpointError(f'{file} cannot be read: {error.strerror}') from error
    if problem:
        raise _BrokenFileError(f'{file} {problem}')
    content = _read_safetensors(file) if safetensors else _read_pickle(file)
    if not isinstance(content, dict):
        raise CheckpointError(
            f'{file} holds a {type(content).__name__}, not a dict of tensors'
        )
    tensors = [(k, v) for k, v in _values(content) if isinstance(v, torch.Tensor)]
    if not tensors:
        arrays = any(isinstance(value, np.ndarray) for _, value in _values(content))
        cure = '; make its arrays torch.from_numpy(array)' if arrays else ''
        entries = join_some(content) or 'none'
        raise CheckpointError(
            f'{file} holds no tensors; its entries are {entries}{cure}'
        )
    if empty := [key for key, tensor in tensors if tensor.is_meta]:
        raise CheckpointError(
            f'{file}: {len(empty)} tensors are of the device meta and have no values, '
            f'such as {empty[0]}; save the model once its weights are there'
        )
    return content


def _read_safetensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(
            f'{file} is a safetensors file, for which a small library is missing here: '
            'pip install safetensors'
        ) from error
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise _BrokenFileError(
            f'{file} is a damaged safetensors file ({error}); copy or download it again'
        ) from error


def _read_pickle(file: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # on pickle protocols and old storages
            return unpickle(file)
    except CheckpointError as refused:
        raise CheckpointError(
            f'{file} was not read: it names {refused}, which could run code while '
            'loading, and no code in a checkpoint is run here. If you trust its '
            "source, have it saved there as tensors only: torch.save({'state_dict': "
            'model.state_dict()}, DST)'
        ) from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        if 'magic number' in str(error):
            raise _BrokenFileError(
                f'{file} is a plain pickle; a file written by torch.save is needed'
            ) from error
        words = ('truncated', 'EOF', 'Ran out of input', 'end of file', 'seek')
        kind = 'truncated' if any(word in repr(error) for word in words) else 'damaged'
        # The first line, without torch's advice to load the file unsafely.
        text = str(error).rpartition('WeightsUnpickler error:')[-1].strip()
        reason = (text.splitlines() or ['no message'])[0][:120]
        raise _BrokenFileError(
            f'{file} is {kind} ({type(error).__name__}: {reason}); copy or download '
            'it again'
        ) from error


def _values(content: dict, depth: int = 3) -> Iterator[tuple[Any, Any]]:
    for key, value in content.items():
        if isinstance(value, dict) and depth > 1:
            yield from _values(value, depth - 1)
        else:
            yield key, value


_MAGIC = (
    (b'\x89HDF', 'an HDF5 file (Keras?)'),
    (b'\x93NUMPY', 'a numpy array'),
    (b'\x1f\x8b', 'a gzip archive; unpack it first'),
    (b'7z\xbc\xaf', 'a 7z archive; unpack it first'),
    (b'\xfd7zXZ', 'an xz archive; unpack it first'),
    (b'%PDF', 'a PDF'),
    (b'GGUF', 'a GGUF model'),
)


def _why_no_checkpoint(head: bytes, file: Path) -> str | None:
    """Say why a file is none of ``torch.save``, by its outside, and what to do then."""
    if not head:
        return 'is empty; copy or download it again'
    if head.startswith(b'PK'):
        return _why_no_torch_zip(file)
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return f'is {kind}; a file written by torch.save is needed'
    if tarfile.is_tarfile(file):
        return 'is a tar archive; unpack it, or re-save it with torch.save'
    return None if head.startswith(b'\x80') else _why_no_pickle(head)


def _why_no_torch_zip(file: Path) -> str | None:
    if not zipfile.is_zipfile(file):
        return 'is truncated (its end is missing); copy or download it again'
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name.rsplit('/', 1)[-1] for name in archive.namelist()]
    except zipfile.BadZipFile:
        return 'is damaged; copy or download it again'
    if 'constants.pkl' in names:
        return (
            'is a TorchScript program, not a state dict; export the weights with '
            'torch.save(torch.jit.load(FILE).state_dict(), DST)'
        )
    if 'data.pkl' not in names:
        inside = [name for name in names if name.endswith(_SUFFIXES)]
        cure = f'; it holds {join_some(inside)}: unpack it first' if inside else ''
        return f'is a zip archive, but not one that torch.save wrote{cure}'
    return None


def _why_no_pickle(head: bytes) -> str:
    text = head.decode('latin1').strip()
    if head.startswith(b'version https://git-lfs'):
        return 'is a Git LFS pointer; fetch the file itself with `git lfs pull`'
    if text[:1] == '<':
        return (
            'is a web page (HTML or XML), as a failed download leaves it; download '
            'the checkpoint again'
        )
    if all(byte in b'\t\n\r' or 32 <= byte < 127 for byte in head):
        line = text.splitlines()[0][:60] if text else ''
        return f'is a text file ({line!r}...), not a checkpoint'
    return 'is of an unknown format; a file written by torch.save is needed'
