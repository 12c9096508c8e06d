"""Mends of mmengine: safe reading and whole writing of checkpoints."""

import hashlib
import re
import zipfile
from pathlib import Path
from urllib.parse import urlparse

import numpy
import torch
from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from ..checkpoints import read_checkpoint
from ..checkpoints.writing import whole_file
from ..errors import CheckpointError


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


def install_safe_loader() -> None:
    """Make mmengine read local and downloaded checkpoints through the check."""
    CheckpointLoader.register_scheme('', loader=load_from_local, force=True)
    web = ('http://', 'https://')
    CheckpointLoader.register_scheme(web, loader=load_from_web, force=True)


def load_from_web(address: str, map_location=None) -> dict:
    """Download a checkpoint once, to torch.hub's folder, and read it from there.

    Args:
        address: http or https address of the file.
        map_location: As in ``torch.load``.

    Returns:
        As :func:`load_from_local`.

    Raises:
        CheckpointError: It cannot be downloaded, or :func:`load_from_local` refuses it.
    """
    folder = Path(torch.hub.get_dir()) / 'checkpoints'
    name = Path(urlparse(address).path)
    # Of the whole address, since many files are called model.pth.
    digest = hashlib.sha256(address.encode()).hexdigest()[:8]
    file = folder / f'{name.stem}-{digest}{name.suffix}'
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(address, str(file))
        except OSError as error:
            raise CheckpointError(f'{address} cannot be downloaded: {error}') from error
    return load_from_local(str(file), map_location)


def load_from_local(filename: str, map_location=None) -> dict:
    """Read a checkpoint; a training state comes back as training left it.

    Args:
        filename: Local file.
        map_location: As in ``torch.load``.

    Returns:
        The content. Configs that a foreign file pickled are inert stand-ins.

    Raises:
        CheckpointError: Missing, damaged, foreign, or it would run code.
    """
    content = read_checkpoint(filename)
    if not hasattr(torch.serialization, 'safe_globals'):  # torch < 2.5
        # Every name in the file has just been found on the list of harmless ones.
        return torch.load(filename, map_location=map_location, weights_only=False)
    try:
        with torch.serialization.safe_globals(_training_state_globals()):
            return torch.load(filename, map_location=map_location, weights_only=True)
    except Exception:  # it names a config class, whose stand-in is in `content`
        return content


def _training_state_globals() -> list:
    """What the log buffers of a Runner's checkpoint name."""
    core = getattr(numpy, '_core', None) or numpy.core
    kinds = (numpy.float32, numpy.float64, numpy.int32, numpy.int64, numpy.uint32)
    return [
        HistoryBuffer,
        getattr,
        core.multiarray._reconstruct,
        core.multiarray.scalar,
        numpy.dtype,
        numpy.ndarray,
        *(type(numpy.dtype(kind)) for kind in kinds),
    ]
