"""What a command prints: everything, or with ``--quiet`` its course alone.

Quiet, the standard output and error of the process, of its workers and of the C
libraries in it go to a log file. The terminal gets what the command says, the progress
of its loops, its metrics, and of all warnings those that a user can act on: this
package's notices, torch's on starting CUDA, and anybody's errors.
"""

import logging
import os
import shlex
import sys
import tempfile
import textwrap
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..errors import BadInput

LOG = 'console.log'
REDRAW = 0.2  # seconds between two states of the line in place
SPARSE = 30.0  # seconds between two lines where nothing can be in place


class Console:
    """Prints as it is told; see :class:`QuietConsole` for the other kind."""

    _course: 'Terminal | None' = None  # of a loop of ours

    def say(self, text: str) -> None:
        """Print a line."""
        if self._course:
            self._course.close()
            self._course = None
        print(text, flush=True)

    def log_to(self, folder: str | Path) -> None:
        """Name the folder for the log."""

    def progress(self, text: str) -> None:
        """Show what is being done; whoever prints everything says so already."""

    def step(self, text: str) -> None:
        """Show how far a loop of ours is, of which nobody else tells."""
        self._course = self._course or Terminal(1, sys.stdout.encoding)
        self._course.progress(text)

    def watch(self, runner: Runner) -> None:
        """Show the progress and the metrics of a Runner's loops."""


@contextmanager
def open_console(quiet: bool) -> Iterator[Console]:
    """The console of a command, until the ``with`` block ends."""
    if not quiet:
        yield Console()
        return
    with QuietConsole() as made:
        yield made


class QuietConsole(Console):
    """Takes the process's outputs into a log, and speaks on the terminal itself.

    The first process of a run speaks; all of them write to the log.
    """

    def __enter__(self) -> 'QuietConsole':
        self._outputs = sys.stdout, sys.stderr
        for stream in self._outputs:
            stream.flush()
        self._saved = os.dup(1), os.dup(2)
        self._terminal = Terminal(self._saved[0], sys.stdout.encoding)
        self._path: Path | None = None
        # Reading a config prints too, and only the config says where the log will be.
        self._log: Any = tempfile.TemporaryFile()
        self._send_outputs(self._log.fileno())
        sys.stdout = sys.stderr = open(
            1, 'w', 1, encoding='utf-8', errors='backslashreplace', closefd=False
        )
        self._heard: set[str] = set()
        self._factory = logging.getLogRecordFactory()
        self._showwarning = warnings.showwarning
        logging.setLogRecordFactory(self._hear_record)
        warnings.showwarning = self._hear_warning
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if error is not None:
            traceback.print_exception(error)
        logging.setLogRecordFactory(self._factory)
        warnings.showwarning = self._showwarning
        self._terminal.close()
        sys.stdout.flush()
        sys.stdout, sys.stderr = self._outputs
        for saved, standard in zip(self._saved, (1, 2), strict=True):
            os.dup2(saved, standard)
            os.close(saved)
        self._log.close()
        if isinstance(error, Exception) and self._path and _is_first():
            print(f'the log up to this error: {self._path}', file=sys.stderr)

    def _send_outputs(self, target: int) -> None:
        for standard in 1, 2:
            os.dup2(target, standard)

    def log_to(self, folder: str | Path) -> None:
        """Continue in the folder's log, behind what earlier commands left in it.

        Raises:
            BadInput: It cannot be written.
        """
        path = Path(folder) / LOG
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            log = path.open('ab', buffering=0)
        except OSError as error:
            raise BadInput(
                f'--quiet writes {path}, which cannot be written: {error.strerror}; '
                'name a folder of yours'
            ) from error
        log.write(f'\n{time.ctime()}: {shlex.join(sys.argv)}\n'.encode())
        sys.stdout.flush()
        self._log.seek(0)
        log.write(self._log.read())
        self._log.close()
        self._log, self._path = log, path
        self._send_outputs(log.fileno())
        self.say(f'log: {path}')

    def say(self, text: str) -> None:
        """Print a line on the terminal, and in the log."""
        print(text)
        if _is_first():
            self._terminal.say(text)

    def progress(self, text: str) -> None:
        """Show what is being done, now and then."""
        if _is_first():
            self._terminal.progress(text)

    step = progress

    def watch(self, runner: Runner) -> None:
        """Show the progress and the metrics of a Runner's loops."""
        runner.register_hook(ProgressHook(self))

    def _hear_record(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._factory(*args, **kwargs)
        error = record.levelno >= logging.ERROR
        if error or record.levelno >= logging.INFO and _logged_by_us():
            level = record.levelname.lower()
            known = f'{level}: ' if record.levelno > logging.INFO else ''
            self._pass_on(known + record.getMessage())
        return record

    def _hear_warning(
        self, message: Any, category: Any, filename: str, *args: Any, **kwargs: Any
    ) -> None:
        self._showwarning(message, category, filename, *args, **kwargs)
        ours = Path(__file__).parents[1] in Path(filename).parents
        if ours or str(message).startswith('CUDA initialization'):
            self._pass_on(f'warning: {message}')

    def _pass_on(self, text: str) -> None:
        if text not in self._heard and _is_first():
            self._heard.add(text)
            self._terminal.say(text)


def _is_first() -> bool:
    names = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
    return next((os.environ[n] for n in names if n in os.environ), '0') == '0'


def _logged_by_us() -> bool:
    """Whether this package, or the command itself, makes the log record at hand."""
    frame: Any = sys._getframe(2)
    name = 'logging'
    while frame and name.startswith(('logging', 'mmengine.logging')):
        frame, name = frame.f_back, frame.f_globals.get('__name__', '')
    return name.partition('.')[0] in ('mmmsmlp', '__main__')


class Terminal:
    """Lines, and below them one in place where the file is a terminal.

    A run goes on where the terminal has gone.

    Args:
        file: Descriptor to write to.
        encoding: Of the text.
    """

    def __init__(self, file: int, encoding: str):
        self._out: TextIO = open(  # noqa: SIM115  closed with the descriptor
            file, 'w', encoding=encoding, errors='backslashreplace', closefd=False
        )
        self._in_place = self._out.isatty()
        self._drawn = False
        self._due = time.monotonic() + (0 if self._in_place else SPARSE)

    def say(self, text: str) -> None:
        """Print text above the line in place; a terminal gets a long line folded."""
        if self._in_place and '\n' not in text:  # tables keep their lines
            text = textwrap.fill(
                text, self._width(), subsequent_indent='    ',
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
        self._write(self._blank() + text + '\n')

    def progress(self, text: str) -> None:
        """Put a text into the line in place, or print it, if that is due."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + (REDRAW if self._in_place else SPARSE)
        if self._in_place:
            width = self._width()
            shown = text[: width - len('^C')]  # which a terminal types behind it
            self._write(f'\r{shown:<{width}}\r{shown}')
            self._drawn = True
        else:
            self._write(text + '\n')

    def close(self) -> None:
        """Leave an empty line behind."""
        self._write(self._blank())
        with suppress(OSError):
            self._out.close()

    def _blank(self) -> str:
        """Overwrite the line in place, with what was typed into it, such as ^C."""
        drawn, self._drawn = self._drawn, False
        return f'\r{" " * self._width()}\r' if drawn else ''

    def _width(self) -> int:
        """One less than there is: at the edge some terminals begin a new line."""
        with suppress(OSError):
            return (os.get_terminal_size(self._out.fileno()).columns or 80) - 1
        return 79

    def _write(self, text: str) -> None:
        with suppress(OSError):
            self._out.write(text)
            self._out.flush()


class ProgressHook(Hook):
    """Shows a Runner's loops on a console: steps, metrics, and the checkpoints."""

    priority = 'LOWEST'  # behind the hooks that measure, evaluate and save

    def __init__(self, console: Console):
        self.console = console

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
        mode: str = 'train',
    ) -> None:
        """Show the step, or the batch of an evaluation."""
        if mode == 'train':
            line = training_line(runner)
        else:
            total = len(getattr(runner, f'{mode}_dataloader'))
            line = evaluation_line(runner, batch_idx, total)
        self.console.progress(line)

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, Any] | None = None
    ) -> None:
        """Say the metrics in a line: there will be many of them."""
        by_epoch = runner.max_epochs is not None and runner.max_epochs > 1
        when = f'epoch {runner.epoch}' if by_epoch else f'step {runner.iter}'
        shown = (f'{name}={value}' for name, value in formatted(metrics or {}).items())
        self.console.say('  '.join([f'{when}:', *shown]))

    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, Any] | None = None
    ) -> None:
        """Say the metrics as a table."""
        shown = formatted(metrics or {})
        names = max(map(len, shown), default=0)
        values = max(map(len, shown.values()), default=0)
        for name, value in shown.items():
            self.console.say(f'{name:<{names}}  {value:>{values}}')

    def after_train(self, runner: Runner) -> None:
        """Say which checkpoints there are."""
        for key, path in runner.message_hub.runtime_info.items():
            if key == 'last_ckpt' or key.startswith('best_ckpt'):
                own = Path(runner.work_dir, Path(path).name)  # of a copied run folder
                said = own if own.is_file() else path
                self.console.say(f'{key[:4]} checkpoint: {said}')


