"""The report's page: what ran, its curves, what it found, its time, its config."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from html import escape
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import Any

from ..kit.style import document
from .curves import COLOURS, Line, curves, number
from .read import Run, differences
from .results import classes, confusion, images, precision, sizes

TRAINING = {
    'lr': 'Learning rate',
    'base_lr': 'Learning rate',
    'grad_norm': 'Norm of the gradient',
    'time': 'Seconds a step',
    'data_time': 'Seconds a step',
    'memory': 'Memory, MB',
}
VALIDATION = {
    'time': 'Seconds a batch of validation',
    'data_time': 'Seconds a batch of validation',
}
FAMILIES = {'coco/bbox_': 'AP of boxes', 'coco/segm_': 'AP of masks'}
TOLD = ('command', 'folder', 'config', 'started', 'commit', 'images', 'processes',
        'joint_batch_size', 'seed', 'resumed_from', 'machine', 'versions')  # fmt: skip


def write_report(target: Path, runs: Sequence[Run]) -> Path:
    """Write one HTML file, all that it shows within it.

    Args:
        target: The file; its folder is made if need be.
        runs: One, or several to be seen side by side.

    Returns:
        The file.
    """
    names = ', '.join(run.name for run in runs)
    parts = {
        'Run': _overview(runs),
        'Curves': _curves(runs),
        'Classes': classes(runs),
        'Precision': precision(runs),
        'Sizes': sizes(runs),
        'Confusion': confusion(runs),
        'Images': images(runs),
        'Time': _time(runs),
        'Config': _config(runs),
    }
    kind = 'Runs side by side' if len(runs) > 1 else 'Training run'
    text = document(f'{names}: report', kind, names, _verdict(runs), parts, 'report.py')
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(text.encode('utf-8', 'backslashreplace'))
    return target


def _measured(run: Run) -> dict[str, float]:
    """The metrics of the kept evaluation, or else of the last validation."""
    last = {name: curve[max(curve)] for name, curve in run.validation.items()}
    found = run.metrics or last
    whole_first = sorted(found.items(), key=lambda item: item[0].endswith('_precision'))
    return {
        name: value
        for name, value in whole_first
        if name not in VALIDATION and isinstance(value, (int, float))
    }


def _verdict(runs: Sequence[Run]) -> str:
    if len(runs) > 1:
        return '<p></p>'
    items = [
        f'<li><b>{number(value)}</b> <span class="soft">{escape(_short(name))}</span>'
        '</li>'
        for name, value in list(_measured(runs[0]).items())[:6]
    ]
    return f'<ul class="verdict">{"".join(items)}</ul>' if items else '<p></p>'


def _short(name: str) -> str:
    return name.removeprefix('coco/')


def _overview(runs: Sequence[Run]) -> str:
    return f'<div class="cards">{"".join(map(_card, range(len(runs)), runs))}</div>'


def _card(k: int, run: Run) -> str:
    start = run.starts[-1] if run.starts else {}
    facts = [(key, _told(start[key])) for key in TOLD if start.get(key) is not None]
    if len(run.starts) > 1:
        facts.insert(0, ('starts', number(len(run.starts))))
    facts += [(_short(name), number(value)) for name, value in _measured(run).items()]
    kept = run.evaluation
    if kept:
        of = kept['checkpoint'] or f'{run.unit} {_when(run)}'
        what = f'{kept["loop"]} of {of}, {kept["written"]}'
        facts.append(('evaluation', f'{escape(what)}, {number(kept["images"])} images'))
    else:
        cure = f'tools/test.py CONFIG CHECKPOINT --work-dir {escape(str(run.folder))}'
        facts.append(('evaluation', f'none is kept here: {cure} keeps one'))
    rows = ''.join(
        f'<dt>{escape(name.replace("_", " ") if name in TOLD else name)}</dt>'
        f'<dd>{value}</dd>'
        for name, value in facts
    )
    key = f'<span class="key s{k % COLOURS}"></span>'
    return f'<div class="card"><h3>{key}{escape(run.name)}</h3><dl>{rows}</dl></div>'


def _when(run: Run) -> int:
    return run.evaluation['epoch' if run.by_epoch else 'iter']


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ', '.join(f'{escape(k)} {_told(v)}' for k, v in value.items())
    return number(value) if isinstance(value, int) else escape(str(value))


def _curves(runs: Sequence[Run]) -> str:
    units = (('training', 'iteration'), ('validation', _unit(runs)))
    parts = []
    for what, unit in units:
        tables = [getattr(run, what) for run in runs]
        known = dict.fromkeys(name for table in tables for name in table)
        names = sorted(known, key=_rank)
        if all(t.get('base_lr') == t.get('lr') for t in tables):
            names = [name for name in names if name != 'base_lr']
        if len(runs) > 1:
            for name in names:
                lines = [
                    Line(run.name, table.get(name, {}), k)
                    for k, (run, table) in enumerate(zip(runs, tables, strict=True))
                ]
                prefix = 'validation: ' * (name in VALIDATION and what == 'validation')
                parts.append(curves(prefix + _short(name), lines, unit))
            continue
        groups: defaultdict[str, list[str]] = defaultdict(list)
        for name in names:
            groups[_group(name, what)].append(name)
        for title, members in groups.items():
            for i in range(0, len(members), COLOURS):
                lines = [
                    Line(_short(name), tables[0][name], k)
                    for k, name in enumerate(members[i : i + COLOURS])
                ]
                part = f' ({i // COLOURS + 1})' * (len(members) > COLOURS)
                parts.append(curves(title + part, lines, unit))
    return f'<div class="cards charts">{"".join(parts)}</div>' if any(parts) else ''


def _unit(runs: Sequence[Run]) -> str:
    units = {run.unit for run in runs}
    return units.pop() if len(units) == 1 else 'epoch, or iteration'


def _rank(name: str) -> int:
    """Losses first, the whole one ahead of its terms."""
    return 0 if name == 'loss' else 1 if 'loss' in name else 2


def _group(name: str, what: str) -> str:
    if what == 'training':
        return 'Loss' if 'loss' in name else TRAINING.get(name, name)
    if name in VALIDATION:
        return VALIDATION[name]
    for start, title in FAMILIES.items():
        if name.startswith(start):
            return title
    if name.endswith('_precision'):
        return 'AP of classes'
    prefix, slash, _ = name.rpartition('/')
    return prefix if slash else 'Metrics'


def _time(runs: Sequence[Run]) -> str:
    rows: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        step, data = (_mean(run.training.get(name)) for name in ('time', 'data_time'))
        left = max(0, (run.planned or 0) - run.done)
        span = None if step is None else left * step
        peak = max(run.training.get('memory', {}).values(), default=None)
        rows['iterations in the log'].append(number(run.done))
        rows['iterations planned'].append(number(run.planned))
        rows['seconds a step, mean'].append(number(step))
        rows['of it waiting for data'].append(number(data))
        rows['seconds a batch of validation'].append(
            number(_mean(run.validation.get('time')))
        )
        rows['all starts, by their logs'].append(_span(run.seconds))
        rows['left, at this rate'].append(_span(span if run.planned else None))
        rows['peak memory, MB'].append(number(peak))
    heads = ''.join(f'<th>{escape(run.name)}</th>' for run in runs)
    body = ''.join(
        f'<tr><td>{name}</td>{"".join(f"<td>{v}</td>" for v in values)}</tr>'
        for name, values in rows.items()
    )
    return (
        '<div class="card wide"><table class="numbers">'
        f'<tr><th></th>{heads}</tr>{body}</table></div>'
    )


def _mean(curve: Mapping[int, float] | None) -> float | None:
    known = [value for value in (curve or {}).values() if isfinite(value)]
    return fmean(known) if known else None


def _span(seconds: float | None) -> str:
    if seconds is None:
        return number(None)
    text = timedelta(seconds=round(seconds))
    return f'<data value="{seconds!r}">{text}</data>'


def _config(runs: Sequence[Run]) -> str:
    if len(runs) == 1:
        return (
            '<details><summary>The config as it ran</summary>'
            f'<pre>{escape(runs[0].config_text)}</pre></details>'
        ) * bool(runs[0].config_text)
    rows = differences([run.config for run in runs])
    if not rows:
        return '<p class="soft">The configs are the same.</p>'
    heads = ''.join(f'<th>{escape(run.name)}</th>' for run in runs)
    body = ''.join(
        f'<tr><td>{escape(name)}</td>'
        + ''.join(f'<td>{escape(str(value))}</td>' for value in values)
        + '</tr>'
        for name, values in rows.items()
    )
    return (
        '<p class="soft lead">What differs; the rest is the same.</p><div class="card '
        f'wide"><table class="numbers changed"><tr><th></th>{heads}</tr>{body}</table>'
        '</div>'
    )
