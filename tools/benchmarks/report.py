"""The tables that results are printed in, and the file that keeps them."""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from .models import BASELINES

HEADINGS = {
    'operator forward': 'Operator, forward (times faster than straightforward)',
    'operator forward+backward': (
        'Operator, forward and backward (times faster than straightforward)'
    ),
    'inference': 'Inference (times faster than ...)',
    'training': 'Training step, forward and backward (times faster than ...)',
    'memory': 'Peak memory of a training step above weights and input (share of ...)',
}
TITLES = {
    'straightforward': 'straightf.',
    'swin': 'Swin',
    'convnext': 'ConvNeXt',
    'focal-released': 'straightf. Focal',
    'focal': 'Focal',
}


def machine_line(machine: dict) -> str:
    """One paragraph that says on what a table was measured."""
    place = machine.get('gpu', machine['cpu'])
    versions = ', '.join(f'{k} {v}' for k, v in machine['versions'].items())
    return (
        f'{place}; {machine["threads"]} thread(s) of {machine["cores"]} core(s); '
        f'C allocator: {machine["allocator"]}; Python {machine["python"]}; {versions}'
    )


def tables(rows: Sequence[dict]) -> Iterator[str]:
    """A table for every section, size and shape."""

    def place(row):
        return row['section'], row['size'], row['shape']

    for (section, size, shape), group in groupby(rows, place):
        group = list(group)
        columns = ['', 'layout', *_titles(group[0], group)]
        body = [[row['label'], row['layout'], *_cells(row, group)] for row in group]
        heading = f'{HEADINGS[section]}, size {size.upper()}, {shape}'
        yield '\n'.join([heading, '', *_align([columns, *body])])


def _compared(group: Sequence[dict]) -> list[str]:
    present = {key for row in group for key in row.get('over', row.get('of'))}
    return [key for key in BASELINES if key in present]


def _titles(row: dict, group: Sequence[dict]) -> list[str]:
    if 'stage_ms' in row:
        stages = [f'stage {i}' for i in range(1, 5)]
        share = ['of copy'] if 'copy_bandwidth_share' in row else []
        return [*stages, 'mean', *share]
    measured = ['MB'] if 'mb' in row else ['ms', 'images/s']
    return measured + [TITLES[key] for key in _compared(group)]


def _cells(row: dict, group: Sequence[dict]) -> list[str]:
    if 'stage_ms' in row:
        pairs = zip(row['stage_ms'], row['stage_over'], strict=True)
        cells = [f'{ms:.2f} ms {ratio:.2f}' for ms, ratio in pairs]
        cells.append(f'{row["over"]["straightforward"]:.2f}')
        if 'copy_bandwidth_share' in row:
            cells.append(f'{row["copy_bandwidth_share"]:.2f}')
        return cells
    if 'mb' in row:
        cells, ratios = [f'{row["mb"]:.0f}'], row['of']
    else:
        cells = [f'{row["ms"]:.1f}', f'{row["images_per_s"]:.1f}']
        ratios = row['over']
    return cells + [f'{ratios[key]:.2f}' for key in _compared(group)]


def _align(table: Sequence[Sequence[str]]) -> list[str]:
    """Rows of a Markdown table, padded."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        '| ' + ' | '.join(c.ljust(w) for c, w in zip(r, widths, strict=True)) + ' |'
        for r in table
    ]
    rule = '|' + '|'.join('-' * (width + 2) for width in widths) + '|'
    return [lines[0], rule, *lines[1:]]


def write_json(path: str, result: dict) -> None:
    """Keep a result for :mod:`.chart` and for later comparison."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + '\n')
