"""The numbers that the paper printed about a config's model.

``paper_tables.yaml`` holds every table as printed, with the cells that cannot all be
right under ``suspect_cells``.
"""

import functools
from pathlib import Path
from typing import NamedTuple

import yaml

from mmmsmlp.configs import Leaf

FRAMEWORKS = {
    'retinanet': 'RetinaNet',
    'mask-rcnn': 'Mask R-CNN',
    'cascade-mask-rcnn': 'Cascade Mask R-CNN',
    'upernet': 'UperNet',
}
MODELS = {
    'msmlp': 'MS-MLP',
    'msmlp-swin': 'MS-MLP+Swin',
    'msmlp-focal': 'MS-MLP+Focal',
    'swin': 'Swin',
    'focal': 'Focal',
}
# Where a table repeats another's row, the first of these is quoted.
TABLES_OF = {'300e': (3, 5), '1x': (6, 8), '160k': (7,), '3x': (11,)}


class Printed(NamedTuple):
    """A row of the paper, as printed.

    Attributes:
        table: The table's number.
        row: Its cells by column, such as ``params_m``, ``flops_g``, ``AP``.
        suspect: Why a cell is doubtful, by column.
    """

    table: int
    row: dict
    suspect: dict[str, str]


def printed(leaf: Leaf) -> Printed | None:
    """The paper's row for a config, or None where it has none."""
    if leaf.backbone not in MODELS:
        return None
    model = f'{MODELS[leaf.backbone]}-{leaf.size.upper()}'
    framework = FRAMEWORKS.get(leaf.head)
    rows = {table['table']: table['rows'] for table in _document()['tables']}
    for table in TABLES_OF.get(leaf.schedule, ()):
        for row in rows[table]:
            if _is_of(row, model, framework):
                return Printed(table, row, _suspect(table, model, framework))
    return None


@functools.cache
def _document() -> dict:
    return yaml.safe_load(
        Path(__file__).with_name('paper_tables.yaml').read_text('utf-8')
    )


def _is_of(row: dict, model: str, framework: str | None) -> bool:
    # The tables write "MS-MLP + Swin-T" and "MS-MLP+Swin-T", "Focal-Attention-T" and
    # "Focal-T" for the same models.
    name = row['model'].replace(' ', '').replace('-Attention', '')
    return name == model and row.get('framework') == framework


def _suspect(table: int, model: str, framework: str | None) -> dict[str, str]:
    return {
        key: cell['reason']
        for cell in _document()['suspect_cells']
        if cell['table'] == table and _is_of(cell, model, framework)
        for key in cell['key']
    }
