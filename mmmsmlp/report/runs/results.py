"""The report's sections on an evaluation: classes, curves, sizes, confusion, images."""

import base64
import os
from collections import Counter
from collections.abc import Sequence
from html import escape
from io import BytesIO

import numpy as np

from ..kit.charts import chart
from ..kit.thumbs import Mark, Shot, colour_of, thumb
from .curves import COLOURS, Line, curves, number
from .read import Run

FULL_MATRIX = 24  # classes up to which each cell has its number
DRAWN_MATRIX = 150  # up to which the matrix is drawn
PAIRS = 20  # of classes that are confused
WHAT = {'bbox': 'boxes', 'segm': 'masks'}
COUNTED = {'mmdet': 'boxes', 'mmseg': 'pixels', 'mmpretrain': 'images'}


def _kept(runs: Sequence[Run]) -> list[tuple[int, Run]]:
    return [(k, run) for k, run in enumerate(runs) if run.evaluation]


def _classes(run: Run) -> list[str]:
    """The names without the background that mmdet's confusion adds as the last."""
    names = run.evaluation['names']
    return names[:-1] if run.evaluation['scope'] == 'mmdet' else names


def matrix(run: Run) -> np.ndarray:
    """Which class (rows) was taken for which, (names, names)."""
    size = len(run.evaluation['names'])
    counts = np.zeros((size, size), np.int64)
    for true, found, count in run.evaluation['confusion']:
        counts[true, found] = count
    return counts


def by_class(run: Run) -> dict[str, list]:
    """Columns of the table of classes; ``None`` where a number is undefined."""
    counts, scope = matrix(run), run.evaluation['scope']
    many = len(_classes(run))
    right, true, found = counts.diagonal(), counts.sum(1), counts.sum(0)
    columns: dict[str, list] = {COUNTED[scope]: true[:many].tolist()}
    for kind, scored in run.evaluation['coco'].items():
        prefix = f'{WHAT.get(kind, kind)}: ' * (len(run.evaluation['coco']) > 1)
        columns |= {prefix + name: row for name, row in scored['by_class'].items()}
    shares = dict(precision=(right, found), recall=(right, true))
    if scope == 'mmseg':
        shares = dict(IoU=(right, true + found - right), Acc=(right, true)) | shares
        shares.pop('recall')  # it is Acc
    else:
        shares['F1'] = (2 * right, true + found)
    for name, (part, whole) in shares.items():
        columns[f'{name}, %'] = [
            100 * int(p) / int(w) if w else None
            for p, w in zip(part[:many], whole[:many], strict=True)
        ]
    return columns


def classes(runs: Sequence[Run]) -> str:
    """The table of classes; of several runs, their columns side by side."""
    kept = _kept(runs)
    if not kept:
        return ''
    names = list(dict.fromkeys(name for _, run in kept for name in _classes(run)))
    heads: list[str] = []
    rows: dict[str, list[str]] = {name: [] for name in names}
    for k, run in kept:
        own = _classes(run)
        columns = by_class(run)
        key = f'<span class="key s{k % COLOURS}"></span>' * (len(runs) > 1)
        heads += [f'<th>{key}{escape(name)}</th>' for name in columns]
        place = {name: i for i, name in enumerate(own)}
        for name in names:
            i = place.get(name, len(own))
            for column, values in columns.items():
                cell = number(values[i] if i < len(values) else None)
                rows[name].append(f'<td data-column="{escape(column)}">{cell}</td>')
    body = ''.join(
        f'<tr data-class="{escape(name)}"><td>{escape(name)}</td>{"".join(cells)}</tr>'
        for name, cells in rows.items()
    )
    note = {
        'mmdet': 'AP as COCO has it; precision, recall and F1 at IoU 0.5 and scores '
        'from 0.3.',
        'mmseg': 'IoU and accuracy as IoUMetric has them, in percent.',
        'mmpretrain': 'The class with the best score counts.',
    }[kept[0][1].evaluation['scope']]
    return (
        f'<p class="soft lead">{note}</p><div class="card wide"><table class="numbers">'
        f'<tr><th>class</th>{"".join(heads)}</tr>{body}</table></div>'
    )


