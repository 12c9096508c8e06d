"""Measurements of the mix-shift operator, stage by stage."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from statistics import geometric_mean, median

import torch
from torch import Tensor

from mmmsmlp import MSMLP
from mmmsmlp.models.msmlp import MixShift

from .baselines.straightforward import straightforward_mix_shift
from .models import FORMATS, NCHW, NHWC
from .settings import Settings
from .timing import copy_bandwidth, speed_over

STAGES = range(4)
LABELS = {
    'msmlp': 'mix-shift, paper geometry',
    'msmlp-released': 'mix-shift, released geometry',
    'straightforward': 'straightforward, as released',
    'straightforward-nhwc': 'straightforward, in channels_last',
}


def time_operator(section: str, settings: Settings) -> Iterator[dict]:
    """Time 'operator forward' or 'operator forward+backward', all stages.

    Ratios are to the straightforward operator as released, in NCHW. On a GPU the
    forward pass also yields the share of the copy bandwidth reached at stage 1:
    the map read once and written once, over what a copy moves in that time.
    """
    backward = section.endswith('backward')
    results = [_time_stage(stage, backward, settings) for stage in STAGES]
    on_gpu = settings.device == 'cuda' and not backward
    bandwidth = copy_bandwidth() if on_gpu else None
    for key, label in LABELS.items():
        of_key = [result[key] for result in results]
        ratios = [ratio for _, _, ratio in of_key]
        row = settings.row(
            section,
            key,
            label,
            '/'.join(dict.fromkeys(layout for layout, _, _ in of_key)),
            stage_ms=[1e3 * seconds for _, seconds, _ in of_key],
            stage_over=ratios,
            over={'straightforward': geometric_mean(ratios)},
        )
        if bandwidth:
            moved = 2 * stage_input(0, settings).nbytes
            row['copy_bandwidth_share'] = moved / of_key[0][1] / bandwidth
        yield row


def _time_stage(
    stage: int, backward: bool, settings: Settings
) -> dict[str, tuple[str, float, float]]:
    """By key: layout, seconds, and times faster than the straightforward one."""
    times = settings.time(stage_calls(stage, backward, settings))
    released = 'straightforward', NCHW
    return {
        call[0]: (call[1], median(times[call]), speed_over(times, call, released))
        for call in times
    }


def stage_calls(stage: int, backward: bool, settings: Settings) -> dict:
    """What is timed, by key and memory layout."""
    paper, released = (
        deepcopy(stage_filters(settings.size, geometry)[stage])
        .to(settings.device, settings.dtype)  # no autocast: it would time 40 casts
        .requires_grad_(backward)
        for geometry in ('paper', 'released')
    )

    def plain(x):
        return straightforward_mix_shift(x, released)

    make = _step if backward else _forward
    x = stage_input(stage, settings)
    return {
        (key, layout): make(function, x.contiguous(memory_format=FORMATS[layout]), mix)
        for key, layout, function, mix in (
            ('msmlp', NHWC, paper, paper),
            ('msmlp-released', NHWC, released, released),
            ('straightforward', NCHW, plain, released),
            ('straightforward-nhwc', NHWC, plain, released),
        )
    }


@cache
def stage_filters(size: str, geometry: str) -> list[MixShift]:
    """The filters of the first block of each stage."""
    return [stage.blocks[0].mix for stage in MSMLP(size, geometry).stages]


def stage_input(stage: int, settings: Settings) -> Tensor:
    """The map that the blocks of a stage, counted from 0, take."""
    mix = stage_filters(settings.size, 'paper')[stage]
    batch, *sides = settings.shape
    sides = [-(-side // (4 << stage)) for side in sides]
    channels = sum(conv.out_channels for conv in mix.horizontal)
    return torch.randn(
        batch, channels, *sides, device=settings.device, dtype=settings.dtype
    )


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
