"""One folder, one run: the lock of a run folder, and what an earlier run left there."""

import json
import os
import platform
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from mmengine.config import Config

from ..errors import BadInput, join_some
from .config import values_in
from .mends import latest_checkpoint

LOCK = '.run.lock'
FAR = 1 << 20  # the byte that is locked: on Windows nobody could read locked text
_held: dict[str, IO] = {}  # by real path, until the process ends


def claim(work_dir: str | Path) -> str | None:
    """Hold a run folder for as long as this process lives, however it ends.

    The first process of a run does it. The lock is the system's, so a killed run leaves
    none behind.

    Returns:
        One line for the log, where the disk knows no locks.

    Raises:
        BadInput: A living process trains in it; names it.
    """
    path = Path(work_dir) / LOCK
    place = os.path.realpath(path)
    if os.environ.get('RANK', '0') != '0' or place in _held:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(path, 'a+', encoding='utf-8')  # noqa: SIM115  held for good
    except OSError as error:
        raise BadInput(
            f'--work-dir {work_dir} cannot be written: {error.strerror}; name a folder '
            'of yours'
        ) from error
    try:
        _lock(lock)
    except (ImportError, OSError) as error:
        lock.seek(0)
        owner = lock.read().strip() or 'another process'
        lock.close()
        if isinstance(error, (BlockingIOError, PermissionError)):
            raise BadInput(
                f'{work_dir} is being written by a run that lives, {owner}; name '
                'another --work-dir, or wait until it ends'
            ) from error
        return (
            f'{path} cannot be locked ({error}): nothing would stop a second '
            'run in this folder'
        )
    lock.truncate(0)
    lock.write(f'process {os.getpid()} on {platform.node()} since {time.ctime()}\n')
    lock.flush()
    _held[place] = lock
    return None


def _lock(file: IO) -> None:
    """Lock an open file for this process alone, not for the workers that it forks.

    Raises:
        BlockingIOError, PermissionError: Another process holds it.
        OSError: The disk has no locks, as some network disks.
    """
    try:
        import fcntl
    except ImportError:  # on Windows
        import msvcrt

        file.seek(FAR)
        return msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, FAR)


def set_aside(cfg: Config) -> str | None:
    """Move checkpoints out of the way of a run that does not go on from them.

    To be called right before training, when nothing refuses the run any more; the
    first process does it.

    Returns:
        One line for the log that says whose they are and where they went.

    Raises:
        BadInput: The new run starts from one of them.
    """
    folder = Path(cfg.work_dir)
    own = cfg.get('resume') and Path(cfg.load_from).resolve().parent == folder.resolve()
    if own or os.environ.get('RANK', '0') != '0':
        return None
    files = sorted(p for p in folder.glob('*.pth') if _written_by_a_run(p))
    if not files:
        return None
    named = {
        v for v in values_in(dict(cfg)) if isinstance(v, str) and v.endswith('.pth')
    }
    real = {os.path.realpath(os.path.expanduser(name)) for name in named}
    if used := [path for path in files if os.path.realpath(path) in real]:
        raise BadInput(
            f'{used[0]} is what this run starts from, and a run in the same folder '
            'would write over it; name another --work-dir'
        )
    latest = latest_checkpoint(folder)
    written = max(path.stat().st_mtime for path in files)
    stamp = time.strftime('%Y%m%d_%H%M%S', time.localtime(written))
    target, number = folder / f'earlier_{stamp}', 1
    while target.exists():
        target, number = folder / f'earlier_{stamp}_{number}', number + 1
    target.mkdir()
    note = folder / 'last_checkpoint'
    for path in [*files, *([note] if note.is_file() else [])]:
        path.rename(target / path.name)
    on = f'; --resume {target / Path(latest).name} goes on from them' if latest else ''
    return (
        f'{folder} held {len(files)} checkpoints of {_whose(folder)}: '
        f'{join_some(p.name for p in files)}. They lie in {target} now{on}'
    )


def _written_by_a_run(path: Path) -> bool:
    return bool(re.match(r'(epoch|iter)_\d+|best_', path.name))


def _whose(folder: Path) -> str:
    """The run that wrote a folder last, by its record."""
    for record in sorted(folder.glob('*/run.json'), reverse=True):
        with suppress(OSError, ValueError, KeyError):
            run = json.loads(record.read_text(encoding='utf-8'))
            return f'a run of {run["started"]} ({run["command"]})'
    return 'an earlier run'
