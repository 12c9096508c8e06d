"""The chart that compares the models, drawn from a result of the benchmark."""

from collections.abc import Sequence

TITLES = {
    'inference': 'Inference',
    'training': 'Training step',
    'memory': 'Peak training memory',
}
OWN, OTHER = '#c4452d', '#9aa5b1'


def draw_chart(result: dict, path: str) -> None:
    """Draw bars for every measured backbone section and shape; the suffix picks PNG
    or SVG.

    Throughput is in images per second (longer is better), memory in MB (shorter is
    better). MS-MLP and its hybrids are coloured.

    Raises:
        ValueError: The result holds no backbone section.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    panels = {}
    for row in result['results']:
        if row['section'] in TITLES:
            place = row['section'], row['size'], row['shape']
            panels.setdefault(place, []).append(row)
    if not panels:
        raise ValueError(
            'the result has no inference, training or memory section to draw; '
            'measure one of them'
        )
    tallest = max(map(len, panels.values()))
    shapes = list(dict.fromkeys(place[1:] for place in panels))
    kinds = [kind for kind in TITLES if any(kind == place[0] for place in panels)]
    figure, axes = pyplot.subplots(
        len(shapes),
        len(kinds),
        figsize=(4.6 * len(kinds) + 1, (0.3 * tallest + 1.2) * len(shapes) + 0.4),
        squeeze=False,
    )
    for i, shape in enumerate(shapes):
        for j, kind in enumerate(kinds):
            rows = panels.get((kind, *shape))
            axes[i][j].set_visible(bool(rows))
            if rows:
                _draw_bars(axes[i][j], kind, shape, rows)
    machine = result['machine']
    place = machine.get('gpu', machine['cpu'])
    figure.suptitle(
        f'{place}, {machine["threads"]} thread(s), {result["dtype"]}, '
        f'allocator {machine["allocator"]}',
        fontsize=9,
    )
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _draw_bars(axis, kind: str, shape: Sequence[str], rows: Sequence[dict]) -> None:
    unit = 'mb' if kind == 'memory' else 'images_per_s'
    rows = sorted(rows, key=lambda row: row[unit], reverse=kind != 'memory')
    values = [row[unit] for row in rows]
    colors = [OWN if row['key'].startswith('msmlp') else OTHER for row in rows]
    bars = axis.barh([row['label'] for row in rows], values, color=colors)
    axis.bar_label(bars, fmt='%.0f' if max(values) >= 20 else '%.2f', fontsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.tick_params(labelsize=8)
    axis.spines[['top', 'right']].set_visible(False)
    axis.set_title(f'{TITLES[kind]}, {shape[1]}', fontsize=9)
    axis.set_xlabel(
        'MB, less is better' if kind == 'memory' else 'images/s, more is better',
        fontsize=8,
    )
