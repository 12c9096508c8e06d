#!/usr/bin/env python
"""Write what docs/ has of docstrings and kept measurements: api.md, tables, charts."""

import argparse
import re
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.run.entry import run_tool
from zoo import api, notes

DOCS = Path(__file__).resolve().parents[1] / 'docs'
BEGIN, END = '<!-- tools/docs.py writes this table -->', '<!-- its end -->'


def files() -> dict[str, str]:
    """Every generated file's text, by its path from ``docs``."""
    page = (DOCS / 'performance.md').read_text('utf-8')
    between = re.compile(f'(?<={BEGIN}\n\n).*?(?=\n\n{END})', re.S)
    return {
        'api.md': api.page(),
        'performance.md': between.sub(lambda _: notes.summary(), page),
        **notes.files(),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    for name, text in files().items():
        (DOCS / name).write_text(text, encoding='utf-8')
        print(DOCS / name)


if __name__ == '__main__':
    run_tool(main)
