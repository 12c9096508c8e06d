#!/usr/bin/env python
"""Evaluate with GPUS processes on this node: dist_test CONFIG CHECKPOINT GPUS ...

Several nodes, a CPU: see tools/dist_train.py.
"""

import sys
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.run.entry import EXIT_BAD_INPUT, run_tool
from mmmsmlp.run.launch import launch

USAGE = 'usage: tools/dist_test.py CONFIG CHECKPOINT GPUS [arguments of tools/test.py]'


def main() -> None:
    if len(sys.argv) < 4:
        print(USAGE, file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    config, checkpoint, gpus, *rest = sys.argv[1:]
    launch(gpus, Path(__file__).with_name('test.py'), config, checkpoint, *rest)


if __name__ == '__main__':
    run_tool(main)
