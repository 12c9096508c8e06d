"""The tables that results are printed in."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from .models import BASELINES

HEADINGS = {
    'operator forward': 'Operator, forward (times faster than straightforward)',
    'operator forward+backward': (
        'Operator, forward and backward (times faster than straightforward)'
    ),
    'inference': 'Inference (times faster than ...)',
    'training': 'Training step, forward and backward (times faster than ...)',
    'end to end': 'End to end, with loading (times faster than ...)',
    'memory': 'Peak memory of a training step above weights and input (share of ...)',
}


def machine_line(machine: dict) -> str:
    """One paragraph that says on what a table was measured."""
    place = machine.get('gpu', machine['cpu'])
    versions = ', '.join(f'{k} {v}' for k, v in machine['versions'].items())
    chosen = f'; {machine["chosen"]}' if 'chosen' in machine else ''
    return (
        f'{place}; {machine["threads"]} thread(s) of {machine["cores"]} core(s); '
        f'C allocator: {machine["allocator"]}; Python {machine["python"]}; {versions}'
        + chosen
    )


def tables(rows: Sequence[dict]) -> Iterator[str]:
    """A table for every section, size and shape."""
    place = itemgetter('section', 'size', 'shape')
    for (section, size, shape), group in groupby(rows, place):
        cells = [_cells(row) for row in group]
        table = align([cells[0].keys(), *(of_row.values() for of_row in cells)])
        heading = f'{HEADINGS[section]}, size {size.upper()}, {shape}'
        yield '\n'.join([heading, '', *table])


def _cells(row: dict) -> dict[str, str]:
    """The cells of a row by the titles of their columns."""
    cells = {'': row['label'], 'layout': row['layout']}
    if 'stage_ms' in row:
        stages = zip(row['stage_ms'], row['stage_over'], strict=True)
        for i, (ms, ratio) in enumerate(stages, 1):
            cells[f'stage {i}'] = f'{ms:.2f} ms {ratio:.2f}'
        cells['mean'] = f'{row["over"]["straightforward"]:.2f}'
        if 'copy_share' in row:
            cells['of copy'] = f'{row["copy_share"]:.2f}'
        return cells
    if 'mb' in row:
        cells['MB'] = f'{row["mb"]:.0f}'
    else:
        cells['ms'] = f'{row["ms"]:.1f}'
        speed = row['images_per_s']
        cells['images/s'] = f'{speed:.{1 if speed >= 10 else 2}f}'
        if 'of_limit' in row:
            cells['of limit'] = f'{row["of_limit"]:.2f}'
        for part in ('loading', 'outside'):
            if part in row:
                cells[part] = f'{row[part]:.0%}'
    ratios = row['of'] if 'mb' in row else row['over']
    for key, title in BASELINES.items():
        if key in ratios:
            cells[title] = f'{ratios[key]:.2f}'
    return cells


def align(table: Iterable[Iterable[str]]) -> list[str]:
    """Rows of a Markdown table, padded."""
    columns = [
        [cell.ljust(max(map(len, column))) for cell in column]
        for column in zip(*table, strict=True)
    ]
    head, *body = (f'| {" | ".join(row)} |' for row in zip(*columns, strict=True))
    return [head, re.sub('[^|]', '-', head), *body]
