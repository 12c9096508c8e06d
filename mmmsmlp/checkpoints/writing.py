"""Atomic writing: a file appears complete or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import CheckpointError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside ``path``; it gets its own name at the end.

    If the block raises, nothing is left; an older file of that name stays as it was.

    Args:
        path: The file to write. Its folder is made if need be.

    Yields:
        Where to write.

    Raises:
        CheckpointError: The file or its folder cannot be written.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise CheckpointError(f'{path} is a folder; name the file to write in it')
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp('.part', f'.{path.name}.', path.parent)
        os.close(handle)
        part = Path(name)
        yield part
        _to_disk(part)  # else a machine that stops could keep the name alone
        os.chmod(part, 0o666 & ~_umask())  # mkstemp's files are for the owner alone
        os.replace(part, path)
    except OSError as error:
        raise CheckpointError(
            f'{path} cannot be written: {error.strerror or error}'
        ) from error
    finally:
        if part is not None:
            with suppress(FileNotFoundError):
                part.unlink()


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
