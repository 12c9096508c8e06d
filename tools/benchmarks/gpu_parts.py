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

NUMBERS = ('gate', 'backbone')  # which tell that the numbers are right
BARS = (  # what a row that is held to each of them says
    'auto takes',
    'of a copy',
    *(
        f'{section}, times as fast as {peer}'
        for section, peers in gpu_speed.BARS.items()
        for peer in peers
    ),
)
NO_TIME = 'no time was left'  # how the status of a part ends that had none


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
    status = {name: part['status'] for name, part in parts.items()}
    broken = [f'{name} {told}' for name, told in status.items() if told != 'ok']
    failed = [n for n, s in status.items() if s != 'ok' and not s.endswith(NO_TIME)]
    if wrong or any(PARTS[name].grave for name in failed):
        causes = wrong[:3] + broken
        return (
            f'red: this machine computes wrong numbers, or none ({"; ".join(causes)}). '
            'MMMSMLP_BACKEND=eager runs without the kernels; please report the file'
        )
    on_gpu = result['device'] != 'cpu'
    speeds = _speeds(parts) if on_gpu else 'it says nothing about a GPU'
    if broken:
        return f'amber: {_numbers(parts)}; did not end: {", ".join(broken)}; {speeds}'
    found = _numbers(parts) if on_gpu else 'the check works, in small'
    return f'green: {found}; {speeds}'


def _numbers(parts: dict[str, dict]) -> str:
    """What may be said of the numbers, where none was found wrong."""
    ended = [name for name, part in parts.items() if part['status'] == 'ok']
    proved = [n for n in ended if any(row['ok'] for row in parts[n]['rows'])]
    if set(NUMBERS) <= set(proved):
        return 'the numbers are right'
    sound = [n for n in ended if n in proved or n not in NUMBERS]
    others = [n for n in PARTS if n not in parts or (n in ended and n not in sound)]
    found = f'nothing wrong in {", ".join(sound)}' if sound else 'nothing was proved'
    return f'{found}; not run: {", ".join(others)}'


def _speeds(parts: dict[str, dict]) -> str:
    """Which bars of speed were missed, and which were not measured."""
    held = {
        f'{row["what"]}, {row["result"]}': row['ok']
        for part in parts.values()
        for row in part['rows']
        if row['bar'] is not None and row['ok'] is not None
    }
    slow = [told for told, ok in held.items() if not ok]
    open_ = [bar for bar in BARS if not any(bar in told for told in held)]
    if not slow and not open_:
        return 'every bar of speed is reached'
    said = [f'below its bar: {"; ".join(slow)}'] if slow else []
    said += [f'not measured: {"; ".join(open_)}'] if open_ else []
    return '; '.join(said)


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
