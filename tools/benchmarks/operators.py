"""Measurements of the mix-shift operator, stage by stage."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache, partial
from statistics import geometric_mean, median

import torch
from torch import Tensor

from mmmsmlp import MSMLP
from mmmsmlp.models.msmlp import MixShift

from .baselines.straightforward import straightforward_mix_shift
from .models import FORMATS, NCHW, NHWC
from .settings import Settings
from .timing import copy_bandwidth, speed_over

# By key: label and memory layout.
TIMED = {
    'msmlp': ('mix-shift, paper geometry', NHWC),
    'msmlp-released': ('mix-shift, released geometry', NHWC),
    'straightforward': ('straightforward, as released', NCHW),
    'straightforward-nhwc': ('straightforward, in channels_last', NHWC),
}
COPY = 'copy'


def time_operator(section: str, settings: Settings) -> Iterator[dict]:
    """Time 'operator forward' or 'operator forward+backward', all stages.

    Ratios are to the straightforward operator as released, in NCHW. ``copy_share`` is
    the time that a copy takes for the bytes that must move, over the operator's time:
    the map read and written, with gradients also map and gradient read and one written.
    On a CPU it is the mean of the stages, each beside a copy of its own map; on a GPU
    that of the forward pass at stage 1, beside a copy that no cache holds.
    """
    backward = section.endswith('backward')
    stages = [settings.time(stage_calls(i, backward, settings)) for i in range(4)]
    bandwidth = copy_bandwidth() if settings.device == 'cuda' and not backward else None
    for key, (label, layout) in TIMED.items():
        seconds = [median(times[key]) for times in stages]
        ratios = [speed_over(times, key, 'straightforward') for times in stages]
        row = settings.row(
            section,
            key,
            label,
            layout,
            stage_ms=[1e3 * time for time in seconds],
            stage_over=ratios,
            over={'straightforward': geometric_mean(ratios)},
        )
        if bandwidth:
            moved = 2 * stage_input(0, settings).nbytes
            row['copy_share'] = moved / seconds[0] / bandwidth
        elif settings.device == 'cpu':
            copies = (5 if backward else 2) / 2
            shares = [copies / speed_over(times, COPY, key) for times in stages]
            row['copy_share'] = geometric_mean(shares)
        yield row


def stage_calls(stage: int, backward: bool, settings: Settings) -> dict:
    """What is timed, by the keys of TIMED, and a copy of the map."""
    paper, released = (
        deepcopy(stage_filters(settings.size, geometry)[stage])
        .to(settings.device, settings.dtype)  # no autocast: it would time 40 casts
        .requires_grad_(backward)
        for geometry in ('paper', 'released')
    )
    make = _step if backward else _forward
    x = stage_input(stage, settings)
    calls = {}
    for key, (_, layout) in TIMED.items():
        mix = paper if key == 'msmlp' else released
        plain = partial(straightforward_mix_shift, mix=mix)
        function = plain if key.startswith('straightforward') else mix
        calls[key] = make(function, x.contiguous(memory_format=FORMATS[layout]), mix)
    calls[COPY] = partial(torch.empty_like(x).copy_, x)
    return calls


@cache
def stage_filters(size: str, geometry: str) -> list[MixShift]:
    """The filters of the first block of each stage."""
    return [stage.blocks[0].mix for stage in MSMLP(size, geometry).stages]


def stage_input(stage: int, settings: Settings) -> Tensor:
    """The map that the blocks of a stage, counted from 0, take."""
    mix = stage_filters(settings.size, 'paper')[stage]
    batch, *sides = settings.shape
    sides = [-(-side // (4 << stage)) for side in sides]
    where = dict(device=settings.device, dtype=settings.dtype)
    return torch.randn(batch, sum(mix.groups.widths), *sides, **where)


def _forward(function: Callable, x: Tensor, mix: MixShift) -> Callable[[], object]:
    def call():
        with torch.inference_mode():
            return function(x)

    return call


def _step(function: Callable, x: Tensor, mix: MixShift) -> Callable[[], object]:
    x = x.detach().requires_grad_()
    inputs = [x, *mix.parameters()]
    with torch.no_grad():
        grad = torch.randn_like(function(x))

    def call():
        return torch.autograd.grad(function(x), inputs, grad)

    return call
