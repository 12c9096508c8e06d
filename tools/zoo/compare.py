"""What a config's model costs, beside what the paper printed for it."""

import functools
import json
import logging
from typing import NamedTuple

from mmengine.config import Config

from mmmsmlp.configs import Leaf, get_config

from .complexity import SHAPES, Part, complexity, total
from .paper import Printed, printed


class Row(NamedTuple):
    """One config: what was counted, and what was printed where the paper has a row."""

    name: str
    shape: tuple[int, int]
    parts: dict[str, Part]
    paper: Printed | None

    @property
    def params_m(self) -> float:
        """Millions of parameters."""
        return total(self.parts).params / 1e6

    @property
    def macs_g(self) -> float:
        """Billions of multiply-adds for one image."""
        return total(self.parts).macs / 1e9

    def difference(self, column: str) -> float | None:
        """Computed over printed, less 1, of ``'params_m'`` or ``'flops_g'``."""
        cell = self.paper and self.paper.row.get(column)
        if not cell:
            return None
        own = self.params_m if column == 'params_m' else self.macs_g
        return own / cell - 1


def compare(
    name: str, cfg: Config | None = None, shape: tuple[int, int] | None = None
) -> Row:
    """Count a config and put the paper's row beside it.

    Args:
        name: As :func:`~mmmsmlp.configs.list_configs` gives it.
        cfg: The config of that name, where it is already loaded.
        shape: Image height and width; by default the paper's. With another one the
            paper's numbers do not compare and are left out.
    """
    cfg = cfg or get_config(name)
    own = SHAPES.get(cfg.default_scope)
    leaf = Leaf.parse(name) if shape in (None, own) else None
    logging.disable(logging.WARNING)  # toolboxes comment on what they build
    try:
        parts = _count(cfg.default_scope, json.dumps(cfg.model), shape)
    finally:
        logging.disable(logging.NOTSET)
    return Row(name, shape or own, parts, leaf and printed(leaf))


@functools.cache
def _count(scope: str, model: str, shape: tuple[int, int] | None) -> dict[str, Part]:
    """Counted once for all the schedules of one model."""
    cfg = Config(dict(default_scope=scope, model=json.loads(model)))
    return complexity(cfg, shape)


def table(rows: list[Row]) -> str:
    """Rows as text, each cell of the paper with its difference; ``!`` marks a doubt."""
    head = 'config', 'shape', 'params M', 'paper', '', 'MACs G', 'paper', ''
    lines = [(*head, 'MACs by part'), *map(_cells, rows)]
    columns = []
    for i, cells in enumerate(zip(*lines, strict=True)):
        pad = str.ljust if i in (0, 8) else str.rjust
        columns.append([pad(cell, max(map(len, cells))) for cell in cells])
    text = ['  '.join(line).rstrip() for line in zip(*columns, strict=True)]
    return '\n'.join(text + _doubts(rows))


def _cells(row: Row) -> list[str]:
    height, width = row.shape
    parts = ', '.join(f'{k} {part.macs / 1e9:.1f}' for k, part in row.parts.items())
    return [
        *(row.name, f'{height}x{width}'),
        *(f'{row.params_m:.2f}', *_printed(row, 'params_m')),
        *(f'{row.macs_g:.2f}', *_printed(row, 'flops_g')),
        parts,
    ]


def _printed(row: Row, column: str) -> tuple[str, str]:
    difference = row.difference(column)
    if difference is None:
        return '-', ''
    mark = '!' if column in row.paper.suspect else ''
    return f'{mark}{row.paper.row[column]}', f'{100 * difference:+.1f}%'


def _doubts(rows: list[Row]) -> list[str]:
    lines = [
        f'! Table {row.paper.table}, {row.name}, {column}: {row.paper.suspect[column]}'
        for row in rows
        for column in ('params_m', 'flops_g')
        if row.difference(column) is not None and column in row.paper.suspect
    ]
    return ['', 'Printed cells that cannot be right:', *lines] if lines else []


def as_json(rows: list[Row]) -> str:
    """Rows as JSON: numbers unrounded, parts separate, the paper's row whole."""
    tables = [
        {
            'config': row.name,
            'shape': row.shape,
            **total(row.parts)._asdict(),
            'parts': {name: part._asdict() for name, part in row.parts.items()},
            'paper': row.paper and row.paper._asdict(),
        }
        for row in rows
    ]
    return json.dumps(tables, indent=1)
