#!/usr/bin/env python
"""Time mmcv's operators, ours by torchvision and torch beside the compiled ones.

    PYTHONPATH=.:tools python tools/benchmarks/mmcv_ops.py

On a CPU, one thread, in turn. Where mmcv is not compiled only ours are timed, and those
that mmcv compiles for CUDA alone always are. Outputs are compared before.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from statistics import median
from types import ModuleType

import torch
from torch import Tensor

from benchmarks.machine import describe_machine
from benchmarks.timing import interleave, speed_over
from mmmsmlp.mmcv_ops import ext

Call = Callable[[ModuleType], object]


def boxes(number: int, size: tuple[int, int]) -> Tensor:
    """x1, y1, x2, y2 on an image, sides up to a third of it."""
    corner = torch.rand(number, 2) * torch.tensor(size)
    return torch.cat(
        [corner, corner + torch.rand(number, 2) * torch.tensor(size) / 3], 1
    )


def suppressed(name: str, given: tuple, settings: dict, ops: ModuleType) -> object:
    return getattr(ops, name)(*given, **settings)


def pooled(x: Tensor, rois: Tensor, backward: bool, ops: ModuleType) -> object:
    sizes = (7, 7, 0.125, 0, 1, True)
    output, none = x.new_zeros(len(rois), x.shape[1], 7, 7), x.new_zeros(0)
    ops.roi_align_forward(x, rois, output, none, none, *sizes)
    if backward:
        grad = torch.zeros_like(x)
        ops.roi_align_backward(output, rois, none, none, grad, *sizes)
        return grad
    return output


def convolved(given: list[Tensor], backward: bool, ops: ModuleType) -> object:
    x, weight, offset, mask = given
    output, empty = x.new_zeros(len(x), len(weight), *x.shape[2:]), x.new_empty(0)
    sizes = (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, False)
    buffers = (x, weight, empty, empty, offset, mask)
    ops.modulated_deform_conv_forward(*buffers, output, empty, *sizes)
    if backward:
        grads = [
            torch.zeros_like(tensor) for tensor in (x, weight, empty, offset, mask)
        ]
        ops.modulated_deform_conv_backward(*buffers, empty, *grads, output, *sizes)
        return grads[0]
    return output


def attended(given: list[Tensor], backward: bool, ops: ModuleType) -> object:
    value, shapes, starts, locations, weights = given
    output = ops.ms_deform_attn_forward(*given, 64)
    if backward:
        grads = [torch.zeros_like(tensor) for tensor in (value, locations, weights)]
        ops.ms_deform_attn_backward(*given, output, *grads, 64)
        return grads[0]
    return output


def focal(logits: Tensor, labels: Tensor, backward: bool, ops: ModuleType) -> object:
    output, given = torch.zeros_like(logits), (logits, labels, logits.new_empty(0))
    ops.sigmoid_focal_loss_forward(*given, output, 2.0, 0.25)
    if backward:
        ops.sigmoid_focal_loss_backward(*given, output, 2.0, 0.25)
    return output


def subjects() -> Iterator[tuple[str, str, Call]]:
    """Operator, shapes, and a call that takes the module of the operators."""
    torch.manual_seed(0)
    box, score = boxes(2000, (1333, 800)), torch.rand(2000)
    settings = dict(iou_threshold=0.7, offset=0)
    yield 'nms', '2,000 boxes', partial(suppressed, 'nms', (box, score), settings)
    settings = dict(iou_threshold=0.5, sigma=0.5, min_score=0.05, method=1, offset=0)
    given = (box[:1000], score[:1000], torch.zeros(1000, 5))
    yield 'softnms', '1,000 boxes', partial(suppressed, 'softnms', given, settings)
    x = torch.randn(2, 256, 100, 168)
    rois = torch.cat(
        [torch.arange(512).float()[:, None] % 2, boxes(512, (1333, 800))], 1
    )
    shapes = '512 boxes of 2x256x100x168'
    for backward in (False, True):
        name = 'roi_align' + (', both' if backward else ', forward')
        yield name, shapes, partial(pooled, x, rois, backward)
    given = [torch.randn(2, 128, 50, 84), torch.randn(128, 128, 3, 3) / 34,
             torch.randn(2, 18, 50, 84), torch.rand(2, 9, 50, 84)]  # fmt: skip
    for backward in (False, True):
        name = 'modulated_deform_conv' + (', both' if backward else ', forward')
        yield name, '2x128x50x84, 3x3', partial(convolved, given, backward)
    given = [torch.randn(1, 13294, 8, 32),
             torch.tensor([[100, 100], [50, 50], [25, 25], [13, 13]]),
             torch.tensor([0, 10000, 12500, 13125]),
             torch.rand(1, 900, 8, 4, 4, 2), torch.rand(1, 900, 8, 4, 4)]  # fmt: skip
    for backward in (False, True):
        name = 'ms_deform_attn' + (', both' if backward else ', forward')
        yield name, '900 queries, 4 levels', partial(attended, given, backward)
    logits, labels = torch.randn(40000, 80), torch.randint(0, 81, (40000,))
    yield 'sigmoid_focal_loss, both', '40,000x80', partial(focal, logits, labels, True)


def compiled_module() -> ModuleType | None:
    try:
        module = import_module('mmcv._ext')
    except ImportError:
        return None
    return None if hasattr(module, 'LIBRARIES') else module


def runs(call: Call, module: ModuleType) -> bool:
    """Some operators are compiled for CUDA alone."""
    try:
        call(module)
    except RuntimeError:
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--rounds', type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    compiled = compiled_module()
    machine = describe_machine('cpu')
    print(f'{machine["cpu"]}, one thread, load {os.getloadavg()[0]:.2f} at the start')
    print(f'{machine["versions"]}\n')
    print('| operator | shapes | compiled, ms | ours, ms | times as fast |')
    print('|---|---|---:|---:|---:|')
    for name, shapes, call in subjects():
        modules = {'ours': ext}
        if compiled is not None and runs(call, compiled):
            modules['compiled'] = compiled
            ours, theirs = call(ext), call(compiled)
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        calls = {key: partial(call, module) for key, module in modules.items()}
        times = interleave(calls, args.rounds, 'cpu', min_time=0)
        cells = [f'{median(times["ours"]) * 1e3:.1f}', '']
        theirs_ms = '(CUDA alone)' if compiled is not None else ''
        if 'compiled' in modules:
            theirs_ms = f'{median(times["compiled"]) * 1e3:.1f}'
            cells[1] = f'{speed_over(times, "ours", "compiled"):.2f}'
        print(f'| {name} | {shapes} | {theirs_ms} | {" | ".join(cells)} |', flush=True)
    print(f'\nload {os.getloadavg()[0]:.2f} at the end')


if __name__ == '__main__':
    main()
