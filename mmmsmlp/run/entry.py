"""Command lines of the tools, and how a tool ends on bad input."""

import argparse
import ast
import errno
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import DictAction
from mmengine.device import get_device

from ..errors import BadInput, CheckpointError

EXIT_BAD_INPUT = 2
FIRST_SPEAKS_WITHIN = 10  # seconds


class DictOptions(DictAction):
    """``--cfg-options``: as mmengine's, but a malformed pair is a usage error.

    A value with braces is read as Python has it: ``hooks=[{'type': 'EMAHook'}]``.
    """

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        if '{' in val:
            return ast.literal_eval(val)
        return DictAction._parse_iterable(val)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Sequence[str],
        option_string: str | None = None,
    ) -> None:
        try:
            super().__call__(parser, namespace, values, option_string)
        except (AssertionError, SyntaxError, ValueError) as error:
            parser.error(
                f'{option_string} takes KEY=VALUE pairs, got {" ".join(values)!r} '
                f'({error})'
            )


def positive(text: str) -> int:
    """Read a whole number from 1 up, as the ``type`` of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'must be a whole number > 0, got {text!r}')
    return int(text)


def fraction(text: str) -> float:
    """Read a number from 0 to 1, as the ``type`` of an argument."""
    if not 0 <= (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f'must be from 0 to 1, got {text}')
    return value


def device(text: str) -> str:
    """Check that a device is there, as the ``type`` of an argument."""
    try:
        torch.empty(1, device=text)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).partition('\n')[0]
        raise argparse.ArgumentTypeError(
            f'{text!r} is not there ({reason}); choose one of '
            + ', '.join(dict.fromkeys([get_device(), 'cpu']))
        ) from error
    return text


def writable(
    option: str, path: str | Path, folder: bool = False, read: Iterable[str] = ()
) -> None:
    """Make the folder for what a tool will write, or refuse it before the work.

    Args:
        option: What named it, such as '--out'.
        path: A file, or with ``folder`` a folder.
        folder: Whether ``path`` itself is to be a folder.
        read: Files that the tool reads, which must stay as they are.

    Raises:
        BadInput: It cannot be written, or is read; names what is in the way.
    """
    place = Path(os.path.abspath(path))
    where = place if folder else place.parent
    if place.is_file() and any(
        os.path.samefile(place, file) for file in read if os.path.isfile(file)
    ):
        raise BadInput(
            f'{option} {path} is a file that is read; name another one to write'
        )
    reason = ''
    try:
        where.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        odd = [p for p in (where, *where.parents) if os.path.isfile(p)]
        reason = f'{odd[0]} is a file' if odd else f'{error.strerror}'
    else:
        if not folder and place.is_dir():
            reason = f'{place} is a folder'
        elif not os.access(place if place.exists() else where, os.W_OK):
            reason = 'Permission denied'
    if reason:
        cure = 'a folder' if folder else 'a file in a folder'
        raise BadInput(
            f'{option} {path} cannot be written: {reason}; name {cure} of yours'
        )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that training and testing share, the config first."""
    parser.add_argument('config', help='such as configs/retinanet_msmlp_t_1x.py')
    parser.add_argument(
        '--work-dir', metavar='DIR', help='run folder; default work_dirs/CONFIG_NAME'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictOptions,
        metavar='KEY=VALUE',
        help='override entries of the config, such as train_cfg.max_epochs=1',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='who started the processes; dist_*.sh and slurm_*.sh set it',
    )
    add_quiet(parser)
    parser.add_argument(
        '--data-check',
        choices=['headers', 'full', 'off'],
        default='headers',
        help='vet annotations and the headers of pictures before the first step, '
        'decode every picture too, or skip it; default headers',
    )
    # Older launchers pass the local rank as an argument instead of a variable.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet``, for :func:`mmmsmlp.run.console.open_console`."""
    parser.add_argument(
        '--quiet',
        action='store_true',
        help='print progress, metrics and what you can act on; the rest goes to a log',
    )


def run_tool(main: Callable[[], None]) -> None:
    """Run a tool; end with ``error: ...`` and exit code 2 on bad input.

    The first process of a machine speaks, so that eight processes do not print one
    error eight times. ``MMMSMLP_TRACEBACK=1`` shows where the error was raised.
    """
    try:
        return main()
    except (BadInput, CheckpointError) as error:
        if os.environ.get('MMMSMLP_TRACEBACK') == '1':
            traceback.print_exc()
        if os.environ.get('LOCAL_RANK', os.environ.get('SLURM_LOCALID', '0')) != '0':
            _let_the_first_speak()
        message = str(error)
    except (RuntimeError, ConnectionError, EOFError) as error:
        message = _of_a_worker(error)
        if not message:
            raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise  # a fault of the program: tools check the paths that they are given
        message = (
            f'{error.filename or "a file of the run"} cannot be written: '
            f'{error.strerror}. Free some space; the same command with --resume '
            'continues from the last checkpoint.'
        )
    except (KeyboardInterrupt, SyntaxError) as stop:
        # mmengine says of any end of its formatting that the config has bad syntax.
        if not isinstance(stop.__context__ or stop, KeyboardInterrupt):
            raise
        sys.exit(130)  # the shell's code for Ctrl-C; where it struck is no news
    sys.stdout.flush()
    print(f'error: {message}', file=sys.stderr, flush=True)
    sys.exit(EXIT_BAD_INPUT)


# The end of a data worker, as torch tells it, and what it most often means.
WORKER_ENDS = {
    'Bus error': 'shared memory is full: enlarge it (docker run --shm-size=8g)',
    'Killed': 'most often memory ran out, of which dmesg tells: take fewer workers',
    '': 'a library that decodes pictures may be at fault: try --data-check full',
}


def _of_a_worker(error: BaseException) -> str:
    """What ended a data worker, and the cure; empty where none was ended."""
    frames = traceback.walk_tb(error.__traceback__)
    names = {Path(frame.f_code.co_filename).name for frame, _ in frames}
    if names.isdisjoint(('dataloader.py', 'signal_handling.py')):
        return ''
    if isinstance(error, (ConnectionError, EOFError)):  # it died while handing over
        try:
            time.sleep(5)
        except RuntimeError as told:  # by torch, at the signal that a worker ended
            error = told
    if hasattr(signal, 'SIGCHLD'):  # torch would raise once more, as others end
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    said = str(error.__cause__ or error).partition('. ')[0]
    if not said.startswith('DataLoader worker'):
        return ''
    cure = next(cure for end, cure in WORKER_ENDS.items() if end in said)
    return (
        f'{said} ({cure}, or train_dataloader.num_workers=0). '
        '--resume continues from the last checkpoint.'
    )


def _let_the_first_speak() -> None:
    """Wait for the first process to tell the error, unless it is this one's alone.

    Normally the first has the same error, and the launcher ends this process once the
    first has left. Left before it, this one would have the first ended before it could
    speak. Where no end comes, as with one task too many for the GPUs of a machine, the
    error is told here.
    """
    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, lambda *_: os._exit(EXIT_BAD_INPUT))
    time.sleep(FIRST_SPEAKS_WITHIN)
