"""Curves in plain SVG, with their numbers below."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, isfinite, log10

import numpy as np

from ..kit.charts import BASE, HIGH, LEFT, WIDE, chart

POINTS = 300  # of a line; of more, each stands for several
DOTTED = 20  # up to which every point has a dot
COLOURS = 8
TOP, RIGHT = 8, 10  # pixels


@dataclass(frozen=True)
class Line:
    """One curve: values by step; what is no number interrupts it."""

    label: str
    values: Mapping[float, float]
    colour: int = 0


def number(value: object, digits: int = 4) -> str:
    """A number as it is read, with the whole of it in ``value``, HTML."""
    if value is None or (isinstance(value, float) and not isfinite(value)):
        return '<span class="soft">-</span>'
    if not isinstance(value, (int, float)):
        return escape(str(value))
    text = f'{value:,}' if isinstance(value, int) else f'{value:.{digits}g}'
    return f'<data value="{value!r}">{text}</data>'


def curves(title: str, lines: Sequence[Line], unit: str, table: bool = True) -> str:
    """A chart of some curves over one axis, HTML; nothing where nothing is known."""
    known = [
        (line, {x: y for x, y in line.values.items() if isfinite(y)}) for line in lines
    ]
    known = [(line, values) for line, values in known if values]
    if not known:
        return ''
    xs = [x for _, values in known for x in values]
    ys = [y for _, values in known for y in values.values()]
    whole = all(float(x).is_integer() for x in xs)
    across = _scale(min(xs), max(xs), whole)
    up = _scale(min(ys), max(ys))
    body = [_grid(across, up)]
    for line, _ in known:
        body.append(_drawn(line, across, up))
    below = _table(known, unit) if table else _legend(known)
    many = max(len(values) for _, values in known)
    mean = f', means of {-(-many // POINTS)}' if many > POINTS else ''
    return chart(f'{title} by {unit}{mean}', body, below)


@dataclass(frozen=True)
class Scale:
    """An axis: the numbers at its ends, and where it has marks."""

    low: float
    high: float
    marks: Sequence[float]

    def share(self, value: np.ndarray | float) -> np.ndarray | float:
        """Where on the axis a value is, 0 to 1."""
        return (value - self.low) / (self.high - self.low)


def _scale(low: float, high: float, whole: bool = False) -> Scale:
    """An axis with round marks, or ``whole`` ones; one value has room on both sides.

    Nothing is below 0 where 0 is the one value, as of a precision.
    """
    if high <= low:
        room = abs(low) / 2 or 1.0
        low, high = low - room if low else 0.0, high + room
    rough = (high - low) / 4
    power = 10.0 ** floor(log10(rough))
    steps = [power * k for k in (1, 2, 2.5, 5, 10) if not whole or k != 2.5]
    step = next(step for step in steps if step >= rough * 0.999)
    step = max(step, 1) if whole else step
    first = floor(low / step) + (0 if low / step % 1 < 1e-9 else 1)
    count = floor((high - first * step) / step + 1e-9) + 1
    marks = [float(f'{(first + i) * step:.12g}') for i in range(count)]
    return Scale(low, high, marks)


def _place(
    x: np.ndarray | float, y: np.ndarray | float, across: Scale, up: Scale
) -> tuple:
    wide, tall = WIDE - LEFT - RIGHT, HIGH - BASE - TOP
    return LEFT + wide * across.share(x), TOP + tall * (1 - up.share(y))


def _grid(across: Scale, up: Scale) -> str:
    parts = []
    for mark in up.marks:
        _, y = _place(across.low, mark, across, up)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDE - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="end">{_short(mark)}</text>'
        )
    for mark in across.marks:
        x, _ = _place(mark, up.low, across, up)
        parts.append(
            f'<text x="{x:.1f}" y="{HIGH - 7}" class="mid">{_short(mark)}</text>'
        )
    return ''.join(parts)


def _short(mark: float) -> str:
    """A mark in the room that there is: 7.5e-4 rather than 0.00075."""
    if mark and not 0.01 <= abs(mark) < 1e5:
        digits, _, power = f'{mark:.1e}'.partition('e')
        return f'{digits.removesuffix(".0")}e{int(power)}'
    return f'{mark:g}'


def _drawn(line: Line, across: Scale, up: Scale) -> str:
    """A path; dots where there are few points, a band where one stands for many."""
    steps = sorted(line.values)
    values = np.array([line.values[step] for step in steps], float)
    size = -(-len(steps) // POINTS)
    groups = [slice(i, i + size) for i in range(0, len(steps), size)]
    x = np.array([np.mean(steps[group]) for group in groups])
    low, mean, high = np.array([_of_known(values[group]) for group in groups]).T
    kind, name = f's{line.colour % COLOURS}', escape(line.label)
    spots = [*zip(*_place(x, mean, across, up), strict=True)]
    path, pen = '', 'M'
    for px, py in spots:
        path += '' if np.isnan(py) else f'{pen}{px:.1f} {py:.1f}'
        pen = 'M' if np.isnan(py) else 'L'
    drawn = f'<path class="{kind}" d="{path}"><title>{name}</title></path>'
    if size > 1:
        known = ~np.isnan(mean)
        edges = (_place(x[known], y[known], across, up) for y in (high, low))
        upper, lower = (
            [f'{px:.1f},{py:.1f}' for px, py in zip(*edge, strict=True)]
            for edge in edges
        )
        corners = ' '.join(upper + lower[::-1])
        return f'<polygon class="band {kind}" points="{corners}"/>{drawn}'
    for (px, py), step, value in zip(spots, steps, values, strict=True):
        if len(steps) <= DOTTED and isfinite(value):
            words = f'{name}: {value:.4g} at {step:g}'
            drawn += (
                f'<circle class="{kind}" cx="{px:.1f}" cy="{py:.1f}" r="2.6">'
                f'<title>{words}</title></circle>'
            )
    return drawn


def _of_known(values: np.ndarray) -> tuple[float, float, float]:
    """The lowest, the mean and the highest of what is finite."""
    known = values[np.isfinite(values)]
    if not len(known):
        return np.nan, np.nan, np.nan
    return known.min(), known.mean(), known.max()


def _key(line: Line) -> str:
    return f'<span class="key s{line.colour % COLOURS}"></span>{escape(line.label)}'


def _legend(known: Sequence[tuple[Line, dict]]) -> str:
    keys = '&ensp; '.join(_key(line) for line, _ in known)
    return f'<div class="soft">{keys}</div>'


def _table(known: Sequence[tuple[Line, dict]], unit: str) -> str:
    """The last, the lowest and the highest value of each curve, and where it is."""
    rows = []
    for line, values in known:
        by_value = sorted(values, key=lambda x: values[x])
        places = max(values), by_value[0], by_value[-1]
        cells = ''.join(
            f'<td>{number(values[x])}</td><td class="soft">{x:g}</td>' for x in places
        )
        rows.append(
            f'<tr data-curve="{escape(line.label)}"><td>{_key(line)}</td>{cells}</tr>'
        )
    words = 'last', 'lowest', 'highest'
    heads = ''.join(f'<th>{word}</th><th>at</th>' for word in words)
    return (
        f'<div class="wide"><table class="numbers"><tr><th></th>{heads}</tr>'
        f'{"".join(rows)}</table></div>'
    )
