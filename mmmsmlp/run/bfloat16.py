"""What bfloat16 costs on this CPU, measured before a run that asks for it."""

import time
import warnings
from collections.abc import Callable
from statistics import median

import torch

# An MLP's first layer at stage 1 of MS-MLP-T, on few tokens: where a library has no
# product of bfloat16, more would take minutes.
TOKENS, WIDTH = 64, 96
ROUNDS = 5
NOISE = 1.2  # a ratio up to here may be a busy machine's


def warn_of_slow_bfloat16() -> None:
    """Warn where bfloat16 is slower than float32 on this CPU, with the factor.

    CPUs without instructions for it (AMX, AVX512-BF16) convert every value.
    """
    factor = measure_factor()
    if factor > NOISE:
        warnings.warn(
            f'bfloat16 makes training slower on this CPU: a layer of MS-MLP-T takes '
            f'{factor:.1f} times as long as in float32. Leave --amp out here.',
            stacklevel=2,
        )


def measure_factor() -> float:
    """Time of a layer's step in bfloat16 over its time in float32, in turn."""
    with torch.random.fork_rng(devices=[]):  # the run's numbers stay as they are
        layer = torch.nn.Linear(WIDTH, 4 * WIDTH, device='cpu')
        x = torch.randn(TOKENS, WIDTH, device='cpu')

    def step() -> None:
        layer(x).sum().backward()

    def lowered() -> None:
        with torch.autocast('cpu', torch.bfloat16):
            y = layer(x)
        y.sum().backward()

    for call in (lowered, step):
        call()  # the libraries prepare themselves
    return median(_seconds(lowered) / _seconds(step) for _ in range(ROUNDS))


def _seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
