"""The model zoo's page and the index that mim reads, written from the configs."""

from collections.abc import Callable, Iterable
from pathlib import Path

import yaml

from mmmsmlp.configs import Leaf, list_configs
from mmmsmlp.version import __version__

from .compare import Row, compare

PAPER = {
    'Title': 'Mixing and Shifting: Exploiting Global and Local Dependencies in Vision '
    'MLPs',
    'URL': 'https://arxiv.org/abs/2202.06510',
}
NOT_TRAINED = 'not trained here'
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
        files[f'configs/metafiles/{_slug(task)}.yml'] = _metafile(task, rows)
    metafiles = [path for path in files if path.endswith('.yml')]
    files['model-index.yml'] = _yaml({'Import': metafiles})
    return files


def _sections(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by task, tiny before small before base, one head after another."""
    tasks = {name: [] for name in ('Detection', 'Segmentation', 'Classification')}
    for row in rows:
        head = Leaf.parse(row.name).head
        task = {'upernet': 'Segmentation', '': 'Classification'}.get(head, 'Detection')
        tasks[task].append(row)
    for rows_of_task in tasks.values():
        rows_of_task.sort(key=_order)
    return tasks


def _order(row: Row) -> tuple:
    leaf = Leaf.parse(row.name)
    heads = ('retinanet', 'mask-rcnn', 'cascade-mask-rcnn', 'upernet', '')
    return (
        heads.index(leaf.head),
        leaf.schedule,
        'tsb'.index(leaf.size),
        leaf.backbone,
    )


def _zoo(sections: dict[str, list[Row]]) -> str:
    blocks = [INTRODUCTION]
    scores: dict[str, tuple[str, Callable[[Row], str]]] = {
        'Detection': ('box AP / mask AP', _pair('AP', 'mask_AP')),
        'Segmentation': ('mIoU / multi-scale', _pair('ss_miou', 'ms_miou')),
        'Classification': ('top-1', _pair('top1')),
    }
    for task, rows in sections.items():
        name, score = scores[task]
        height, width = rows[0].shape
        blocks.append(f'## {task}\n\nMACs at {height}x{width}.\n')
        head = f'| config | paper: {name} | computed: params / MACs '
        head += '| paper: params / FLOPs | run here |'
        lines = [head, '|---' * 5 + '|', *(_line(row, score) for row in rows)]
        blocks.append('\n'.join(lines) + '\n')
    rows = [row for group in sections.values() for row in group]
    return '\n'.join([*blocks, _runs(), _doubts(rows), _far()])


def _pair(*columns: str) -> Callable[[Row], str]:
    return lambda row: _cells(row, columns)


def _cells(row: Row, columns: Iterable[str]) -> str:
    """The paper's cells with their doubts; ``-`` where its table has no such column."""
    if row.paper is None:
        return 'no row'
    return ' / '.join(
        f'{row.paper.row.get(column, "-")}'
        f'{" (!)" if column in row.paper.suspect else ""}'
        for column in columns
    )


def _line(row: Row, score: Callable[[Row], str]) -> str:
    table = f' (Table {row.paper.table})' if row.paper else ''
    runs = [run for run in _load('runs.yaml') if run['config'] == row.name]
    here = ', '.join(f'[{run["result"]}]({run["log"]})' for run in runs) or NOT_TRAINED
    cells = (
        f'[{row.name}](../configs/{row.name}.py)',
        score(row) + table,
        f'{row.params_m:.2f} / {row.macs_g:.2f}',
        _cells(row, ('params_m', 'flops_g')),
        here,
    )
    return f'| {" | ".join(cells)} |'


def _runs() -> str:
    lines = [
        '## Trained here\n',
        'At the size that the machine of this project allows.\n',
        '| config | data | result | command | seed |',
        '|---|---|---|---|---|',
    ]
    for run in _load('runs.yaml'):
        name = f'[{run["config"]}](../configs/{run["config"]}.py)'
        result = f'[{run["result"]}]({run["log"]})'
        cells = (name, run['data'], result, f'`{run["command"]}`', str(run['seed']))
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines) + '\n'


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
    lines = [
        '## Parameters more than 4 % from Tables 6 and 8\n',
        '| config | paper | computed | why |',
        '|---|---|---|---|',
    ]
    for cell in _load('far_cells.yaml'):
        columns = ('config', 'printed', 'computed', 'reason')
        lines.append(f'| {" | ".join(str(cell[key]) for key in columns)} |')
    return '\n'.join(lines) + '\n'


def _metafile(task: str, rows: list[Row]) -> str:
    """What mim reads: no weights and no results, as nobody trained these here."""
    data = {'Detection': 'COCO', 'Segmentation': 'ADE20K'}.get(task, 'ImageNet-1k')
    architecture = ['Mix-shift', 'MLP']
    collection = {
        'Name': f'MS-MLP {task}',
        'Metadata': {'Training Data': data, 'Architecture': architecture},
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
                'Parameters': sum(part.params for part in row.parts.values()),
                'FLOPs': sum(part.macs for part in row.parts.values()),
            },
        }
        for row in rows
    ]
    return _yaml({'Collections': [collection], 'Models': models})


def _slug(task: str) -> str:
    return task.lower()


def _load(name: str) -> list[dict]:
    return yaml.safe_load(Path(__file__).with_name(name).read_text())


def _yaml(content: dict) -> str:
    header = '# Written by tools/model_zoo.py; do not edit.\n'
    return header + yaml.safe_dump(content, sort_keys=False, width=88)
