"""What a run folder holds: its record, curves, config and last evaluation."""

import ast
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil, inf, nan
from pathlib import Path
from typing import Any

from ...errors import BadInput

Curves = dict[str, dict[int, float]]
NOT_CURVES = ('epoch', 'iter', 'step')
STAMP = re.compile(rb'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - ', re.M)
END_OF_LOG = 20_000  # bytes in which the last line with a time stands


@dataclass
class Run:
    """One run folder.

    Attributes:
        name: To tell it from others on the page.
        folder: Where it lies.
        starts: ``run.json`` of each start, the first one first.
        training: Of each scalar of the training, its values by iteration.
        validation: Of each metric, its values by epoch, or by iteration.
        config: As it ran, by name; nested as in the file.
        config_text: The file.
        evaluation: ``evaluation.json`` of the last one, or nothing.
        metrics: Of that evaluation.
        seconds: From the first to the last line of each start's log, added up.
    """

    name: str
    folder: Path
    starts: list[dict] = field(default_factory=list)
    training: Curves = field(default_factory=dict)
    validation: Curves = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ''
    evaluation: dict = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def by_epoch(self) -> bool:
        """Whether the validation is counted in epochs."""
        return 'max_epochs' in (self.config.get('train_cfg') or {})

    @property
    def unit(self) -> str:
        """What the validation is counted in."""
        return 'epoch' if self.by_epoch else 'iteration'

    @property
    def done(self) -> int:
        """The last iteration in the log."""
        return max((max(c) for c in self.training.values() if c), default=0)

    @property
    def planned(self) -> int | None:
        """Iterations of the whole run, where config and record tell."""
        plan = self.config.get('train_cfg') or {}
        if not self.by_epoch:
            return plan.get('max_iters')
        start = self.starts[-1] if self.starts else {}
        images = (start.get('images') or {}).get('train')
        batch = start.get('joint_batch_size')
        return plan['max_epochs'] * ceil(images / batch) if images and batch else None


def read_run(folder: Path, name: str = '') -> Run:
    """Read a run folder.

    Raises:
        BadInput: The folder holds no log.
    """
    training, validation = read_curves(folder)
    run = Run(name or folder.resolve().name, folder, [], training, validation)
    starts = _starts(folder)
    for start in starts:
        if record := _json(start / 'run.json'):
            run.starts.append(record)
        logs = [log for log in (start / f'{start.name}.log',) if log.is_file()]
        if _log(start).is_file():
            run.seconds += sum(map(_span, logs))
            run.config_text = _text(start / 'vis_data' / 'config.py') or run.config_text
    run.config = parse_config(run.config_text)
    for start in starts:
        if kept := _json(start / 'evaluation.json'):
            run.evaluation = kept
            run.metrics = _metrics(run, start)
    return run


def _metrics(run: Run, start: Path) -> dict[str, Any]:
    """The metrics of the evaluation at hand; of a test, its file has them."""
    if run.evaluation['loop'] == 'test':
        told = _json(start / f'{start.name}.json')
        return {name: _known(name, value) for name, value in told.items()}
    step = run.evaluation['epoch' if run.by_epoch else 'iter']
    return {name: c[step] for name, c in run.validation.items() if step in c}


def _starts(folder: Path) -> list[Path]:
    """The dated folders, the first one first.

    A start that does not resume begins a run of its own; what was before is not it. One
    that was killed before it logged anything has begun none.
    """
    found = sorted(path.parent for path in folder.glob('*/vis_data')) or [folder]
    kept: list[Path] = []
    for start in found:
        record = _json(start / 'run.json')
        fresh = record and not record.get('resumed_from')
        logged = _log(start).is_file()
        if fresh and logged:
            kept = []
        if logged or not fresh:
            kept.append(start)
    return kept or found


def _log(start: Path) -> Path:
    return start / 'vis_data' / 'scalars.json'