def precision(runs: Sequence[Run]) -> str:
    """Precision over recall, the mean of the classes; of a single run by class too."""
    parts = []
    tables = (run.evaluation['coco'] for _, run in _kept(runs))
    for kind in dict.fromkeys(kind for table in tables for kind in table):
        scored = [
            (k, run.name, run.evaluation['coco'][kind])
            for k, run in _kept(runs)
            if kind in run.evaluation['coco']
        ]
        what = WHAT.get(kind, kind)
        if len(runs) == 1:
            one, names = scored[0][2], runs[0].evaluation['names']
            parts += _of_one(what, one, names)
            continue
        levels = dict.fromkeys(name for *_, one in scored for name in one['curves'])
        for level in levels:
            lines = [
                _over_recall(name, one['recall'], one['curves'][level], k)
                for k, name, one in scored
                if level in one['curves']
            ]
            title = f'Precision of {what}, {level},'
            parts.append(curves(title, lines, 'recall', False))
    return f'<div class="cards charts">{"".join(parts)}</div>' if any(parts) else ''


def _of_one(what: str, one: dict, names: Sequence[str]) -> list[str]:
    """Charts of a single run: by IoU, and by class."""
    by_iou = [
        _over_recall(name, one['recall'], row, i)
        for i, (name, row) in enumerate(one['curves'].items())
    ]
    charts = [curves(f'Precision of {what}', by_iou, 'recall', False)]
    rows = list(zip(names, one['class_curves'], strict=False))
    for i in range(0, len(rows), COLOURS):
        lines = [
            _over_recall(name, one['recall'], row, j)
            for j, (name, row) in enumerate(rows[i : i + COLOURS])
        ]
        title = f'{what} at IoU 0.50, classes {i + 1} to {i + len(lines)},'
        charts.append(curves(f'Precision of {title}', lines, 'recall', False))
    return charts


def _over_recall(name: str, recall: list, row: list, colour: int) -> Line:
    known = {r: p for r, p in zip(recall, row, strict=True) if p is not None}
    return Line(name, known, colour)


def sizes(runs: Sequence[Run]) -> str:
    """Average precision by the size of objects, as COCO divides them."""
    rows = []
    for k, run in _kept(runs):
        for kind, scored in run.evaluation['coco'].items():
            name = f'{run.name}: {WHAT.get(kind, kind)}'
            for size, value in scored['by_size'].items():
                look = f'class="bar s{k % COLOURS}{" nil" * (value is None)}"'
                wide = f'style="width:{100 * (value or 0):.1f}%"'
                rows.append(
                    f'<tr data-size="{size}"><td class="name">{escape(name)}</td><td>'
                    f'{size}</td><td class="count">{number(value)}</td>'
                    f'<td class="bars"><div {look} {wide}></div></td></tr>'
                )
    if not rows:
        return ''
    return (
        '<p class="soft lead">AP, the mean over IoU 0.50 to 0.95: small is below '
        '32 x 32 pixels, large from 96 x 96.</p>'
        '<div class="card wide"><table class="classes">'
        f'{"".join(rows)}</table></div>'
    )


def confusion(runs: Sequence[Run]) -> str:
    """Which class was taken for which, in percent of what is there."""
    parts = []
    for k, run in _kept(runs):
        names, counts = run.evaluation['names'], matrix(run)
        if len(names) <= FULL_MATRIX:
            body = _cells(names, counts)
        else:
            background = run.evaluation['scope'] == 'mmdet'
            body = _drawn(names, counts) + _most(names, counts, background)
        key = f'<span class="key s{k % COLOURS}"></span>'
        parts.append(f'<div class="card"><h3>{key}{escape(run.name)}</h3>{body}</div>')
    if not parts:
        return ''
    lead = 'Rows are what is there, columns what was found; percent of the row.'
    return f'<p class="soft lead">{lead}</p><div class="cards">{"".join(parts)}</div>'


def shares_of(counts: np.ndarray) -> np.ndarray:
    """Each count as a share of its row."""
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def most_confused(
    counts: np.ndarray, background: bool, many: int
) -> list[tuple[int, int, float]]:
    """True class, found class and share of the row, the most first.

    Args:
        counts: Rows are what is there.
        background: Whether the last row is of what is nothing, which has no count.
        many: At most so many.
    """
    shares = shares_of(counts)
    np.fill_diagonal(shares, 0)
    if background:
        shares[-1] = 0
    places = np.argsort(-shares, axis=None, kind='stable')[:many]
    pairs = (divmod(int(place), len(counts)) for place in places)
    return [(i, j, float(shares[i, j])) for i, j in pairs if shares[i, j]]


