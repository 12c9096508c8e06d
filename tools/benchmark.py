#!/usr/bin/env python
"""Measure MS-MLP beside its peers: operator, inference, training step, memory.

Operators and backbones are first compared with their oracle. Where a path computes
other numbers nothing is timed, and the exit code is 1. --detectors and --exported are
timed only, and compared with nothing.
"""

import argparse
import json
import logging
import sys
from importlib.util import find_spec
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

import torch

from benchmarks import report
from benchmarks.end_to_end import CONFIGS, measure_detectors
from benchmarks.exported import measure_exported
from benchmarks.exported import table as exported_table
from benchmarks.gate import GateRed
from benchmarks.machine import use_allocator
from benchmarks.models import CORE, ZOO
from benchmarks.run import DEFAULT_SHAPES, DTYPES, SECTIONS, measure
from mmmsmlp.errors import BadInput
from mmmsmlp.run.entry import positive, run_tool, writable


def parse_shape(text: str) -> tuple[int, int, int]:
    """Read 'NxHxW'."""
    try:
        batch, height, width = map(int, text.split('x'))
    except ValueError:
        batch = height = width = 0
    if min(batch, height, width) < 1:
        raise argparse.ArgumentTypeError(
            f'a shape is BATCHxHEIGHTxWIDTH, such as 8x224x224, got {text!r}'
        )
    return batch, height, width


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--sizes', nargs='+', choices=list('tsb'), default=['t'])
    add('--sections', nargs='+', choices=SECTIONS, default=SECTIONS)
    add(
        '--models', nargs='+', choices=[*ZOO, 'all'],
        help=f'default: {" ".join(CORE)}',
    )  # fmt: skip
    add(
        '--detectors', nargs='+', choices=CONFIGS,
        help='instead: these end to end, from the loader to weights or predictions, '
        'beside Swin-T and ConvNeXt-T, on generated pictures on the CPU; a shape takes '
        "the place of their config's batch and size",
    )  # fmt: skip
    add(
        '--shapes', nargs='+', type=parse_shape, metavar='NxHxW',
        help='default: 8x224x224 1x800x1280 on a CPU, 128x224x224 2x800x1280 on a GPU',
    )  # fmt: skip
    add('--device', choices=list(DEFAULT_SHAPES), help='default: cuda where there is')
    add('--dtype', choices=DTYPES, help='default: float32; bfloat16 on a GPU')
    add('--threads', type=positive, help="default: PyTorch's choice")
    add('--rounds', type=positive, help='default: 5, or 3 for images above 512x512')
    add('--quick', action='store_true', help='one short round of small images')
    add(
        '--allocator', choices=['default', 'tuned'],
        help="set the C library's allocator; 'tuned' keeps freed memory in the process",
    )  # fmt: skip
    add(
        '--exported', nargs='+', metavar='CONFIG|MODEL',
        help='instead: whole models, of configs by PyTorch and of exported files by '
        'each runtime that is installed; default shape 1x480x640',
    )  # fmt: skip
    add('--compiled', action='store_true', help='with --exported: torch.compile, too')
    add('--out', metavar='FILE', help='write the results as JSON')
    add('--chart', metavar='FILE', help='draw the results; .png or .svg')
    add('--read', metavar='FILE', help='print and draw earlier results instead')
    return parser.parse_args()


def check_outputs(args: argparse.Namespace) -> None:
    """Refuse what could not be written or drawn in the end, before any measuring."""
    if args.chart and args.exported:
        raise BadInput('--chart draws backbones; --exported needs to go without it')
    if args.chart and find_spec('matplotlib') is None:
        raise BadInput('--chart needs matplotlib: python -m pip install matplotlib')
    for option in 'out', 'chart':
        if path := getattr(args, option):
            writable(f'--{option}', path)


def main() -> None:
    args = parse_args()
    check_outputs(args)
    if args.read:
        result = read_result(args.read)
    else:
        use_allocator(args.allocator)
        logging.disable(logging.INFO)  # the models' notes do not belong to the tables
        try:
            result = measured(args)
        finally:
            logging.disable(logging.NOTSET)
    if args.out:  # first: minutes of measuring stand in it
        text = json.dumps(result, indent=1) + '\n'
        Path(args.out).write_text(text, encoding='utf-8')
    try:
        show(result, args.chart)
    except (AttributeError, KeyError, TypeError) as error:
        if not args.read:
            raise
        reason = f'it has no {error}' if isinstance(error, KeyError) else error
        raise BadInput(
            f'{args.read} is no result that --out wrote: {reason}'
        ) from error


def show(result: dict, chart: str | None) -> None:
    """Print a result's tables, and draw its chart."""
    print(report.machine_line(result['machine']))
    if 'exported' in result:
        rows = exported_table(result['exported'])
        print('\n' + '\n'.join(report.align(rows)))
        if chart:
            raise BadInput('no chart: the result is of --exported, which has none')
        return
    for table in report.tables(result['results']):
        print(f'\n{table}', flush=True)
    if chart:
        from benchmarks.chart import draw_chart

        try:
            draw_chart(result, chart)
        except (ValueError, OSError) as error:
            raise BadInput(f'no chart: {error}') from error


def read_result(path: str) -> dict:
    """Read what ``--out`` wrote."""
    try:
        found = json.loads(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise BadInput(f'{path} is no result that --out wrote: {error}') from error
    if not isinstance(found, dict):
        raise BadInput(f'{path} is no result that --out wrote: it holds no object')
    return found


def measured(args: argparse.Namespace) -> dict:
    """Measure what the arguments ask for; exit with 1 where the gate is red."""
    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    if device == 'cuda' and not torch.cuda.is_available():
        raise BadInput('--device cuda: PyTorch sees no GPU; use --device cpu')
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.exported:
        return measure_exported(args)
    try:
        return measure_detectors(args) if args.detectors else measure(args, device)
    except GateRed as error:
        print(f'error: the gate is red, nothing was timed:\n{error}', file=sys.stderr)
        sys.exit(1)
    except ImportError as error:
        raise BadInput(
            f'a model that was asked for cannot be built: {error}'
        ) from error


if __name__ == '__main__':
    run_tool(main)
