#!/usr/bin/env python
"""Check the data of a config or a path, and show what they hold in a page."""

import argparse
import os
import tempfile
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.data.cache import Cache
from mmmsmlp.errors import BadInput
from mmmsmlp.report.data import view_of, write_report
from mmmsmlp.run.entry import run_tool, writable
from mmmsmlp.run.inspection import inspect
from mmmsmlp.run.vet import Vetted


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add(
        'source',
        metavar='CONFIG|PATH',
        help='a config, a COCO file, or a folder as train.py --data takes it',
    )
    add('--images', metavar='DIR', help='folder of the images of a COCO file')
    add('--report', metavar='DIR', help='write a page to look at, DIR/index.html')
    add('--full', action='store_true', help='decode every picture')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    cache = Cache()
    if args.report:
        writable('--report', args.report, folder=True)
    with tempfile.TemporaryDirectory() as scratch:
        vetted = inspect(args.source, args.images, scratch, cache, args.full)
        check(args, vetted, scratch)


def check(args: argparse.Namespace, vetted: Vetted, scratch: str) -> None:
    """Print what was found; what lies in ``scratch`` goes by the source's name."""

    def named(file: str) -> str:
        return file.replace(f'{scratch}{os.sep}', f'{args.source}, converted: ')

    views = [view_of(split, one) for split, one in vetted.sets if args.report]
    for view in views:
        view.places = set(map(named, view.places))
        view.facts = [(title, named(fact)) for title, fact in view.facts]
    for group in vetted.found:
        group.file = named(group.file)
    for line in vetted.told:
        print(line)
    for split, one in vetted.sets:
        kinds = f'{len(one.summary.classes)} classes'
        print(f'{split}: {one.summary.images:,} images, {kinds}')
    for outcome in ('error', 'repair', 'warning'):
        for line in vetted.found.lines(outcome):
            print(f'{outcome}: {line}')
    if args.report:
        page = write_report(Path(args.report), args.source, views, vetted.found)
        print(f'report: {page}')
    if errors := vetted.found.of('error'):
        raise BadInput(
            f'{args.source} is not fit for a run: {len(errors)} of the above'
        )
    print('nothing in the data would end or spoil a run')


if __name__ == '__main__':
    run_tool(main)
