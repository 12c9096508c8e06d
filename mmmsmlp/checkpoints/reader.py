"""How is a torch checkpoint read without running anything that stands in it?"""

import contextlib
import difflib
import pickle
import re
import warnings
from pathlib import Path

import torch

from ..errors import CheckpointError, join_some
from .file_kinds import why_no_checkpoint
from .unpickling import RestrictedPickle

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
