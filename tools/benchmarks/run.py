"""The course of a whole benchmark: the gate, then section by section."""

import sys
from collections.abc import Sequence

import torch

from .backbones import time_backbones, weigh_backbones
from .gate import run_gate
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
DTYPES = {
    'float32': torch.float32,
    'bfloat16': torch.bfloat16,
    'float16': torch.float16,
}
LARGE = 512 * 512  # pixels of an image above which three rounds must do


def measure(
    sections: Sequence[str] = SECTIONS,
    sizes: Sequence[str] = ('t',),
    models: Sequence[str] | None = None,
    shapes: Sequence[tuple[int, int, int]] | None = None,
    device: str = 'cpu',
    dtype: str | None = None,
    rounds: int | None = None,
    quick: bool = False,
) -> dict:
    """Run the gate and then the sections.

    Args:
        sections: Some of SECTIONS.
        sizes: Some of 't', 's', 'b'.
        models: Keys of ZOO; 'all' for all of them. None is CORE, without what cannot
            be imported.
        shapes: Image batches (N, H, W); None is the device's DEFAULT_SHAPES.
        device: 'cpu' or 'cuda'.
        dtype: Key of DTYPES; None is float32, and bfloat16 on a GPU.
        rounds: Samples of each model; None is 5, and 3 for large images.
        quick: One round of small images, to see that everything works.

    Returns:
        The machine, the gate's checks and a row per model and section, ready for JSON.

    Raises:
        GateRed: A path computes other numbers than its oracle; nothing was timed.
        ImportError: A model that was asked for cannot be imported.
    """
    dtype = dtype or ('bfloat16' if device == 'cuda' else 'float32')
    if quick:
        shapes, rounds = shapes or [(1, 64, 64)], rounds or 1
    checks = run_gate(sizes, device, DTYPES[dtype])
    progress(f'gate: all {len(checks)} checks are green')
    if device == 'cuda':
        torch.backends.cudnn.benchmark = True
    rows = []
    for size in sizes:
        subjects = []
        if set(sections) - {'operator'}:
            subjects = build_models(models, size, device)
        for shape in shapes or DEFAULT_SHAPES[device]:
            count = rounds or (3 if shape[1] * shape[2] > LARGE else 5)
            min_time = 0.0 if quick else 0.1
            settings = Settings(size, shape, device, DTYPES[dtype], count, min_time)
            for section in sections:
                progress(f'{section}, size {size.upper()}, {shape}')
                rows += run_section(section, subjects, settings)
    return dict(
        machine=describe_machine(device),
        device=device,
        dtype=dtype,
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
    return list(time_backbones(section, subjects, settings))


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
