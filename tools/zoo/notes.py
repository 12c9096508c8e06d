"""What docs/ shows of kept measurements: raw tables, a summary, and charts."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from benchmarks import kernels, report
from benchmarks.chart import TITLES

KEPT = Path(__file__).resolve().parents[2] / 'docs' / 'benchmarks'
GENERATED = (
    'Written by `python tools/docs.py` from [{0}](../benchmarks/{0}); do not edit.'
)
# The kept runs: the title of each, and what it was measured with.
RUNS = {
    'default': ('default allocator', "the C library's default allocator"),
    'tuned': (
        'tuned allocator',
        'an allocator that keeps freed memory (`--allocator tuned`)',
    ),
    'avx2': ('AVX2', "the C library's default allocator, on a CPU without AVX-512"),
}
CHARTED = ('default', 'tuned')
# Of a chart, in pixels: a panel's width, a bar's height with its gap, room for words.
WIDE, STEP, NAMES, TOP = 190, 17, 128, 40
STYLE = (
    'text{font:11px system-ui,sans-serif;fill:#24292f}'
    '.h{font-weight:600}.r{text-anchor:end}.own{fill:#c4452d}.other{fill:#9aa5b1}'
    '@media(prefers-color-scheme:dark){text{fill:#e6edf3}.own{fill:#f0714f}'
    '.other{fill:#5d6b7a}}'
)
LEFT_OUT = {'straightforward-nhwc', 'swin-torchvision', 'focal-released'}


def cpu(run: str) -> dict:
    """The benchmark's result of one of :data:`RUNS`."""
    return json.loads((KEPT / f'cpu_t_{run}.json').read_text('utf-8'))


def raw_page(run: str) -> str:
    """Every table of a result."""
    result, (title, setting) = cpu(run), RUNS[run]
    parts = [
        f'# CPU, size T, {title}',
        GENERATED.format(f'cpu_t_{run}.json'),
        f'With {setting}. [How it is measured](measuring.md).',
        report.machine_line(result['machine']),
        *(f'## {table}' for table in report.tables(result['results'])),
    ]
    return '\n\n'.join(parts) + '\n'


def kernels_page() -> str:
    """What the Triton kernels take of a GPU."""
    kept = json.loads((KEPT / 'kernels.json').read_text('utf-8'))
    return (
        f'# The Triton kernels, compiled\n\n{GENERATED.format("kernels.json")}\n\n'
        'By `PYTHONPATH=tools python -m benchmarks.kernels FILE` and Triton '
        f'{kept["triton"]}, without a GPU: both orders, filters of 1, 3, 5 and 7, '
        'programs of one and of two warps. The highest of each, and the lowest and '
        "highest share of a multiprocessor's warps that run at once. This table says "
        f'nothing about speed.\n\n{kernels.table(kept["rows"])}\n'
    )


def summary() -> str:
    """How many times as fast as its peers MS-MLP-T is, and its share of memory."""
    peers = ('straightforward', 'swin', 'convnext', 'focal')
    head = ['MS-MLP-T beside', 'straightforward', 'Swin-T', 'ConvNeXt-T', 'Focal-T']
    lines = [head]
    for section, shape in (
        (section, shape) for section in TITLES for shape in ('8x224x224', '1x800x1280')
    ):
        cells = []
        for peer in peers:
            found = [
                f'{(row.get("over") or row["of"])[peer]:.2f}'
                for run in RUNS
                for row in cpu(run)['results']
                if (row['section'], row['shape'], row['key'])
                == (section, shape, 'msmlp')
            ]
            cells.append(', '.join(found))
        lines.append([f'{TITLES[section].lower()}, {shape}', *cells])
    return '\n'.join(report.align(lines))


def chart(run: str) -> str:
    """Bars for each backbone section and shape of a result, as SVG, light and dark."""
    rows = [
        row
        for row in cpu(run)['results']
        if row['section'] in TITLES and row['key'] not in LEFT_OUT
    ]
    place = itemgetter('shape', 'section')
    panels = [
        (key, list(mine)) for key, mine in groupby(sorted(rows, key=place), place)
    ]
    shapes = sorted({shape for (shape, _), _ in panels}, reverse=True)
    kinds = [kind for kind in TITLES if any(kind == key[1] for key, _ in panels)]
    high = TOP + STEP * max(len(mine) for _, mine in panels) + 14
    body = []
    for (shape, kind), mine in panels:
        x = kinds.index(kind) * (NAMES + WIDE)
        body += _panel(f'{TITLES[kind]}, {shape}', mine, x, shapes.index(shape) * high)
    size = f'{len(kinds) * (NAMES + WIDE)} {len(shapes) * high}'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}">'
        f'<style>{STYLE}</style>\n' + '\n'.join(body) + '\n</svg>\n'
    )


def _panel(title: str, rows: Sequence[dict], x: int, y: int) -> Iterable[str]:
    less = 'mb' in rows[0]
    unit = 'mb' if less else 'images_per_s'
    words = 'MB, less is better' if less else 'images/s, more is better'
    rows = sorted(rows, key=itemgetter(unit), reverse=not less)
    longest = max(row[unit] for row in rows)
    yield f'<text class="h" x="{x}" y="{y + 14}">{escape(title)}</text>'
    yield f'<text x="{x}" y="{y + 29}">{words}</text>'
    for i, row in enumerate(rows):
        top, wide = y + TOP + i * STEP, (WIDE - 60) * row[unit] / longest
        name = row['label'].partition(' (')[0].replace('straightforward', 'straightf.')
        kind = 'own' if row['key'].startswith('msmlp') else 'other'
        number = f'{row[unit]:.0f}' if longest >= 20 else f'{row[unit]:.2f}'
        yield (
            f'<text class="r" x="{x + NAMES - 6}" y="{top + 11}">{escape(name)}</text>'
            f'<rect class="{kind}" x="{x + NAMES}" y="{top + 1}" width="{wide:.1f}" '
            f'height="{STEP - 4}"/>'
            f'<text x="{x + NAMES + wide + 4:.1f}" y="{top + 11}">{number}</text>'
        )


def files() -> dict[str, str]:
    """Every generated page and chart, by its path from ``docs``."""
    made = {'notes/kernels.md': kernels_page()}
    made |= {f'notes/cpu_t_{run}.md': raw_page(run) for run in RUNS}
    made |= {f'benchmarks/cpu_t_{run}.svg': chart(run) for run in CHARTED}
    return made
