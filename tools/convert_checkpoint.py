#!/usr/bin/env python
"""Convert the authors' checkpoints (MS-MLP, Swin, Focal) without running their code."""

import argparse

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.checkpoints.convert import LAYOUTS
from mmmsmlp.run.convert import TASKS, convert_file
from mmmsmlp.run.entry import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('src', metavar='SRC', help='the released .pth file')
    add('dst', metavar='DST', help='the file to write')
    add('--family', choices=LAYOUTS, default='auto')
    add(
        '--geometry', choices=['released', 'paper'],
        help="how mix-shift weights were trained; the authors' files are released",
    )  # fmt: skip
    add(
        '--shift-dist', nargs='+', type=int, metavar='D',
        help="distances of the channel groups, if not the file's or geometry's own",
    )  # fmt: skip
    add(
        '--task', choices=TASKS, default='backbone',
        help='cls keeps the classifier, for mmpretrain',
    )  # fmt: skip
    add('--verify', action='store_true', help='compute images with it and compare')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    verify = None
    if args.verify:
        from _independent import independent as verify
    print('\n'.join(convert_file(**{**vars(args), 'verify': verify})))


if __name__ == '__main__':
    run_tool(main)