def training_line(runner: Runner) -> str:
    """Step, mean loss of the last ten, learning rate, time left, memory: the known."""
    hub, parts = runner.message_hub, []
    if (runner.max_epochs or 1) > 1:
        parts.append(f'epoch {runner.epoch + 1}/{runner.max_epochs}')
    parts.append(f'step {runner.iter + 1}/{runner.max_iters}')
    logged = hub.log_scalars
    if 'train/loss' in logged:
        parts.append(f'loss {logged["train/loss"].mean(10):.4f}')
    if 'train/lr' in logged:
        parts.append(f'lr {logged["train/lr"].current():.2e}')
    parts += _time_left(runner)
    if torch.cuda.is_available():
        parts.append(f'{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB')
    return '  '.join(parts)


def evaluation_line(runner: Runner, batch: int, total: int) -> str:
    """Which batch of how many, and the time left."""
    if batch + 1 == total:
        return 'evaluation: computing the metrics'
    return '  '.join([f'evaluation: batch {batch + 1}/{total}', *_time_left(runner)])


def _time_left(runner: Runner) -> list[str]:
    seconds = runner.message_hub.runtime_info.get('eta')
    if seconds is None:
        return []
    minutes, seconds = divmod(round(seconds), 60)
    return [f'eta {minutes // 60}:{minutes % 60:02}:{seconds:02}']


def formatted(metrics: dict[str, Any]) -> dict[str, str]:
    """Metrics as they are shown: ``{'coco/bbox_mAP': 0.5}`` is ``bbox_mAP 0.500``."""
    shown = {}
    for name, value in metrics.items():
        number = isinstance(value, (int, float))
        shown[name.removeprefix('coco/')] = f'{value:.3f}' if number else str(value)
    return shown
