"""Charts in plain SVG: how a set's numbers are spread, train beside the others."""

from collections import Counter
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

WIDE, HIGH, LEFT, BASE = 420, 170, 46, 24  # pixels; margins for words
Series = Sequence[tuple[str, Sequence[float] | np.ndarray]]  # split and its values


def histogram(
    title: str,
    series: Series,
    edges: Sequence[float],
    ticks: Sequence[float],
    label: Callable[[float], str] = '{:g}'.format,
) -> str:
    """Shares by bin, one colour a split; bins are as wide as each other.

    Args:
        title: What is counted.
        series: Values of each split.
        edges: Of the bins; what is beyond counts to the first or the last.
        ticks: Where to write a number, out of the edges.
        label: Writes it.
    """
    bins = len(edges) - 1
    shares = []
    for split, values in series:
        places = np.clip(np.searchsorted(edges, values, 'right') - 1, 0, bins - 1)
        counts = np.bincount(places, minlength=bins) if len(values) else np.zeros(bins)
        shares.append((split, counts, counts / max(1, counts.sum())))
    top = max((share.max() for *_, share in shares), default=0) or 1
    plot, step = HIGH - BASE - 8, (WIDE - LEFT - 6) / bins
    width = step / max(1, len(shares))
    body = [_grid(top, plot)]
    for k, (split, counts, share) in enumerate(shares):
        for i in range(bins):
            tall = plot * share[i] / top
            if not counts[i]:
                continue
            words = (
                f'{split}: {int(counts[i]):,} from {label(edges[i])} '
                f'to {label(edges[i + 1])}'
            )
            x = LEFT + i * step + k * width
            body.append(
                f'<rect class="s{k}" x="{x + 0.5:.1f}" y="{8 + plot - tall:.1f}" '
                f'width="{max(0.5, width - 1):.1f}" height="{tall:.1f}">'
                f'<title>{escape(words)}</title></rect>'
            )
    for tick in ticks:
        x = LEFT + step * np.interp(tick, edges, range(bins + 1))
        body.append(
            f'<text x="{x:.1f}" y="{HIGH - 7}" class="mid">{label(tick)}</text>'
        )
    return chart(title, body)


def _grid(top: float, plot: float) -> str:
    lines = []
    for part in (0, 0.5, 1):
        y = 8 + plot * (1 - part)
        lines.append(f'<line x1="{LEFT}" x2="{WIDE - 6}" y1="{y}" y2="{y}"/>')
        text = f'{100 * top * part:.{0 if top > 0.1 else 1}f} %'
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4}" class="end">{text}</text>')
    return ''.join(lines)


def size_chart(title: str, series: Sequence[tuple[str, list[tuple[int, int]]]]) -> str:
    """Widths against heights of pictures; a dot's area is how many there are."""
    sizes = [size for _, values in series for size in values]
    if not sizes:
        return ''
    high = max(max(size) for size in sizes)
    plot = HIGH - BASE - 8
    scale = plot / high
    body = []
    for part in (0, 0.5, 1):
        y, x = 8 + plot * (1 - part), LEFT + plot * part
        end = LEFT + plot
        body.append(f'<line x1="{LEFT}" x2="{end}" y1="{y}" y2="{y}"/>')
        body.append(f'<line x1="{x}" x2="{x}" y1="8" y2="{8 + plot}"/>')
        text = f'{high * part:.0f}'
        body.append(f'<text x="{LEFT - 6}" y="{y + 4}" class="end">{text}</text>')
        body.append(f'<text x="{x}" y="{HIGH - 7}" class="mid">{text}</text>')
    for k, (split, values) in enumerate(series):
        grid = max(1, high // 60)
        counts = Counter((w // grid * grid, h // grid * grid) for w, h in values)
        most = max(counts.values(), default=1)
        for (w, h), count in counts.most_common(400):
            words = f'{split}: {count:,} of about {w} x {h}'
            body.append(
                f'<circle class="s{k}" cx="{LEFT + w * scale:.1f}" '
                f'cy="{8 + plot - h * scale:.1f}" '
                f'r="{1.8 + 7 * (count / most) ** 0.5:.1f}">'
                f'<title>{escape(words)}</title></circle>'
            )
    x = LEFT + plot + 22
    for line, (split, values) in enumerate(series):
        if values:
            w, h = (np.median(side) for side in zip(*values, strict=True))
            many = len(set(values))
            sizes_ = f'{many:,} size{"s" if many > 1 else ""}'
            text = f'{split}: {sizes_}, median {w:.0f} x {h:.0f}'
            body.append(f'<text x="{x}" y="{24 + 18 * line}">{escape(text)}</text>')
    return chart(title, body)


def chart(title: str, body: list[str], below: str = '') -> str:
    """A figure of SVG elements, with HTML below it."""
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDE} {HIGH}" role="img" aria-label="{escape(title)}">'
        f'{"".join(body)}</svg>{below}</figure>'
    )


def powers(low: float, high: float, factor: float = 2**0.5) -> list[float]:
    """Edges that grow by a factor."""
    count = int(np.ceil(np.log(high / low) / np.log(factor) - 1e-9))
    return [low * factor**i for i in range(max(1, count) + 1)]
