#!/usr/bin/env python
"""Train CONFIG with GPUS processes on this node: dist_train CONFIG GPUS ...

On several nodes, start it on each with NNODES, NODE_RANK and MASTER_ADDR set (PORT
too, if 29500 is taken). One node finds a free port by itself. Without CUDA the
processes run on the CPU and talk over gloo.
"""

import sys
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.run.entry import EXIT_BAD_INPUT, run_tool
from mmmsmlp.run.launch import launch

USAGE = 'usage: tools/dist_train.py CONFIG GPUS [arguments of tools/train.py]'


def main() -> None:
    if len(sys.argv) < 3:
        print(USAGE, file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    config, gpus, *rest = sys.argv[1:]
    launch(gpus, Path(__file__).with_name('train.py'), config, *rest)


if __name__ == '__main__':
    run_tool(main)
