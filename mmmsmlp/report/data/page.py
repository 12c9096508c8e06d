"""The page itself: what a set is, its problems, its numbers and samples of it."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from ...data.findings import Findings, Group
from ...data.kinds import KINDS
from ..kit.charts import histogram, powers, size_chart
from ..kit.style import document
from ..kit.thumbs import Shot, colour_of, thumb
from .views import View

OUTCOMES = ('error', 'repair', 'warning')
SAMPLES = 400  # pictures in a page
EXPLAINED = {
    'error': 'to mend before a run',
    'repair': 'done in a copy that the run reads',
    'warning': 'worth a look',
}


def write_report(
    target: Path, title: str, views: Sequence[View], found: Findings
) -> Path:
    """Write ``index.html``, all that it shows within it.

    Args:
        target: Folder; made if need be.
        title: What was checked.
        views: The splits, the training data first.
        found: What is wrong with them.

    Returns:
        The file.
    """
    parts = {
        'Overview': _overview(views),
        'Problems': _problems(views, found),
        'Classes': _classes(views),
        'Sizes': _sizes(views),
        'Samples': _samples(views),
    }
    text = document(
        f'{title}: data', 'Data check', title, _verdict(found), parts, 'check_data.py'
    )
    target.mkdir(parents=True, exist_ok=True)
    file = target / 'index.html'
    file.write_bytes(text.encode('utf-8', 'backslashreplace'))
    return file


def _verdict(found: Findings) -> str:
    items = []
    for outcome in OUTCOMES:
        count = len(found.of(outcome))
        if count:
            word = outcome + ('s' if count > 1 else '')
            items.append(
                f'<li class="{outcome}"><b>{count} {word}</b> '
                f'<span class="soft">{EXPLAINED[outcome]}</span></li>'
            )
    items = items or ['<li class="repair"><b>Nothing is wrong</b></li>']
    return f'<ul class="verdict">{"".join(items)}</ul>'


def _overview(views: Sequence[View]) -> str:
    cards = []
    for k, view in enumerate(views):
        rows = ''.join(
            f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>'
            for name, value in view.facts
        )
        cards.append(
            f'<div class="card"><h3><span class="key s{k}"></span>{escape(view.split)}'
            f'</h3><dl>{rows}</dl></div>'
        )
    return f'<div class="cards">{"".join(cards)}</div>' if cards else ''


def _problems(views: Sequence[View], found: Findings) -> str:
    parts = [_problem(g, views) for outcome in OUTCOMES for g in found.of(outcome)]
    return ''.join(parts) or '<p class="soft">None was found.</p>'


def _problem(group: Group, views: Sequence[View]) -> str:
    count = f' <span class="soft">&times; {group.count:,}</span>' * (group.count > 1)
    shots, told = [], []
    for entry, value in group.examples:
        words = ': '.join(part for part in (entry, value) if part)
        if shot := _shot(entry, group, views):
            shots.append(thumb(shot, words))
        elif words:
            told.append(f'<li>{escape(words)}</li>')
    grid = f'<div class="grid">{"".join(shots)}</div>' if shots else ''
    listed = f'<ul>{"".join(told)}</ul>' if told else ''
    what = KINDS[group.kind].what
    return (
        f'<article class="problem {group.outcome}"><h3><span class="tag '
        f'{group.outcome}">{group.outcome}</span>{escape(what[0].upper() + what[1:])}'
        f'{count}</h3><div class="where soft">{escape(group.file)}</div>'
        f'<p>{escape(group.consequence)}. <strong>{escape(group.cure)}.</strong></p>'
        f'{grid}{listed}</article>'
    )


def _shot(entry: str, group: Group, views: Sequence[View]) -> Shot | None:
    for view in views:
        if group.file in view.places and (shot := view.shot(entry)):
            return shot
    return None


def _names(views: Sequence[View]) -> list[str]:
    return list(dict.fromkeys(name for view in views for name in view.classes))


def _classes(views: Sequence[View]) -> str:
    names = _names(views)
    if not names:
        return ''
    heads = ''.join(
        f'<th colspan="2"><span class="key s{k}"></span>{escape(view.split)}, '
        f'{view.unit}</th>'
        for k, view in enumerate(views)
    )
    tops = [max(view.classes.values(), default=0) or 1 for view in views]
    rows = []
    for name in names:
        cells = ''
        for k, (view, top) in enumerate(zip(views, tops, strict=True)):
            count = view.classes.get(name, 0)
            kind = 'count' if count else 'count none'
            nil = '' if count else ' nil'
            wide = f'style="width:{100 * count / top:.1f}%"'
            cells += (
                f'<td class="{kind}">{count:,}</td><td class="bars">'
                f'<div class="bar s{k}{nil}" {wide}></div></td>'
            )
        rows.append(f'<tr><td class="name">{escape(name)}</td>{cells}</tr>')
    return (
        '<div class="card"><table class="classes"><thead><tr><th>class</th>'
        f'{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _sizes(views: Sequence[View]) -> str:
    charts = [
        size_chart('Images: width and height', [(v.split, v.sizes) for v in views])
    ]
    boxes = [(v.split, np.sqrt(np.clip(v.boxes, 0, None).prod(1))) for v in views]
    boxes = [(split, values[values > 0]) for split, values in boxes]
    if any(len(values) for _, values in boxes):
        most = max(float(values.max()) for _, values in boxes if len(values))
        edges = powers(4, max(128, most))
        charts.append(histogram(
            'Boxes: side of a square of the same area, pixels',
            boxes,
            edges,
            edges[::2],
        ))  # fmt: skip
        shapes = [
            (v.split, np.log2(v.boxes[:, 0] / v.boxes[:, 1]))
            for v in _with_real_boxes(views)
        ]
        charts.append(histogram(
            'Boxes: width by height', shapes, np.arange(-4, 4.01, 0.5).tolist(),
            range(-4, 5, 1), _ratio,
        ))  # fmt: skip
    counts = [(v.split, v.per_image) for v in views]
    if any(values for _, values in counts):
        most = max(max(values, default=0) for _, values in counts)
        step = max(1, int(np.ceil((most + 1) / 24)))
        whole = list(range(0, most + step + 1, step))
        what = 'Boxes' if any(len(v.boxes) for v in views) else 'Classes'
        charts.append(histogram(
            f'{what} an image', counts, whole, whole[:: max(1, len(whole) // 8)]
        ))  # fmt: skip
    return f'<div class="cards charts">{"".join(charts)}</div>' if any(charts) else ''


def _with_real_boxes(views: Sequence[View]) -> list[View]:
    from dataclasses import replace

    return [replace(v, boxes=v.boxes[(v.boxes > 0).all(1)]) for v in views]


def _ratio(value: float) -> str:
    text = f'{2 ** abs(value):.3g}'
    return text if value >= 0 else f'1/{text}'


def _samples(views: Sequence[View]) -> str:
    names = _names(views[:1])
    if not names:
        return ''
    many = max(1, min(5, SAMPLES // len(names)))
    parts = []
    for k, name in enumerate(names[:SAMPLES]):
        shots = views[0].samples(name, many)
        grid = ''.join(map(thumb, shots)) or '<p class="soft">No example.</p>'
        key = f'style="background:{colour_of(k + views[0].first)}"'
        parts.append(
            f'<div class="sample"><h3><span class="key" {key}></span>{escape(name)}'
            f'</h3><div class="grid">{grid}</div></div>'
        )
    lead = f'<p class="soft lead">Of {escape(views[0].split)}, spread evenly.</p>'
    return lead + ''.join(parts)
