#!/usr/bin/env python
"""Peak memory of a training step of configs, plain and with what saves memory.

On a CPU, on random images with two boxes, or random labels, each. Prints the gigabytes
that a step holds above the weights and what the optimizer keeps: activations and
gradients.
"""

import argparse
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

os.environ['CUDA_VISIBLE_DEVICES'] = '-1'  # before torch: its counters are the CPU's

import torch  # noqa: E402
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from benchmarks.memory import peak_bytes
from mmmsmlp.errors import BadInput
from mmmsmlp.run import switches
from mmmsmlp.run.config import building, check_is_experiment, load_config, tables_in
from mmmsmlp.run.entry import positive, run_tool
from mmmsmlp.run.launch import replace_sync_bn

SHAPES = {'mmdet': (2, 400, 640), 'mmseg': (2, 512, 512), 'mmpretrain': (16, 224, 224)}
SWITCHES = ('plain', 'with_cp', '--amp', 'with_cp --amp')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('configs', nargs='+', metavar='CONFIG')
    parser.add_argument(
        '--shape', nargs=3, type=positive, metavar=('N', 'H', 'W'),
        help='default 2 400 640 (mmdet), 2 512 512 (mmseg), 16 224 224 (mmpretrain)',
    )  # fmt: skip
    return parser.parse_args()


def classes_of(model: dict) -> int:
    """The number of classes that a model's heads are built for."""
    for table in tables_in(model):
        if 'num_classes' in table:
            return table['num_classes']
    raise BadInput('no head of the model says its num_classes')


def batch_of(scope: str, shape: tuple[int, int, int], classes: int) -> dict:
    """Raw images and their truth, as a data loader gives them."""
    count, *size = shape
    if scope == 'mmdet':
        from mmdet.testing import demo_mm_inputs

        options = dict(num_items=[2] * count, num_classes=classes, with_mask=True)
        return demo_mm_inputs(count, [[3, *size]] * count, **options)
    images = list(torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8))
    if scope == 'mmpretrain':
        from mmpretrain.structures import DataSample

        samples = [DataSample().set_gt_label(i % classes) for i in range(count)]
        return dict(inputs=images, data_samples=samples)
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    samples = []
    for _ in images:
        labels = PixelData(data=torch.randint(0, classes, (1, *size)))
        samples.append(SegDataSample(gt_sem_seg=labels, metainfo=dict(img_shape=size)))
    return dict(inputs=images, data_samples=samples)


def step_of(cfg: Config, shape: tuple[int, int, int]) -> Callable[[], object]:
    """A training step that has run once, so that the optimizer's state is there."""
    replace_sync_bn(cfg)
    torch.manual_seed(0)
    model: nn.Module = MODELS.build(cfg.model).train()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    batch = batch_of(cfg.default_scope, shape, classes_of(cfg.model))
    step = partial(model.train_step, batch, optimizer)
    step()
    return step


def measure(name: str, shape: tuple[int, int, int] | None) -> list[str]:
    """A row of the table: gigabytes with each of the switches."""
    cells = []
    for switch in SWITCHES:
        with_cp = {'model.backbone.with_cp': True} if 'with_cp' in switch else None
        cfg = load_config(name, with_cp)
        check_is_experiment(cfg, 'default_scope', 'model', 'optim_wrapper')
        if 'amp' in switch:
            switches.use_amp(cfg, 'auto')
        with DefaultScope.overwrite_default_scope(cfg.default_scope), building(name):
            used = shape or SHAPES[cfg.default_scope]
            cells.append(f'{peak_bytes(step_of(cfg, used), "cpu") / 1e9:.2f}')
    return [Path(name).stem, 'x'.join(map(str, used)), *cells]


def main() -> None:
    args = parse_args()
    header = ['config', 'images', *SWITCHES]
    print(f'| {" | ".join(header)} |\n{"|---" * len(header)}|')
    logging.disable(logging.WARNING)
    for name in args.configs:
        print(f'| {" | ".join(measure(name, args.shape))} |', flush=True)


if __name__ == '__main__':
    run_tool(main)
