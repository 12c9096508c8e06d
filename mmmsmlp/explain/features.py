"""Feature maps of a backbone by stage, and by channel group where it mixes and shifts.

A map is shown by its spread: per token the root of the mean square over channels, each
channel less its own mean over the map, which is the same everywhere and shows nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..models.msmlp import MixShift
from ..models.pyramid import PyramidBackbone


class GroupMap(NamedTuple):
    """What one channel group of a stage's last mix-shift gives."""

    region: int  # side of the square that it mixes, in tokens
    step: int  # how far from its own place it reads, in tokens
    values: Tensor  # (H, W)


class StageMap(NamedTuple):
    """A stage's output, and its channel groups if it has such."""

    values: Tensor  # (H, W)
    groups: list[GroupMap]


def spread(features: Tensor) -> Tensor:
    """(C, H, W) as (H, W): the root mean square of what varies over the map."""
    moved = features.float() - features.float().mean((1, 2), keepdim=True)
    return moved.square().mean(0).sqrt()


def group_maps(mixed: Tensor, mix: MixShift) -> list[GroupMap]:
    """The output (C, H, W) of a mix-shift by its channel groups."""
    groups = mix.groups
    return [
        GroupMap(size, step, spread(mixed[first:stop]))
        for size, step, (first, stop) in zip(
            groups.sizes, groups.steps, groups.bounds, strict=True
        )
    ]


class Tap(nn.Identity):
    """Where an output of somebody else's backbone passes."""


@contextmanager
def stages_of(backbone: nn.Module, images: Tensor) -> Iterator[list[nn.Module]]:
    """Modules whose outputs are the maps (N, C, H, W) of a backbone, in order.

    Of our backbones they are the stages, even where classification pools their output;
    of others, taps that their outputs pass until the ``with`` block ends.

    Raises:
        BadInput: Of these images it makes no maps.
    """
    if isinstance(backbone, PyramidBackbone):
        yield [*backbone.stages]
        return
    with torch.no_grad():
        maps = [i for i, x in enumerate(_outputs(backbone(images))) if x.dim() == 4]
    if not maps:
        raise BadInput(
            f'{type(backbone).__name__} gives no maps (N, C, H, W) that could be shown'
        )
    taps: list[nn.Module] = [Tap() for _ in maps]

    def pass_taps(module: nn.Module, args: Any, output: Any) -> tuple[Tensor, ...]:
        passed = _outputs(output)
        for tap, i in zip(taps, maps, strict=True):
            passed[i] = tap(passed[i])
        return tuple(passed)

    handle = backbone.register_forward_hook(pass_taps)
    try:
        yield taps
    finally:
        handle.remove()


def _outputs(output: Any) -> list[Tensor]:
    return [*output] if isinstance(output, (tuple, list)) else [output]


@torch.no_grad()
def feature_maps(backbone: nn.Module, images: Tensor) -> list[StageMap]:
    """Look at what a backbone makes of one image (1, C, H, W).

    Raises:
        BadInput: It gives no maps.
    """
    found: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module, args: Any, output: Tensor) -> None:
        found[module] = output[0]

    with stages_of(backbone, images) as stages:
        mixes = {
            stage: mix
            for stage in stages
            for mix in stage.modules()
            if isinstance(mix, MixShift)
        }  # the last of each stage stays
        handles = [m.register_forward_hook(keep) for m in (*stages, *mixes.values())]
        try:
            backbone(images)
        finally:
            for handle in handles:
                handle.remove()
    return [
        StageMap(
            spread(found[stage]),
            group_maps(found[mixes[stage]], mixes[stage]) if stage in mixes else [],
        )
        for stage in stages
    ]


def draw_features(image: np.ndarray, stages: list[StageMap], path: Path) -> None:
    """Draw a row a stage: its output, and its groups with the regions that they read.

    Args:
        image: What the model was shown, (H, W, 3) of uint8, RGB.
        stages: Their maps.
        path: The picture to write.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    columns = 2 + max(len(stage.groups) for stage in stages)
    height = 2.2 * image.shape[0] / image.shape[1] + 0.35
    figure, axes = pyplot.subplots(
        len(stages), columns, squeeze=False, layout='constrained',
        figsize=(2.2 * columns, height * len(stages)),
    )  # fmt: skip
    for row, stage in enumerate(stages):
        for axis in axes[row]:
            axis.set_axis_off()
        axes[row][0].imshow(image)
        rows, cols = stage.values.shape
        axes[row][0].set_title(f'stage {row + 1}: {rows}x{cols} tokens', fontsize=9)
        _show(axes[row][1], stage.values, 'output')
        for axis, group in zip(axes[row][2:], stage.groups, strict=False):
            side, step = group.region, group.step
            _show(axis, group.values, f'{side}x{side}, {step} away')
            _draw_region(axis, group)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


def _show(axis: Any, values: Tensor, title: str) -> None:
    top = float(values.flatten().quantile(0.995))  # a token or two may outshine all
    axis.imshow(values.cpu(), cmap='magma', vmin=0, vmax=max(top, 1e-12))
    axis.set_title(title, fontsize=9)


def _draw_region(axis: Any, group: GroupMap) -> None:
    """The middle token, and the squares that its two branches read: along W and H."""
    from matplotlib.patches import Rectangle

    (rows, cols), side, step = group.values.shape, group.region, group.step
    y, x = rows // 2, cols // 2
    axis.plot(x, y, '+', color='white', markersize=5)
    places = ((x + step) % cols, y), (x, (y + step) % rows)
    for (left, top), colour in zip(places, ('cyan', 'lime'), strict=True):
        corner = left - side / 2, top - side / 2
        axis.add_patch(
            Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=1)
        )
    axis.set(xlim=(-0.5, cols - 0.5), ylim=(rows - 0.5, -0.5))  # regions end there too
