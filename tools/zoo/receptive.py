"""Where a backbone looks: effective receptive fields, and the reach of a geometry.

The effective receptive field (Luo et al., 2016) is how much each pixel moves the token
in the middle of a map. A norm makes the sum of a token's channels a constant, whose
gradient is none; so the channels are summed with random signs, and the squares of the
gradients averaged over images. Their expectation is the sum of squares over channels.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmmsmlp.models import MSMLP
from mmmsmlp.ops import mix_shift
from mmmsmlp.ops.mixshift.spec import Groups

SHARES = (0.2, 0.3, 0.5, 0.99)


class Field(NamedTuple):
    """What moves one token.

    Attributes:
        values: (H, W), for each pixel the root of the mean square of the gradients,
            summed over the image's channels; output per input.
        centre: The token's own place, row and column in pixels from 0.
    """

    values: Tensor
    centre: tuple[float, float]


def effective_fields(
    backbone: nn.Module, images: Sequence[Tensor], seed: int = 0
) -> list[Field]:
    """Effective receptive field of the middle token of each output.

    Args:
        backbone: Gives a tuple of maps (N, C, h, w); in evaluation mode.
        images: Each (3, H, W), normalised, of one size.
        seed: Of the signs.

    Returns:
        One field an output.
    """
    signs = torch.Generator().manual_seed(seed)
    steps = strides(backbone, images[0])
    squares: list[Tensor] = []
    centres: list[tuple[float, float]] = []
    for image in images:
        x = image[None].clone().requires_grad_()
        outputs = backbone(x)
        if not squares:
            squares = [torch.zeros_like(image[0]) for _ in outputs]
            centres = [
                _middle(output.shape, step)
                for output, step in zip(outputs, steps, strict=True)
            ]
        for square, output in zip(squares, outputs, strict=True):
            token = output[0, :, output.shape[2] // 2, output.shape[3] // 2]
            sign = torch.randint(2, token.shape, generator=signs) * 2 - 1
            told = (token * sign).sum()
            (gradient,) = torch.autograd.grad(told, x, retain_graph=True)
            square += gradient[0].square().sum(0)
    return [
        Field((square / len(images)).sqrt(), centre)
        for square, centre in zip(squares, centres, strict=True)
    ]


def strides(backbone: nn.Module, image: Tensor) -> list[int]:
    """Pixels a token of each output.

    Counted where the sides divide: elsewhere some backbones pad, others cut, and a map
    of two tokens may be either.
    """
    sides = [-(-side // 64) * 64 for side in image.shape[1:]]
    with torch.no_grad():
        outputs = backbone(image.new_zeros(1, len(image), *sides))
    return [sides[0] // output.shape[2] for output in outputs]


def _middle(output: Sequence[int], step: int) -> tuple[float, float]:
    """Where the pixels of the middle token have their centre; padding lies behind."""
    row, column = ((tokens // 2 + 0.5) * step - 0.5 for tokens in output[-2:])
    return row, column


def side_that_holds(field: Field, share: float) -> int:
    """Side, in pixels, of the smallest square around the token with a share of a field.

    Args:
        field: Of :func:`effective_fields`.
        share: Above 0, at most 1.
    """
    places = map(torch.arange, field.values.shape)
    rows, columns = (
        (at - middle).abs() for at, middle in zip(places, field.centre, strict=True)
    )
    distance, order = torch.maximum(rows[:, None], columns[None]).flatten().sort()
    held = field.values.flatten()[order].double().cumsum(0)
    enough = held >= share * held[-1] * (1 - 1e-12)
    return int(2 * distance[enough.nonzero()[0, 0]] + 1)


def area_that_holds(field: Field, share: float) -> float:
    """That square's share of the image's area, what lies outside the image cut off."""
    half = (side_that_holds(field, share) - 1) / 2
    area = 1.0
    for length, middle in zip(field.values.shape, field.centre, strict=True):
        first, last = max(0.0, middle - half), min(length - 1.0, middle + half)
        area *= (last - first + 1) / length
    return area


def fields_table(fields: dict[str, list[Field]]) -> list[dict]:
    """For each model and stage, what holds :data:`SHARES` of its field.

    Returns:
        Rows with ``model``, ``stage`` (from 1) and, for each share, ``side_50`` in
        pixels and ``area_50`` as a share of the image.
    """
    rows = []
    for model, maps in fields.items():
        for stage, field in enumerate(maps, 1):
            row: dict = dict(model=model, stage=stage)
            for share in SHARES:
                percent = f'{100 * share:g}'
                row[f'side_{percent}'] = side_that_holds(field, share)
                row[f'area_{percent}'] = round(area_that_holds(field, share), 6)
            rows.append(row)
    return rows


def reach(groups: Groups, size: tuple[int, int], blocks: int) -> Tensor:
    """After how many blocks the token in the middle depends on each token (Eq. 2).

    A block takes in what its regions and shifts bring, and each token itself, by its
    residual; the MLP joins the channel groups. Shifts go around the map, regions end at
    its edge.

    Args:
        groups: Region sizes, distances and order of a block.
        size: Of the map, (H, W) in tokens.
        blocks: How many to go through.

    Returns:
        Whole numbers (H, W): 0 for the token itself, -1 where ``blocks`` do not reach.
    """
    count = len(groups.sizes)
    ones = [torch.ones(1, 1, r, r) for r in groups.sizes]
    none = [torch.zeros(1)] * count
    x = torch.zeros(1, count, *size, requires_grad=True)
    y = mix_shift(x, ones, none, ones, none, groups.distances, groups.order)
    seen = torch.zeros(size, dtype=torch.bool)
    seen[size[0] // 2, size[1] // 2] = True
    after = torch.where(seen, 0, -1)
    for block in range(1, blocks + 1):
        asked = seen.float().expand(1, count, -1, -1)
        (back,) = torch.autograd.grad(y, x, asked, retain_graph=True)
        seen = seen | (back[0].sum(0) > 0.5)
        after[seen & (after < 0)] = block
    return after


def groups_of(backbone: MSMLP) -> list[tuple[Groups, int]]:
    """Each stage's groups, and its number of blocks."""
    return [
        (stage.blocks[0].mix.groups, len(stage.blocks)) for stage in backbone.stages
    ]


def reaches(backbone: MSMLP, size: tuple[int, int]) -> list[Tensor]:
    """:func:`reach` in each stage's padded map of an image (H, W)."""
    return [
        reach(groups, (-(-size[0] // 2**k), -(-size[1] // 2**k)), blocks)
        for k, (groups, blocks) in enumerate(groups_of(backbone), 2)
    ]


def let_blocks_count(backbone: nn.Module) -> int:
    """Set layer scales to 1, for random weights: at 1e-6 no block would be seen.

    Returns:
        How many there are.
    """
    scales = [
        tensor
        for name, tensor in backbone.named_parameters()
        if name.rpartition('.')[2] in ('gamma', 'layer_scale')
    ]
    for tensor in scales:
        nn.init.ones_(tensor)
    return len(scales)


def noise(count: int, size: tuple[int, int], seed: int = 0) -> list[Tensor]:
    """Images of independent normal numbers, each (3, H, W)."""
    numbers = torch.Generator().manual_seed(seed)
    return [torch.randn(3, *size, generator=numbers) for _ in range(count)]