def _cells(names: Sequence[str], counts: np.ndarray) -> str:
    heads = ''.join(f'<th>{escape(name)}</th>' for name in names)
    rows = []
    for name, line, shares in zip(names, counts, shares_of(counts), strict=True):
        cells = ''.join(
            f'<td title="{escape(name)} found as {escape(other)}: {count:,}" '
            f'style="background:rgb(var(--heat) / {70 * share:.0f}%)">'
            + (f'<data value="{count}">{100 * share:.0f}</data>' if count else '')
            + '</td>'
            for other, count, share in zip(names, line.tolist(), shares, strict=True)
        )
        rows.append(f'<tr><th>{escape(name)}</th>{cells}</tr>')
    return (
        f'<div class="wide"><table class="matrix"><tr><th></th>{heads}</tr>'
        f'{"".join(rows)}</table></div>'
    )


def _drawn(names: Sequence[str], counts: np.ndarray) -> str:
    if len(names) > DRAWN_MATRIX:
        return ''
    side = 420 / len(names)
    cells = ''.join(
        f'<rect class="cell" x="{j * side:.1f}" y="{i * side:.1f}" width="{side:.1f}" '
        f'height="{side:.1f}" opacity="{share:.2f}"><title>{escape(names[i])} found as '
        f'{escape(names[j])}: {counts[i, j]:,}</title></rect>'
        for (i, j), share in np.ndenumerate(shares_of(counts))
        if share >= 0.005
    )
    svg = chart('', [cells])
    return svg.replace('viewBox="0 0 420 170"', 'viewBox="0 0 420 420"')


def _most(names: Sequence[str], counts: np.ndarray, background: bool) -> str:
    rows = ''.join(
        f'<tr><td>{escape(names[i])}</td><td>{escape(names[j])}</td>'
        f'<td>{number(int(counts[i, j]))}</td><td>{100 * share:.0f} %</td></tr>'
        for i, j, share in most_confused(counts, background, PAIRS)
    )
    return (
        '<div class="wide"><table class="numbers"><tr><th>there</th><th>found</th>'
        f'<th>times</th><th>share</th></tr>{rows}</table></div>'
    )


def images(runs: Sequence[Run]) -> str:
    """The worst and the best images, truth beside what was found."""
    parts = []
    for k, run in _kept(runs):
        parts.append(_colours(run))
        for which in ('worst', 'best'):
            shots = ''.join(_pair(run, one) for one in run.evaluation[which])
            if shots:
                key = f'<span class="key s{k % COLOURS}"></span>'
                told = f'the {which}, by {run.evaluation["quality"]}'
                parts.append(
                    f'<h3>{key}{escape(run.name)} <span class="soft">{escape(told)}'
                    f'</span></h3><div class="shots">{shots}</div>'
                )
    return ''.join(parts)


def _colours(run: Run) -> str:
    """Which colour stands for which class; of many, it would fill the page."""
    names = _classes(run)
    if run.evaluation['scope'] == 'mmpretrain' or len(names) > FULL_MATRIX:
        return ''
    keys = (
        f'<span class="key" style="background:{colour_of(i)}"></span>{escape(name)}'
        for i, name in enumerate(names)
    )
    return f'<p class="soft lead">{"&ensp; ".join(keys)}</p>'


def _pair(run: Run, one: dict) -> str:
    """One image twice: with the truth, and with what was found."""
    file = one['file']
    shown = ''.join(
        thumb(_shot(run, file, word, one[key]), near=False)
        for key, word in (('truth', 'there'), ('found', 'found'))
    )
    return (
        f'<div class="card"><div class="file">{number(one["quality"], 3)} '
        f'<span class="soft">{escape(os.path.basename(file))}</span></div>'
        f'<div class="grid">{shown}</div></div>'
    )


def _shot(run: Run, file: str, word: str, what: list | str) -> Shot:
    names, scope = run.evaluation['names'], run.evaluation['scope']
    if isinstance(what, str):
        return Shot(file, word, map=BytesIO(base64.b64decode(what)))
    if scope == 'mmpretrain':
        label, *score = what
        return Shot(file, ' '.join([f'{word}: {names[label]}', *map(str, score)]))
    marks = [
        Mark(label, box, words=' '.join([names[label], *map(str, score)]))
        for label, *box, score in ([*row[:5], row[5:]] for row in what)
    ]
    counts = Counter(names[mark.label] for mark in marks)
    told = ', '.join(f'{count} {name}' for name, count in counts.most_common(6))
    return Shot(file, f'{word}: {told or "nothing"}', marks)
