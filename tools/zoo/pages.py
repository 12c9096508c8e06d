"""The model zoo's page and the index that mim reads, written from the configs."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from mmmsmlp.configs import Leaf, list_configs
from mmmsmlp.version import __version__

from .compare import Row, compare
from .complexity import total

PAPER = {
    'Title': 'Mixing and Shifting: Exploiting Global and Local Dependencies in Vision '
    'MLPs',
    'URL': 'https://arxiv.org/abs/2202.06510',
}
# By a config's head, in the order of the page.
TASKS = {
    'retinanet': 'Detection',
    'mask-rcnn': 'Detection',
    'cascade-mask-rcnn': 'Detection',
    'upernet': 'Segmentation',
    '': 'Classification',
}
# By task: the data, the score, and the paper's columns of it.
SCORES = {
    'Detection': ('COCO', 'box AP / mask AP', ('AP', 'mask_AP')),
    'Segmentation': ('ADE20K', 'mIoU / multi-scale', ('ss_miou', 'ms_miou')),
    'Classification': ('ImageNet-1k', 'top-1', ('top1',)),
}
INTRODUCTION = """\
# Model zoo

Written by `python tools/model_zoo.py`; do not edit.

Three kinds of number, never mixed: what **the paper** printed, what this project
**computed** from the config (`python tools/complexity.py NAME`), and what a **run
here** scored. No model was trained here at the scale of the paper. "no row": the paper
has none.
Parameters in millions; MACs, multiply-adds of one image, in billions. **(!)** marks a
printed cell that cannot be right; the reasons are at the end.
"""


def pages() -> dict[str, str]:
    """Every generated file's text, by its path from the checkout's root."""
    sections = _sections(compare(name) for name in list_configs() if Leaf.parse(name))
    files = {'docs/model_zoo.md': _zoo(sections)}
    for task, rows in sections.items():
        files[f'configs/metafiles/{task.lower()}.yml'] = _metafile(task, rows)
    metafiles = [path for path in files if path.endswith('.yml')]
    files['model-index.yml'] = _yaml({'Import': metafiles})
    return files


def _sections(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by task, tiny before small before base, one head after another."""
    tasks = {}
    for row in sorted(rows, key=_order):
        tasks.setdefault(TASKS[Leaf.parse(row.name).head], []).append(row)
    return tasks


def _order(row: Row) -> tuple:
    leaf = Leaf.parse(row.name)
    size = 'tsb'.index(leaf.size)
    return list(TASKS).index(leaf.head), leaf.schedule, size, leaf.backbone


def _zoo(sections: dict[str, list[Row]]) -> str:
    blocks = [INTRODUCTION]
    for task, rows in sections.items():
        _, score, columns = SCORES[task]
        height, width = rows[0].shape
        blocks.append(f'## {task}\n\nMACs at {height}x{width}.\n')
        head = ['config', f'paper: {score}', 'computed: params / MACs']
        head += ['paper: params / FLOPs', 'run here']
        blocks.append(_table(head, [_line(row, columns) for row in rows]))
    rows = [row for group in sections.values() for row in group]
    return '\n'.join([*blocks, _runs(), _doubts(rows), _far()])


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    first, *body = (f'| {" | ".join(map(str, row))} |' for row in (head, *rows))
    return '\n'.join([first, '|---' * len(head) + '|', *body]) + '\n'


def _cells(row: Row, columns: Iterable[str]) -> str:
    """The paper's cells with their doubts; ``-`` where its table has no such column."""
    if row.paper is None:
        return 'no row'
    return ' / '.join(
        f'{row.paper.row.get(column, "-")}'
        f'{" (!)" if column in row.paper.suspect else ""}'
        for column in columns
    )


def _line(row: Row, columns: Iterable[str]) -> list[str]:
    table = f' (Table {row.paper.table})' if row.paper else ''
    runs = [_result(run) for run in _load('runs.yaml') if run['config'] == row.name]
    return [
        _link(row.name),
        _cells(row, columns) + table,
        f'{row.params_m:.2f} / {row.macs_g:.2f}',
        _cells(row, ('params_m', 'flops_g')),
        ', '.join(runs) or 'not trained here',
    ]


def _link(config: str) -> str:
    return f'[{config}](../configs/{config}.py)'


def _result(run: dict) -> str:
    return f'[{run["result"]}]({run["log"]})'


def _runs() -> str:
    title = '## Trained here\n\nAt the size that the machine of this project allows.\n'
    rows = []
    for run in _load('runs.yaml'):
        command = f'`{run["command"]}`'
        cells = _link(run['config']), run['data'], _result(run), command, run['seed']
        rows.append(cells)
    return f'{title}\n{_table(("config", "data", "result", "command", "seed"), rows)}'


def _doubts(rows: list[Row]) -> str:
    lines = [
        f'- {row.name} (Table {row.paper.table}), {", ".join(columns)}: {reason}'
        for row in rows
        if row.paper
        for reason, columns in _by_reason(row.paper.suspect).items()
    ]
    return '## Printed cells that cannot be right (!)\n\n' + '\n'.join(lines) + '\n'


def _by_reason(suspect: dict[str, str]) -> dict[str, list[str]]:
    reasons = {}
    for column, reason in suspect.items():
        reasons.setdefault(reason, []).append(f'`{column}`')
    return reasons


def _far() -> str:
    title = '## Parameters more than 4 % from Tables 6 and 8\n\n'
    keys = 'config', 'printed', 'computed', 'reason'
    rows = [[cell[key] for key in keys] for cell in _load('far_cells.yaml')]
    return title + _table(('config', 'paper', 'computed', 'why'), rows)


def _metafile(task: str, rows: list[Row]) -> str:
    """What mim reads: no weights and no results, as nobody trained these here."""
    collection = {
        'Name': f'MS-MLP {task}',
        'Metadata': {
            'Training Data': SCORES[task][0],
            'Architecture': ['Mix-shift', 'MLP'],
        },
        'Paper': PAPER,
        'README': 'docs/model_zoo.md',
        'Code': {'URL': 'mmmsmlp/models/msmlp.py', 'Version': f'v{__version__}'},
    }
    models = [
        {
            'Name': row.name,
            'In Collection': collection['Name'],
            'Config': f'configs/{row.name}.py',
            'Metadata': {
                'Parameters': total(row.parts).params,
                'FLOPs': total(row.parts).macs,
            },
        }
        for row in rows
    ]
    return _yaml({'Collections': [collection], 'Models': models})


def _load(name: str) -> list[dict]:
    return yaml.safe_load(Path(__file__).with_name(name).read_text('utf-8'))


def _yaml(content: dict) -> str:
    header = '# Written by tools/model_zoo.py; do not edit.\n'
    return header + yaml.safe_dump(content, sort_keys=False, width=88)
