"""How do mmengine's own readers load a checkpoint without running what is in it?

mmengine tries a safe read and falls back to plain unpickling, which runs any code
that a file names. The tools therefore put the readers below in its place for local
files and web addresses: ``load_from``, ``--resume``, ``Pretrained`` and the
inferencers then all go through :func:`mmmsmlp.checkpoints.read_checkpoint`.
"""

import hashlib
from pathlib import Path
from urllib.parse import urlparse

import numpy
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from ..checkpoints import read_checkpoint
from ..errors import CheckpointError


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
