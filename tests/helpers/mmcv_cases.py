"""Calls of mmcv's operators, by which the compiled and our own are compared.

``run(case, ext)`` calls mmcv's Python functions with ``ext`` in the place of
``mmcv._ext`` and returns what they compute, gradients too. ``CASES`` are the ones that
mmcv has compiled for a CPU, and whose results do not depend on how equal scores are
sorted: their results are stored (``make_mmcv_golden.py``).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).parents[1] / 'data' / 'golden' / 'mmcv_ops.npz'
MODULES = ('bbox', 'border_align', 'carafe', 'deform_conv', 'deform_roi_pool',
           'focal_loss', 'masked_conv', 'modulated_deform_conv',
           'multi_scale_deform_attn', 'nms', 'psa_mask', 'roi_align', 'roi_pool',
           'sync_bn')  # fmt: skip

Results = list[Tensor]


def using(ext: object) -> ExitStack:
    """mmcv's Python functions call this in the place of their ``_ext``."""
    stack = ExitStack()
    for name in MODULES:
        module = import_module(f'mmcv.ops.{name}')
        stack.enter_context(patch.object(module, 'ext_module', ext))
    return stack


def run(case: Callable[[], Results], ext: object) -> Results:
    with using(ext):
        return [tensor.detach() for tensor in case()]


def drawn(*shape: int, seed: int = 0, scale: float = 1) -> Tensor:
    values = np.random.RandomState(seed).standard_normal(shape) * scale
    return torch.from_numpy(values.astype('float32'))


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).rand(*shape).astype('float32'))


def boxes(number: int, size: float = 100, seed: int = 0) -> Tensor:
    """x1, y1, x2, y2; a third of the image's size at most."""
    sides = uniform(number, 4, seed=seed) * size
    return torch.cat([sides[:, :2], sides[:, :2] + sides[:, 2:] / 3], 1)


def scores(number: int, seed: int = 1) -> Tensor:
    """All different."""
    order = np.random.RandomState(seed).permutation(number).astype('float32')
    return torch.from_numpy((order + 1) / (number + 1))


def rois(number: int, images: int = 2, size: float = 100, seed: int = 0) -> Tensor:
    """Image and box; some reach over the border."""
    image = torch.arange(number).float().remainder(images)[:, None]
    return torch.cat([image, boxes(number, size, seed) - 5], 1)


