"""The course of a whole benchmark: the gate, then section by section."""

import sys
from argparse import Namespace
from collections.abc import Sequence

import torch

from .backbones import time_backbones, weigh_backbones
from .gate import run_gate
from .limits import add_limits
from .machine import describe_machine
from .models import CORE, ZOO, Subject, build
from .operators import time_operator
from .settings import Settings

OPERATOR = ('operator forward', 'operator forward+backward')
SECTIONS = ['operator', 'inference', 'training', 'memory']
DEFAULT_SHAPES = {
    'cpu': [(8, 224, 224), (1, 800, 1280)],
    'cuda': [(128, 224, 224), (2, 800, 1280)],
}
DTYPES = ('float32', 'bfloat16', 'float16')
LARGE = 512 * 512  # pixels of an image above which three rounds must do


def measure(args: Namespace, device: str) -> dict:
    """Run the gate and then the sections.

    Args:
        args: Of ``tools/benchmark.py``; where one is None, its default depends on
            others, as ``--help`` says. CORE is without what cannot be imported.
        device: 'cpu' or 'cuda'.

    Returns:
        The machine, the gate's checks and a row per model and section, ready for JSON.

    Raises:
        GateRed: A path computes other numbers than its oracle; nothing was timed.
        ImportError: A model that was asked for cannot be imported.
    """
    name = args.dtype or ('bfloat16' if device == 'cuda' else 'float32')
    dtype = getattr(torch, name)
    shapes = args.shapes or ([(1, 64, 64)] if args.quick else DEFAULT_SHAPES[device])
    min_time = 0.0 if args.quick else 0.1
    checks = run_gate(args.sizes, device, dtype)
    progress(f'gate: all {len(checks)} checks are green')
    if device == 'cuda':
        torch.backends.cudnn.benchmark = True
    rows = []
    for size in args.sizes:
        subjects = []
        if set(args.sections) - {'operator'}:
            subjects = build_models(args.models, size, device)
        for shape in shapes:
            usual = 1 if args.quick else 3 if shape[1] * shape[2] > LARGE else 5
            rounds = args.rounds or usual
            settings = Settings(size, shape, device, dtype, rounds, min_time)
            for section in args.sections:
                progress(f'{section}, size {size.upper()}, {shape}')
                rows += run_section(section, subjects, settings)
    return dict(
        machine=describe_machine(device),
        device=device,
        dtype=name,
        gate=[vars(check) for check in checks],
        results=rows,
    )


def run_section(
    section: str, subjects: Sequence[Subject], settings: Settings
) -> list[dict]:
    """The rows of one of SECTIONS."""
    if section == 'operator':
        return [row for part in OPERATOR for row in time_operator(part, settings)]
    if section == 'memory':
        return list(weigh_backbones(subjects, settings))
    rows = list(time_backbones(section, subjects, settings))
    add_limits(rows, subjects, settings)
    return rows


def build_models(models: Sequence[str] | None, size: str, device: str) -> list[Subject]:
    """Build the models that exist in this size, in all of their layouts."""
    keys = CORE if models is None else list(ZOO) if 'all' in models else models
    subjects = []
    for key in dict.fromkeys(keys):
        if size not in ZOO[key].sizes:
            continue
        try:
            subjects += build(key, size, device)
        except ImportError as error:
            if models is not None:
                raise
            progress(f'{key} is left out: {error}')
    return subjects


def progress(line: str) -> None:
    """Say what happens now, apart from the results."""
    print(line, file=sys.stderr, flush=True)
