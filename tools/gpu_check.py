#!/usr/bin/env python
"""Prove that mmmsmlp is right and fast on this machine's GPU, in ten minutes.

Needs no data, but on a GPU the C compiler (gcc, or CC) that Triton starts kernels with.
Every part runs in a process of its own with a time limit. Ends with one table, a
verdict, and a file to attach to an issue. Without a GPU it does the same in small,
which proves the check and not a GPU.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

import torch

from benchmarks import gpu_parts, report
from benchmarks.gpu_scale import SCALES
from benchmarks.machine import describe_machine
from mmmsmlp.errors import BadInput
from mmmsmlp.run.entry import run_tool, writable
from mmmsmlp.run.mends import to_json

MINUTES = 10
LOG_LINES = 30  # of a part that failed, in the file


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--out', default='gpu_check.json', metavar='FILE', help='default: %(default)s')
    add('--parts', nargs='+', choices=list(gpu_parts.PARTS), help='default: all')
    add('--device', choices=['cpu', 'cuda'], help='default: cuda where there is')
    add('--minutes', type=float, default=MINUTES, help='in all; default: %(default)s')
    add('--run-part', choices=list(gpu_parts.PARTS), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    if device == 'cuda' and not torch.cuda.is_available():
        raise BadInput('--device cuda: PyTorch sees no GPU; use --device cpu')
    if args.run_part:
        run_part(args.run_part, device, Path(args.out))
        return
    out = Path(args.out)
    if not out.parent.is_dir():
        raise BadInput(f'--out {out}: there is no folder {out.parent}; make it first')
    writable('--out', out)
    machine = describe_machine(device)
    print(report.machine_line(machine), flush=True)
    parts, deadline = {}, time.monotonic() + 60 * args.minutes
    for name in args.parts or gpu_parts.PARTS:
        parts[name] = supervise(name, device, deadline)
        print(f'{name}: {parts[name]["status"]}', file=sys.stderr, flush=True)
        result = dict(machine=machine, device=device, parts=parts)
        result['verdict'] = gpu_parts.verdict(result)
        out.write_text(to_json(result, indent=1) + '\n', encoding='utf-8')
    print('\n' + gpu_parts.table(result))
    print(f'\nverdict: {result["verdict"]}\nfile to attach to an issue: {out}')
    sys.exit(not result['verdict'].startswith('green'))


def supervise(name: str, device: str, deadline: float) -> dict:
    """Run a part in a process of its own, and stop all of it at its limit."""
    start = time.monotonic()
    limit = min(gpu_parts.PARTS[name].seconds, deadline - start)
    if limit <= 0:
        status = f'left out: {gpu_parts.NO_TIME}'
        return dict(status=status, seconds=0.0, rows=[])
    with tempfile.TemporaryDirectory() as folder:
        rows, log = Path(folder, 'rows'), Path(folder, 'log')
        rows.touch()
        command = [sys.executable, __file__, '--run-part', name]
        command += ['--out', str(rows), '--device', device]
        with log.open('wb') as stream:
            process = subprocess.Popen(
                command,
                env={**os.environ, **gpu_parts.environment(name, device)},
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(limit)
                status = 'ok' if code == 0 else f'failed with exit code {code}'
            except subprocess.TimeoutExpired:
                status = f'stopped after {limit:.0f} s'
                if limit < gpu_parts.PARTS[name].seconds:
                    status += f': {gpu_parts.NO_TIME}'
            finally:
                stop(process)
        lines = log.read_text(encoding='utf-8', errors='replace').splitlines()
        found = rows.read_text(encoding='utf-8').splitlines()
    part = dict(status=status, seconds=round(time.monotonic() - start, 1))
    part['rows'] = [json.loads(line) for line in found]
    return part if status == 'ok' else part | dict(log=lines[-LOG_LINES:])


def stop(process: subprocess.Popen) -> None:
    """End a part and what it has started."""
    if sys.platform == 'win32':
        process.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_part(name: str, device: str, path: Path) -> None:
    """Write a part's rows, each as soon as it is known."""
    with path.open('a', encoding='utf-8') as stream:
        for row in gpu_parts.PARTS[name].run(SCALES[device]):
            stream.write(json.dumps(row) + '\n')
            stream.flush()


if __name__ == '__main__':
    run_tool(main)
