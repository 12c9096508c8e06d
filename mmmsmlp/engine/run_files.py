"""How do a run's checkpoints outlive a crash in the middle of anything?

mmengine writes a checkpoint under its own name from the first byte on, so a process
that is killed then leaves half a file, and ``last_checkpoint`` may name it. Here a
checkpoint gets its name when it is whole, and one that is not whole is passed over.
"""

import re
import zipfile
from pathlib import Path

from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend

from ..checkpoints.writing import whole_file


class WholeFileBackend(LocalBackend):
    """mmengine's local files, except that each appears whole or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file.

        Raises:
            CheckpointError: The disk is full, or the file cannot be written. An older
                file of that name stays as it was.
        """
        with whole_file(filepath) as part:
            part.write_bytes(obj)


def install_whole_files() -> None:
    """Make every checkpoint that mmengine writes locally appear whole."""
    register_backend('local', WholeFileBackend, force=True, prefixes='')


def keep_two(cfg: Config) -> str | None:
    """Keep at least two checkpoints where a config wants one.

    mmengine removes the oldest before it writes the new one: with one alone, a crash
    in between would leave none.

    Returns:
        One line for the log, if something was changed.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if hook.get('max_keep_ckpts') != 1:
        return None
    hook.max_keep_ckpts = 2
    return 'max_keep_ckpts became 2: with 1, a crash while saving would leave none'


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """Find the checkpoint to continue from: the last one that is whole.

    That is what ``last_checkpoint`` names, in this folder first, since it may be a
    copy of another; and else the one with the highest number.
    """
    folder = Path(work_dir)
    numbered = sorted(folder.glob('*_*.pth'), key=_number, reverse=True)
    candidates = [path for path in numbered if _number(path) >= 0]
    note = folder / 'last_checkpoint'
    if note.is_file() and (named := note.read_text().strip()):
        candidates[:0] = [folder / Path(named).name, Path(named)]
    return next((str(path) for path in candidates if _is_whole(path)), None)


def remove_parts(work_dir: str | Path) -> None:
    """Remove what killed processes left of checkpoints that they were writing."""
    for part in Path(work_dir).glob('.*.part'):
        part.unlink(missing_ok=True)


def _number(path: Path) -> int:
    """Of ``epoch_12.pth`` or ``iter_16000.pth``; -1 for any other, as the best's."""
    match = re.fullmatch(r'(?:epoch|iter)_(\d+)\.pth', path.name)
    return int(match[1]) if match else -1


def _is_whole(path: Path) -> bool:
    """A torch file is a zip archive, whose directory comes last."""
    return path.is_file() and zipfile.is_zipfile(path)