def read_curves(folder: Path) -> tuple[Curves, Curves]:
    """Scalars of the training and of the validation, ``{name: {step: value}}``.

    Every start of the run, resumed ones too, has its dated folder. Where a later one's
    log begins, what was logged from there on is of a branch that was given up.

    Raises:
        BadInput: The folder holds no log.
    """
    training: defaultdict[str, dict[int, float]] = defaultdict(dict)
    validation: defaultdict[str, dict[int, float]] = defaultdict(dict)
    logs = [log for log in map(_log, _starts(folder)) if log.is_file()]
    if not logs:
        raise BadInput(
            f'{folder} holds no vis_data/scalars.json; name a run folder, such as '
            'work_dirs/retinanet_msmlp_t_1x'
        )
    kept: list[tuple[int, dict]] = []
    for log in logs:
        own = list(_placed(log))
        begin = next((place for place, entry in own if 'iter' in entry), inf)
        kept = [pair for pair in kept if pair[0] < begin] + own
    for place, entry in kept:
        curves = training if 'iter' in entry else validation
        # A logger that counts the epochs of a run without any says 0.
        step = place if 'iter' in entry else entry['step'] or place
        for name, value in entry.items():
            number = isinstance(value, (int, float))
            if name not in NOT_CURVES and (number or value is None):
                curves[name][step] = _known(name, value)
    return dict(training), dict(validation)


def _placed(log: Path) -> Iterator[tuple[int, dict]]:
    """Each entry of a log behind the iteration of the training that it tells of."""
    place = 0
    for entry in _lines(log):
        place = entry.get('iter', place)
        yield place, entry


def _known(name: str, value: Any) -> Any:
    """A metric, NaN where it is undefined: COCO has -1 where there is no object."""
    return nan if value is None or (value == -1 and name.startswith('coco/')) else value


def _lines(log: Path) -> Iterator[dict]:
    with log.open(encoding='utf-8', errors='replace') as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # the process was killed while it wrote this line
            if isinstance(entry, dict) and entry.keys() & {'iter', 'step'}:
                yield entry


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''


def _json(path: Path) -> dict:
    """What a file holds; nothing where it is missing, or cut short."""
    try:
        found = json.loads(_text(path))
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _span(log: Path) -> float:
    """Seconds from the first to the last line of a log."""
    with log.open('rb') as file:
        head = file.read(END_OF_LOG)
        file.seek(max(0, log.stat().st_size - END_OF_LOG))
        stamps = STAMP.findall(head) + STAMP.findall(file.read())
    if not stamps:
        return 0.0
    first, last = (
        datetime.strptime(stamp.decode(), '%Y/%m/%d %H:%M:%S')
        for stamp in (stamps[0], stamps[-1])
    )
    return (last - first).total_seconds()


def parse_config(text: str) -> dict[str, Any]:
    """The entries of a config as it ran, without running it.

    What is neither a literal nor a dict stays as its source says.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return {}
    return {
        target.id: _value(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'dict':
        pairs = [(word.arg or '**', _value(word.value)) for word in node.keywords]
        return dict(pairs)
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        keys = [ast.unparse(key) if key else '**' for key in node.keys]
        return dict(zip(keys, map(_value, node.values), strict=True))
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def flat(value: Any, name: str = '') -> Iterator[tuple[str, Any]]:
    """The entries of a nested config by their dotted names."""
    if isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        value = {str(i): item for i, item in enumerate(value)}
    if not isinstance(value, dict) or not value:
        yield name, value
        return
    for key, item in value.items():
        yield from flat(item, f'{name}.{key}' if name else key)


def differences(configs: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Of each entry that is not the same in all configs, its values; '' for none."""
    tables = [dict(flat(config)) for config in configs]
    names = dict.fromkeys(name for table in tables for name in table)
    rows = {name: [table.get(name, '') for table in tables] for name in names}
    return {
        name: row
        for name, row in rows.items()
        if any(value != row[0] for value in row[1:])
    }
