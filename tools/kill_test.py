#!/usr/bin/env python
"""Kill a training again and again, resume it, and compare with one left in peace.

Each start is killed (SIGKILL, the whole process group) after a random time and resumed
with --resume, until it has been killed often enough; then it may finish. Exits with 1
if a kill lost more than the steps since the last checkpoint, or if the end differs.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

import torch

from mmmsmlp.run.entry import positive
from mmmsmlp.run.mends import latest_checkpoint

TOOLS = Path(__file__).parent


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('config')
    add('--processes', type=positive, default=1, help='of the run, as dist_train.sh')
    add('--kills', type=int, default=50)
    add('--seed', type=int, default=0, help='of the moments')
    add(
        '--seconds', type=float, nargs=2, default=(2, 25), metavar=('FROM', 'TO'),
        help='each start lives for a random time between these',
    )  # fmt: skip
    add('--work-dir', default='work_dirs/kill_test', metavar='DIR')
    add('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE')
    return parser.parse_args()


def start(args: argparse.Namespace, folder: Path, *more: str) -> subprocess.Popen:
    """Start the training as a process group of its own, its output in a file."""
    tool = [str(TOOLS / 'train.py'), args.config]
    if args.processes > 1:
        tool = [str(TOOLS / 'dist_train.py'), args.config, str(args.processes)]
    command = [sys.executable, *tool, '--work-dir', str(folder)]
    if args.cfg_options:
        more = (*more, '--cfg-options', *args.cfg_options)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / 'output.txt', 'a', encoding='utf-8') as output:
        return subprocess.Popen(
            [*command, *more], stdout=output, stderr=output, start_new_session=True
        )


def kill_group(process: subprocess.Popen) -> None:
    """Kill a process and what it has started."""
    if sys.platform == 'win32':
        command = ['taskkill', '/F', '/T', '/PID', str(process.pid)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    else:
        others = descendants(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        for pid in others:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def descendants(pid: int) -> list[int]:
    """What a process has started, on Linux: torchrun's are of no group of its own."""
    found = []
    for listed in Path(f'/proc/{pid}/task').glob('*/children'):
        with suppress(FileNotFoundError):  # the thread has ended
            for child in map(int, listed.read_text(encoding='ascii').split()):
                found += [child, *descendants(child)]
    return found


def last_checkpoint(folder: Path) -> tuple[str, dict]:
    """The name of the checkpoint that a resume would take, and what it holds."""
    checkpoint = latest_checkpoint(folder)
    if checkpoint is None:
        return 'no checkpoint yet', dict(meta=dict(iter=0))
    return Path(checkpoint).name, torch.load(checkpoint, weights_only=True)


def scores(folder: Path) -> dict[str, str]:
    """The metrics of the last evaluation, from the log."""
    lines = (folder / 'output.txt').read_text(encoding='utf-8').split('\n')
    last = [line for line in lines if '(val)' in line][-1:]
    return dict(re.findall(r'(\w+/\w+): (-?[\d.]+)', ''.join(last)))


def kill_and_resume(args: argparse.Namespace, folder: Path) -> int:
    """Kill the training at random moments; return how often it was alive then."""
    moments = random.Random(args.seed)
    killed, before = 0, 0
    while killed < args.kills:
        process = start(args, folder, '--resume')
        life = moments.uniform(*args.seconds)
        try:
            if process.wait(timeout=life):
                raise SystemExit(f'error: a start failed, see {folder}/output.txt')
            break  # training ended first
        except subprocess.TimeoutExpired:
            kill_group(process)
        killed += 1
        name, content = last_checkpoint(folder)
        steps = content['meta']['iter']
        print(f'kill {killed}: after {life:.1f} s, {name}, {steps} steps', flush=True)
        if steps < before:
            raise SystemExit(f'error: {before} steps were done before, now {steps}')
        before = steps
    if start(args, folder, '--resume').wait():
        raise SystemExit(f'error: the last resume failed, see {folder}/output.txt')
    return killed


def main() -> None:
    args = parse_args()
    folder = Path(args.work_dir)
    if folder.exists():
        raise SystemExit(f'error: {folder} exists; name a new folder in --work-dir')
    print(f'seed {args.seed}, {args.kills} kills', flush=True)
    begin = time.monotonic()
    if start(args, folder / 'peace').wait():
        raise SystemExit(f'error: training failed, see {folder}/peace/output.txt')
    print(f'in peace: {time.monotonic() - begin:.0f} s, {scores(folder / "peace")}')
    killed = kill_and_resume(args, folder / 'killed')
    print(f'killed {killed} times: {scores(folder / "killed")}')
    one, two = (
        last_checkpoint(folder / name)[1]['state_dict'] for name in ('peace', 'killed')
    )
    same = all(torch.equal(one[name], two[name]) for name in one)
    print(f'final weights identical: {same}')
    metrics = scores(folder / 'peace')
    if not same or not metrics or metrics != scores(folder / 'killed'):
        raise SystemExit('error: the ends differ, or nothing was evaluated')
    if killed < args.kills:
        raise SystemExit(f'error: training ended after {killed} kills; train longer')


if __name__ == '__main__':
    main()
