#!/usr/bin/env python
"""Try the swap on every family of the installed toolboxes and write docs/heads.md.

A family is a folder of a toolbox's configs and the heads that its files name. Each
config runs as it is and with the new backbone: a step of training with backward, a
prediction, and one on an odd size, on noise, in a process with a limit on time and
memory. Results are lines of JSON; what stands there already is not run again.
"""

import argparse
import json
import multiprocessing
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.run.entry import run_tool

TOOLBOXES = 'mmdet', 'mmseg', 'mmpretrain'
NO_EXPERIMENTS = {'_base_', 'common', 'dsdl', 'legacy_1.x', 'objects365'}
# The lightest of a family says as much as the heaviest.
LIGHT = 'r18', 'r50', 'r-50', '-t', 'tiny', '-s', 'small', 'b0', 'w18', 'hr18', '-b'
BACKBONES = 'MSMLP', 'MSMLPSwin', 'MSMLPFocal', 'SwinTransformer', 'FocalTransformer'


def families(toolbox: str) -> Iterator[tuple[str, str]]:
    """Each family and the config that stands for it."""
    spec = find_spec(toolbox)
    if spec is None or spec.origin is None:
        return
    root = Path(spec.origin).parent / '.mim' / 'configs'
    for folder in sorted(root.iterdir()):
        if not folder.is_dir() or folder.name in NO_EXPERIMENTS:
            continue
        heads: dict[str, list[str]] = {}
        for file in folder.glob('[!_]*.py'):
            if not file.stem.endswith('_tta'):
                heads.setdefault(re.split(r'[_.]', file.name)[0], []).append(file.name)
        if toolbox != 'mmdet':  # there a folder has one head, at most a few datasets
            heads = {'': [name for names in heads.values() for name in names]}
        for names in [heads[head] for head in sorted(heads)][:2]:
            if names:
                best = min(names, key=_weight)
                yield f'{toolbox}/{folder.name}', f'{toolbox}::{folder.name}/{best}'


def _weight(name: str) -> tuple[int, int, str]:
    light = [i for i, mark in enumerate(LIGHT) if mark in name]
    return min(light, default=len(LIGHT)), len(name), name


def try_config(name: str, backbone: str) -> dict[str, Any]:
    """Run a config as it is and swapped; say how each went."""
    from mmmsmlp.errors import BadInput
    from mmmsmlp.swap import diff, read_config, swap
    from mmmsmlp.swap.exercise import exercise

    result: dict[str, Any] = {}
    try:
        before = read_config(name)
    except BadInput as error:
        return dict(original=str(error), swapped='refused', why=str(error))
    result['original'] = exercise(before) if before.get('model') else 'has no model'
    try:
        after, notes = swap(read_config(name), backbone, 'tiny', False)
    except BadInput as error:
        return {**result, 'swapped': 'refused', 'why': str(error)}
    except Exception as error:  # a fault of the swap itself
        return {
            **result,
            'swapped': 'failed',
            'why': f'{type(error).__name__}: {error}',
        }
    lines = diff(before, after).splitlines()
    result['changed'] = [
        line[2:] for line in lines
        if line.startswith('+ model.') and 'preprocessor' not in line
    ]  # fmt: skip
    result['notes'] = notes
    why = exercise(after)
    return {**result, 'swapped': 'failed' if why else 'ok', 'why': why}


def _in_child(name: str, backbone: str, memory: int, pipe: Any) -> None:
    with suppress(ImportError):  # on Windows there is no such limit
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory * 2**30, memory * 2**30))
    try:
        pipe.send(try_config(name, backbone))
    except BaseException as error:
        pipe.send(dict(swapped='failed', why=f'{type(error).__name__}: {error}'))


def run_one(name: str, backbone: str, seconds: int, memory: int) -> dict[str, Any]:
    """As :func:`try_config`, in a process of its own."""
    context = multiprocessing.get_context('fork')
    ours, theirs = context.Pipe()
    child = context.Process(target=_in_child, args=(name, backbone, memory, theirs))
    child.start()
    theirs.close()
    why = f'took more than {seconds} s'
    try:
        if ours.poll(seconds):
            return ours.recv()
    except EOFError:
        why = f'was killed (more than {memory} GiB?)'
    finally:
        child.kill()
        child.join()
    return dict(swapped='failed', why=why)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('results', type=Path, help='file of JSON lines, read and continued')
    add('--backbone', choices=BACKBONES, default='MSMLP')
    add('--every', type=int, default=1, help='only every Nth family')
    add('--only', default='', help='only configs with this in their name')
    add('--part', default='1/1', metavar='I/N', help='a share, for parallel runs')
    add('--timeout', type=int, default=300, help='seconds a config; default 300')
    add('--memory', type=int, default=24, help='GiB of addresses a config; default 24')
    add('--page', type=Path, metavar='FILE', help='write the page, such as heads.md')
    add('--trained', type=Path, help='what learn_heads.py wrote, for the page')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the child goes too
    everything = [pair for toolbox in TOOLBOXES for pair in families(toolbox)]
    rows = read(args.results)
    done = {(row['config'], row['backbone']) for row in rows}
    i, n = map(int, args.part.split('/'))
    todo = [
        (family, name)
        for family, name in everything[:: args.every][i - 1 :: n]
        if args.only in name and (name, args.backbone) not in done
    ]
    if todo:
        for toolbox in TOOLBOXES:  # once, for every child
            import_module(f'{toolbox}.models')
    for family, name in todo:
        start = time.monotonic()
        row = dict(family=family, config=name, backbone=args.backbone)
        row |= run_one(name, args.backbone, args.timeout, args.memory)
        row['seconds'] = round(time.monotonic() - start)
        with args.results.open('a', encoding='utf-8') as file:
            file.write(json.dumps(row) + '\n')
        print(name, row['swapped'], row.get('why', ''), flush=True)
    if args.page:
        from zoo.heads import page

        trained = read(args.trained) if args.trained else []
        args.page.write_text(page(read(args.results), trained), encoding='utf-8')


def read(file: Path) -> list[dict[str, Any]]:
    """The rows so far."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text('utf-8').splitlines()]


if __name__ == '__main__':
    run_tool(main)