def derived(function: Callable, *inputs: Tensor) -> Results:
    """The output, and the gradient of each input under an uneven upstream one."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    output = function(*leaves)
    upstream = torch.linspace(-1, 1, output.numel()).view_as(output).to(output)
    if output.numel():
        output.backward(upstream)
    return [output, *(x.grad for x in leaves if x.grad is not None)]


# --- boxes -------------------------------------------------------------------------


def nms(number: int, threshold: float, offset: int, least: float, top: int) -> Results:
    from mmcv.ops import nms

    return list(nms(boxes(number), scores(number), threshold, offset, least, top))


def soft_nms(number: int, threshold: float, method: str, offset: int) -> Results:
    from mmcv.ops import soft_nms

    given = (boxes(number), scores(number), threshold)
    return list(soft_nms(*given, min_score=0.1, method=method, offset=offset))


def batched_nms(number: int, kind: dict) -> Results:
    from mmcv.ops import batched_nms

    classes = torch.arange(number).remainder(3)
    return list(batched_nms(boxes(number), scores(number), classes, kind))


def nms_match(number: int, threshold: float) -> Results:
    from mmcv.ops import nms_match

    dets = torch.cat([boxes(number), scores(number)[:, None]], 1)
    groups = nms_match(dets, threshold)
    return [torch.tensor([len(group) for group in groups]), torch.cat(groups)]


def bbox_overlaps(mode: str, aligned: bool, offset: int) -> Results:
    from mmcv.ops import bbox_overlaps

    return [bbox_overlaps(boxes(12), boxes(12, seed=3), mode, aligned, offset)]


# --- maps --------------------------------------------------------------------------


def roi_align(
    number: int, mode: str, aligned: bool, ratio: int, dtype: torch.dtype
) -> Results:
    from mmcv.ops import roi_align

    given = rois(number).to(dtype)
    sizes = ((3, 4), 0.125, ratio, mode, aligned)
    function = partial(lambda x: roi_align(x, given, *sizes))
    return derived(function, drawn(2, 3, 13, 15).to(dtype))


def psa_mask(kind: str, mask: tuple[int, int], size: tuple[int, int]) -> Results:
    from mmcv.ops import PSAMask

    return derived(PSAMask(kind, mask), drawn(2, mask[0] * mask[1], *size))


SIZES = {  # stride, padding, dilation, groups, deform groups; kernel
    'plain': ((1, 1, 1, 1, 1), (3, 3)),
    'strided': ((2, 1, 1, 2, 2), (3, 3)),
    'uneven': (((2, 1), (0, 2), (1, 2), 1, 4), (3, 2)),
    'unpadded': ((1, 0, 2, 4, 1), (1, 2)),
}
OFFSETS = {
    'moved': lambda offset: offset,
    'at rest': torch.zeros_like,  # as at the start of a training
    'whole': torch.round,
}


def deform_conv(
    sizes: str, offsets: str, modulated: bool, bias: bool, dtype: torch.dtype
) -> Results:
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d

    (stride, padding, dilation, groups, deform_groups), kernel = SIZES[sizes]
    x = drawn(2, 8, 7, 9)
    weight = drawn(4, 8 // groups, *kernel, seed=1)
    settings = (stride, padding, dilation)
    by_axis = np.transpose([np.broadcast_to(value, 2) for value in settings])
    size = [
        (side + 2 * pad - (dilated * (length - 1) + 1)) // step + 1
        for side, length, (step, pad, dilated) in zip(
            (7, 9), kernel, by_axis, strict=True
        )
    ]
    places = deform_groups * kernel[0] * kernel[1]
    offset = OFFSETS[offsets](drawn(2, 2 * places, *size, seed=2, scale=2))
    inputs = [x, offset, weight]
    groups_of_both = (groups, deform_groups)
    if not modulated:
        function = lambda *given: deform_conv2d(*given, *settings, *groups_of_both)  # noqa: E731
    else:
        inputs.insert(2, uniform(2, places, *size, seed=3))
        inputs += [drawn(4, seed=4)] if bias else []
        rest = ([] if bias else [None]) + [*settings, *groups_of_both]
        function = lambda *given: modulated_deform_conv2d(*given, *rest)  # noqa: E731
    return derived(function, *(tensor.to(dtype) for tensor in inputs))


def large_offsets() -> Results:
    """As of mmdet's DyHead: offsets and masks of a larger map than the output."""
    from mmcv.ops import modulated_deform_conv2d

    inputs = (
        drawn(2, 4, 5, 6),
        drawn(2, 18, 9, 11, seed=1),
        uniform(2, 9, 9, 11, seed=2),
    )
    weight = drawn(4, 4, 3, 3, seed=3)
    function = lambda *given: modulated_deform_conv2d(*given, None, 1, 1)  # noqa: E731
    return derived(function, *inputs, weight)


def cases() -> Iterator[tuple[str, Callable[[], Results]]]:
    def named(function: Callable, *given: object) -> tuple[str, Callable]:
        names = [str(value).removeprefix('torch.') for value in given]
        return ' '.join([function.__name__, *names]), partial(function, *given)

    for threshold, offset in product((0.3, 0.7), (0, 1)):
        yield named(nms, 150, threshold, offset, 0, -1)
    yield named(nms, 150, 0.5, 0, 0.4, 10)
    for number in (0, 1):
        yield named(nms, number, 0.5, 0, 0, -1)
        yield named(soft_nms, number, 0.5, 'linear', 0)
    for method, offset in product(('naive', 'linear', 'gaussian'), (0, 1)):
        yield named(soft_nms, 80, 0.3, method, offset)
    yield named(batched_nms, 150, dict(type='nms', iou_threshold=0.5))
    yield named(batched_nms, 150, dict(type='soft_nms', iou_threshold=0.5))
    yield named(batched_nms, 150, dict(type='nms', iou_threshold=0.5, split_thr=9))
    for threshold in (0.1, 0.5):
        yield named(nms_match, 100, threshold)
    for given in product(('iou', 'iof'), (False, True), (0, 1)):
        yield named(bbox_overlaps, *given)
    for given in product(('avg', 'max'), (True, False), (0, 2)):
        yield named(roi_align, 8, *given, torch.float32)
    for mode in ('avg', 'max'):
        yield named(roi_align, 0, mode, True, 0, torch.float32)
        yield named(roi_align, 8, mode, True, 0, torch.float64)
    yield named(roi_align, 8, 'avg', True, 0, torch.float16)
    for kind in ('collect', 'distribute'):
        yield named(psa_mask, kind, (5, 7), (3, 4))
        yield named(psa_mask, kind, (4, 2), (3, 3))
    for sizes, offsets in product(SIZES, OFFSETS):
        if sizes == 'plain' or offsets == 'moved':
            yield named(deform_conv, sizes, offsets, False, False, torch.float32)
            yield named(deform_conv, sizes, offsets, True, True, torch.float32)
    yield named(deform_conv, 'plain', 'moved', True, False, torch.float32)
    yield named(deform_conv, 'plain', 'moved', True, True, torch.float64)
    yield named(large_offsets)


CASES = dict(cases())
