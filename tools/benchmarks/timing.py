"""The time that a call takes, beside others that run in turn with it."""

import math
import time
from collections.abc import Callable, Hashable, Mapping
from statistics import median
from typing import TypeVar

import torch

Key = TypeVar('Key', bound=Hashable)
Times = Mapping[Key, list[float]]


def interleave(
    calls: Mapping[Key, Callable[[], object]],
    rounds: int,
    device: str,
    min_time: float = 0.05,
    warmups: int = 1,
) -> dict[Key, list[float]]:
    """Time calls in turn, so that what slows the machine slows all of them.

    Args:
        calls: What to time; the order is reversed in every other round.
        rounds: Samples to take of each.
        device: 'cpu' or 'cuda'; on the latter, events on the stream are timed.
        min_time: Seconds a sample lasts at least, by repeating the call.
        warmups: Calls of each that are not timed.

    Returns:
        Seconds per call, one sample per round.
    """
    clock = _cuda_seconds if device == 'cuda' else _cpu_seconds
    repeats, times = {}, {key: [] for key in calls}
    for key, call in calls.items():
        for _ in range(warmups):
            call()
        repeats[key] = max(1, math.ceil(min_time / clock(call, 1))) if min_time else 1
    for i in range(rounds):
        for key in list(calls)[:: -1 if i % 2 else 1]:
            times[key].append(clock(calls[key], repeats[key]))
    return times


def speed_over(times: Times, key: Key, baseline: Key) -> float:
    """How many times faster ``key`` is: the median over rounds of the ratio.

    A ratio within a round cancels what changed between rounds.
    """
    pairs = zip(times[baseline], times[key], strict=True)
    return median(theirs / ours for theirs, ours in pairs)


def _cpu_seconds(call: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def _cuda_seconds(call: Callable[[], object], repeats: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(repeats):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / repeats


def copy_bandwidth(gigabytes: float = 1.0) -> float:
    """Bytes per second that a copy on the GPU reads and writes."""
    source = torch.empty(int(gigabytes * 2**30), dtype=torch.uint8, device='cuda')
    target = torch.empty_like(source)
    times = interleave({0: lambda: target.copy_(source)}, 5, 'cuda', warmups=3)
    return 2 * source.numel() / median(times[0])
