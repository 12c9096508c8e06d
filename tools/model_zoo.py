#!/usr/bin/env python
"""Write docs/model_zoo.md, model-index.yml and its metafiles from the configs."""

import argparse
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.run.entry import run_tool

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    from zoo.pages import pages

    for name, text in pages().items():
        path = ROOT / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding='utf-8')
        print(path)


if __name__ == '__main__':
    run_tool(main)
