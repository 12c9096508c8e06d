#!/usr/bin/env python
"""Count parameters and multiply-adds of configs, beside what the paper printed.

Needs no data and no memory for weights. A multiply-add counts as one; convolutions,
linear layers, attention and mix-shift count, norms and activations do not.
"""

import argparse
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.run.config import building, check_is_experiment, load_config
from mmmsmlp.run.entry import run_tool


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('configs', nargs='*', metavar='CONFIG', help='files or names')
    add('--all', action='store_true', help="every config of the paper's")
    add(
        '--shape', nargs=2, type=int, metavar=('H', 'W'),
        help='of the image; default 800 1280 (mmdet), 512 2048 (mmseg), 224 224',
    )  # fmt: skip
    add('--json', action='store_true', help='print JSON')
    args = parser.parse_args()
    if args.all == bool(args.configs):
        parser.error('give configs, or --all')
    if args.shape and min(args.shape) < 1:
        parser.error(f'--shape takes two positive integers, got {args.shape}')
    return args


def main() -> None:
    args = parse_args()
    from mmmsmlp.configs import Leaf, list_configs
    from zoo.compare import as_json, compare, table

    names = args.configs
    if args.all:
        names = [name for name in list_configs() if Leaf.parse(name)]
    shape = args.shape and tuple(args.shape)
    rows = []
    for name in names:
        cfg = load_config(name)
        check_is_experiment(cfg, 'default_scope', 'model')
        with building(name):
            rows.append(compare(Path(name).stem, cfg, shape))
    print(as_json(rows) if args.json else table(rows))


if __name__ == '__main__':
    run_tool(main)
