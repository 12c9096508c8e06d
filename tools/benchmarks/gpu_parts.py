"""The parts of ``gpu_check``, their limits, and the verdict on what they found."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from . import gpu_correct, gpu_processes, gpu_speed, report
from .gpu_scale import Scale


class Part(NamedTuple):
    """What runs in one process; ``grave`` where a failure means wrong numbers."""

    run: Callable[[Scale], Iterator[dict]]
    seconds: int
    grave: bool = False


# By worth, for the time may run out.
PARTS = {
    'path': Part(gpu_correct.path, 90, grave=True),
    'gate': Part(gpu_correct.gate, 150, grave=True),
    'backbone': Part(gpu_correct.backbone, 90, grave=True),
    'speed': Part(gpu_speed.inference, 120),
    'training': Part(gpu_speed.training, 120),
    'graphs': Part(gpu_speed.graphs, 60),
    'compile': Part(gpu_speed.compiled, 180),
    'processes': Part(gpu_processes.processes, 120),
}


def environment(name: str, device: str) -> dict[str, str]:
    """Variables of a part: on a CPU the kernels run in Triton's interpreter."""
    interpreted = device == 'cpu' and name in ('path', 'gate')
    return {'TRITON_INTERPRET': '1'} if interpreted else {}


def verdict(result: dict) -> str:
    """One sentence on what was found, which starts with its colour."""
    parts = result['parts']
    wrong = [
        f'{name}: {row["what"]}, {row["result"]}'
        for name, part in parts.items()
        for row in part['rows']
        if row['ok'] is False and not row['bar']
    ]
    broken = [name for name, part in parts.items() if part['status'] != 'ok']
    if wrong or any(PARTS[name].grave for name in broken):
        causes = wrong[:3] + [f'{name} {parts[name]["status"]}' for name in broken]
        return (
            f'red: this machine computes wrong numbers, or none ({"; ".join(causes)}). '
            'MMMSMLP_BACKEND=eager runs without the kernels; please report the file'
        )
    if broken:
        return f'amber: the numbers are right, but did not end: {", ".join(broken)}'
    if result['device'] == 'cpu':
        return 'green: the check works, in small; it says nothing about a GPU'
    slow = [
        f'{row["what"]}, {row["result"]}'
        for part in parts.values()
        for row in part['rows']
        if row['ok'] is False
    ]
    if slow:
        return f'green: the numbers are right; below its bar: {"; ".join(slow)}'
    return 'green: the numbers are right, and every bar of speed is reached'


def table(result: dict) -> str:
    """Every row of every part, in Markdown."""
    rows = [('part', 'what', 'result', 'ok')]
    for name, part in result['parts'].items():
        for row in part['rows']:
            sign = {None: '', True: 'yes', False: 'below' if row['bar'] else 'NO'}
            rows.append((name, row['what'], row['result'], sign[row['ok']]))
        if part['status'] != 'ok':
            rows.append((name, 'the whole part', part['status'], 'NO'))
    return '\n'.join(report.align(rows))
