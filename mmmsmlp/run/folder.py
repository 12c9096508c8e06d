"""One folder, one run: no two write it at once, and none over another's checkpoints."""

import atexit
import errno
import json
import os
import platform
import re
import shlex
import shutil
import sys
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from mmengine.config import Config

from ..errors import BadInput
from .mends import latest_checkpoint

LOCK = '.running'
TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
EARLIER = 'earlier'
WEIGHTS = re.compile(r'(epoch|iter)_\d+\.pth|best_.+\.pth|last_checkpoint')
_held: dict[Path, IO[str]] = {}


def claim(cfg: Config, *kept: str | None) -> list[str]:
    """Make the run folder this run's own; to be asked by the first process alone.

    A fresh run sets the checkpoints of an earlier one aside, where nothing writes over
    them. The claim ends with the process, however it ends.

    Args:
        cfg: Config with its ``work_dir``.
        kept: Files that the run will read.

    Returns:
        Lines for the log.

    Raises:
        BadInput: A run that still lives writes there, or a file that shall be read
            would be set aside.
    """
    folder = Path(cfg.work_dir).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    unlocked = _lock(folder)
    goes_on = cfg.get('resume') and Path(cfg.load_from).resolve().parent == folder
    moved = None if goes_on else _set_aside(folder, filter(None, kept))
    return [line for line in (unlocked, moved) if line]


def _lock(folder: Path) -> str | None:
    path = folder / LOCK
    if path in _held:
        return None
    file = open(path, 'a+', encoding='utf-8')  # noqa: SIM115  held to the end
    try:
        _lock_file(file)
    except (ImportError, OSError) as error:
        if getattr(error, 'errno', None) not in TAKEN:
            file.close()
            return f'{folder} has no locks ({error}): let no other run write there'
        file.seek(0)
        raise BadInput(
            f'{folder} is written by a run that still lives, {file.read().strip()}. '
            'Wait for it, stop it, or name another --work-dir.'
        ) from error
    file.truncate(0)
    file.write(f'process {os.getpid()} of {platform.node()}: {shlex.join(sys.argv)}\n')
    file.flush()
    _held[path] = file
    return None


def _lock_file(file: IO[str]) -> None:
    """Take the lock, which ends with the process and which its children do not share."""
    try:
        import fcntl
    except ImportError:  # on Windows
        import msvcrt

        file.seek(1 << 20)  # behind the text, which another run shall read
        return msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@atexit.register
def release() -> None:
    """Give up every claim of this process."""
    for path, file in _held.items():
        with suppress(OSError):  # an open file cannot be removed on Windows
            path.unlink()
        file.close()
    _held.clear()


def _set_aside(folder: Path, kept: Iterable[str]) -> str | None:
    found = [path for path in folder.iterdir() if WEIGHTS.fullmatch(path.name)]
    if not [path for path in found if path.suffix == '.pth']:
        return None
    for name in kept:
        if Path(name).resolve() in found:
            raise BadInput(
                f'{name} lies in the run folder itself, whose checkpoints this run '
                'would set aside; name another --work-dir'
            )
    aside = folder / EARLIER / datetime.now().strftime('%Y%m%d_%H%M%S')
    aside.mkdir(parents=True)
    for path in found:
        path.rename(aside / path.name)
    for path in folder.glob('*.py'):  # the new run's config may be one of them
        shutil.copy2(path, aside)
    return (
        f'{folder} held the checkpoints of {_whose(folder)}; they lie in {aside} now. '
        f'To go on from them, stop this run and give --resume {latest_checkpoint(aside)}'
    )


def _whose(folder: Path) -> str:
    """The run that wrote the folder last, by its record."""
    for record in sorted(folder.glob('*/run.json'), reverse=True):
        with suppress(OSError, ValueError, KeyError):
            run = json.loads(record.read_text(encoding='utf-8'))
            return f'an earlier run of {run["started"]} ({run["command"]})'
    return 'an earlier run'
