#!/usr/bin/env python
"""Draw the loss and the validation metrics of a run folder."""

import argparse
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported
from mmmsmlp.run.curves import draw_curves
from mmmsmlp.run.entry import run_tool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('run', type=Path, help='such as work_dirs/retinanet_msmlp_t_1x')
    add('--out', type=Path, help='image file to write; default RUN/curves.png')
    args = parser.parse_args()
    target = args.out or args.run / 'curves.png'
    draw_curves(args.run, target)
    print(target)


if __name__ == '__main__':
    run_tool(main)
