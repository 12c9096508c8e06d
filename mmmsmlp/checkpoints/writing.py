"""Atomic writing: a file appears complete or not at all."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from ..errors import CheckpointError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside ``path``; it gets its own name at the end.

    If the block raises, nothing is left; an older file of that name stays as it was.
    The folder is made if need be.

    Raises:
        CheckpointError: The file or its folder cannot be written.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise CheckpointError(f'{path} is a folder; name the file to write in it')
    part = path.with_name(f'.{path.name}.{token_hex(4)}.part')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch(exist_ok=False)
        try:
            yield part
            with part.open('rb+') as file:
                os.fsync(file)  # else a machine that stops could keep the name alone
            _rename(part, path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(
            f'{path} cannot be written: {error.strerror or error}'
        ) from error


def _rename(part: Path, path: Path) -> None:
    """Replace a file, which Windows refuses while another program has it open.

    Virus scanners and indexers let go soon, a viewer does not.
    """
    for wait in (0.1, 0.2, 0.4, 0.8, None):
        try:
            return os.replace(part, path)
        except PermissionError as error:
            if wait is None:
                raise PermissionError(
                    error.errno, 'it is open in another program, or protected; close it'
                ) from error
            time.sleep(wait)
