#!/usr/bin/env python
"""Show how a run went, or several side by side, in one page that needs no network."""

import argparse
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.run.curves import draw_curves, report_on
from mmmsmlp.run.entry import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('runs', nargs='+', type=Path, metavar='RUN', help='such as work_dirs/demo')
    add('--out', type=Path, metavar='FILE.html', help='default RUN/report.html, or '
        'report.html here for several')  # fmt: skip
    add('--curves', type=Path, metavar='FILE.png', help='draw loss and metrics of RUN '
        'into a picture, and write no page')  # fmt: skip
    args = parser.parse_args()
    if args.curves and len(args.runs) > 1:
        parser.error('--curves draws one RUN')
    return args


def main() -> None:
    args = parse_args()
    if args.curves:
        draw_curves(args.runs[0], args.curves)
        print(args.curves)
    else:
        print(report_on(args.runs, args.out))


if __name__ == '__main__':
    run_tool(main)
