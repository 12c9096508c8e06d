"""The peak memory of a call, above what is allocated before it."""

import os
import warnings
from collections.abc import Callable
from itertools import accumulate
from typing import Any

os.environ.setdefault('KINETO_LOG_LEVEL', '6')  # it reports a missing GPU as an error

import torch  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402


def peak_bytes(call: Callable[[], object], device: str) -> int:
    """Peak of the bytes that PyTorch holds during ``call``, above those before it.

    On a CPU it is the running sum over every allocation and release that PyTorch's
    allocator reports: exact and repeatable, whatever the C library keeps. What a call
    returns is dropped after the peak is known.
    """
    if device == 'cuda':
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about several cycles, and there is one
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
            result = call()
    del result
    events = trace.profiler.kineto_results.events()
    changes = [event for event in events if event.name() == '[memory]']
    changes.sort(key=_start)
    return max(accumulate((event.nbytes() for event in changes), initial=0))


def _start(event: Any) -> int:
    """When it happened; PyTorch before 2.4 counts in microseconds."""
    return event.start_ns() if hasattr(event, 'start_ns') else event.start_us()
