#!/usr/bin/env python
"""Train heads of the toolboxes with a small MS-MLP on the demo shapes.

Each config is swapped, written to a file and trained by tools/train.py on 16 pictures,
on which it is evaluated, too: does the whole learn? How losses and metrics went is a
line of JSON, which plugin_matrix.py --page shows. Before:
python tools/make_demo_data.py work_dirs/demo_16 --train 16 --val 1 --semantic
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.errors import BadInput
from mmmsmlp.run.config import tables_in
from mmmsmlp.run.entry import run_tool
from mmmsmlp.run.own_data import set_counts
from mmmsmlp.swap import read_config, swap

SIZE = 192
SHAPES = 'circle', 'square', 'triangle', 'star'
ARCH = dict(
    embed_dims=40, depths=[2, 2, 4, 2],
    mix_sizes=[[1, 1, 3, 5, 7], [1, 3, 3, 5, 7], [1, 5, 5, 5, 7], [1, 7, 7, 7, 7]],
)  # fmt: skip


def demo_config(name: str, data: str, steps: int, rate: float) -> Any:
    """A toolbox's config with our backbone, the shapes and a short schedule."""
    cfg, _ = swap(read_config(name), 'MSMLP', ARCH, True, layer_scale_init_value=1.0)
    semantic = cfg.default_scope == 'mmseg'
    set_counts(cfg, len(SHAPES) + semantic)
    for table in tables_in(cfg.model):
        if 'num_queries' in table:  # small pictures have few places
            table['num_queries'] = min(table['num_queries'], 100)
    loader, evaluator = (_semantic if semantic else _instances)(cfg, data)
    cfg.train_dataloader = dict(
        batch_size=2, num_workers=0, dataset=loader.pop('train'),
        sampler=dict(type='InfiniteSampler', shuffle=True),
    )  # fmt: skip
    cfg.val_dataloader = dict(
        batch_size=1, num_workers=0, dataset=loader.pop('val'),
        sampler=dict(type='DefaultSampler', shuffle=False),
    )  # fmt: skip
    cfg.val_evaluator, cfg.custom_hooks = evaluator, []
    cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, evaluator
    cfg.optim_wrapper.optimizer.lr = rate
    cfg.optim_wrapper.clip_grad = dict(max_norm=5.0)
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=20),
        dict(type='PolyLR', power=1.0, by_epoch=False, begin=20, end=steps),
    ]
    cfg.train_cfg = dict(
        type='IterBasedTrainLoop', max_iters=steps, val_interval=steps // 2
    )
    cfg.default_hooks.logger.interval = 10
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=steps // 2
    )
    cfg.log_processor = dict(type='LogProcessor', window_size=10, by_epoch=False)
    cfg.randomness = dict(seed=0)
    return cfg


def _instances(cfg: Any, data: str) -> tuple[dict, dict]:
    masks = 'segm' in str(cfg.val_evaluator)
    cfg.model.data_preprocessor.update(
        batch_augments=None, pad_mask=masks, pad_seg=False, pad_size_divisor=32
    )
    load = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=masks),
        dict(type='Resize', scale=(SIZE, SIZE), keep_ratio=True),
    ]
    keys = 'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'
    shapes = dict(
        type='CocoDataset', data_root=data, ann_file='annotations/train.json',
        data_prefix=dict(img='train/'), metainfo=dict(classes=SHAPES),
    )  # fmt: skip
    flip, pack = dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')
    return dict(
        train=dict(**shapes, pipeline=[*load, flip, pack]),
        val=dict(
            **shapes, test_mode=True, pipeline=[*load, {**pack, 'meta_keys': keys}]
        ),
    ), dict(
        type='CocoMetric', ann_file=f'{data}/annotations/train.json',
        metric=['bbox', 'segm'] if masks else 'bbox',
    )  # fmt: skip


def _semantic(cfg: Any, data: str) -> tuple[dict, dict]:
    cfg.model.data_preprocessor.size = (SIZE, SIZE)
    cfg.model.test_cfg = dict(mode='whole')
    image, labels = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')
    resize = dict(type='Resize', scale=(SIZE, SIZE), keep_ratio=True)
    flip, pack = dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')
    shapes = dict(
        type='BaseSegDataset', data_root=data, img_suffix='.jpg', seg_map_suffix='.png',
        data_prefix=dict(img_path='train', seg_map_path='semantic/train'),
        metainfo=dict(classes=('background', *SHAPES)),
    )  # fmt: skip
    return dict(
        train=dict(**shapes, pipeline=[image, labels, resize, flip, pack]),
        val=dict(**shapes, pipeline=[image, resize, labels, pack]),
    ), dict(type='IoUMetric', iou_metrics=['mIoU'])


def learn(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Train one; return what its scalars say."""
    folder = args.results.parent / Path(name).stem
    folder.mkdir(parents=True, exist_ok=True)
    cfg = demo_config(name, str(args.data), args.steps, args.lr)
    file = folder / 'config.py'
    cfg.dump(str(file))
    start = time.monotonic()
    tool = [sys.executable, str(Path(__file__).with_name('train.py'))]
    command = [*tool, str(file), '--work-dir', str(folder), '--quiet']
    run = subprocess.run(command, check=False)
    seconds = time.monotonic() - start
    if run.returncode:
        raise BadInput(f'{name}: its training ended with exit status {run.returncode}')
    scalars = max(folder.glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for line in scalars.read_text('utf-8').splitlines()]
    losses = [row['loss'] for row in rows if 'loss' in row]
    keys = 'mIoU', 'coco/segm_mAP', 'coco/bbox_mAP'
    key = next(key for key in keys if any(key in row for row in rows))
    return dict(
        trained=name, steps=args.steps, seconds=round(seconds),
        loss=[losses[0], fmean(losses[-3:])], metric=key,
        values=[row[key] for row in rows if key in row],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('results', type=Path, help='file of JSON lines, continued; runs go beside it')
    add('names', nargs='+', help='such as mmdet::atss/atss_r50_fpn_1x_coco.py')
    add('--data', type=Path, default=Path('work_dirs/demo_16'))
    add('--steps', type=int, default=100)
    add('--lr', type=float, default=5e-4)
    args = parser.parse_args()
    for name in args.names:
        row = learn(name, args)
        print(json.dumps(row), flush=True)
        with args.results.open('a', encoding='utf-8') as file:
            file.write(json.dumps(row) + '\n')


if __name__ == '__main__':
    run_tool(main)
