"""tools/train.py and tools/test.py on a segmentor and on a classifier."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

SHARED = """
custom_imports = dict(imports=['mmmsmlp'], allow_failed_imports=False)
backbone = dict(
    type='mmmsmlp.MSMLP', shift_dist=(0, 1), out_indices=OUTPUTS,
    arch=dict(embed_dims=8, depths=[1, 1, 1, 1], mix_sizes=[[1, 3]] * 4), **MORE)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4))
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = test_cfg = dict()
loader = dict(batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler',
                                                        shuffle=False))
"""
SEGMENTATION = (
    """
OUTPUTS, MORE = (1,), dict()
"""
    + SHARED
    + """
default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder', backbone=backbone,
    data_preprocessor=dict(type='SegDataPreProcessor', size=(64, 64), seg_pad_val=255,
                           pad_val=0, test_cfg=dict(size_divisor=32)),
    decode_head=dict(type='FCNHead', in_channels=16, in_index=0, channels=8,
                     num_convs=1, num_classes=2, norm_cfg=dict(type='SyncBN')),
    test_cfg=dict(mode='whole'))
dataset = dict(
    type='BaseSegDataset', data_root='DATA', img_suffix='.png', seg_map_suffix='.png',
    data_prefix=dict(img_path='images', seg_map_path='maps'),
    metainfo=dict(classes=('dark', 'bright'), palette=[[0, 0, 0], [255, 255, 255]]),
    pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
              dict(type='PackSegInputs')])
train_dataloader = dict(**loader, dataset=dataset)
val_dataloader = test_dataloader = {**train_dataloader, 'batch_size': 1}
val_evaluator = test_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
default_hooks = dict(visualization=dict(type='SegVisualizationHook'))
visualizer = dict(type='SegLocalVisualizer', name='visualizer',
                  vis_backends=[dict(type='LocalVisBackend')])
"""
)
CLASSIFICATION = (
    """
OUTPUTS, MORE = (3,), dict(gap_before_final_norm=True)
"""
    + SHARED
    + """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier', backbone=backbone,
    data_preprocessor=dict(num_classes=2, mean=[0] * 3, std=[255] * 3),
    head=dict(type='LinearClsHead', num_classes=2, in_channels=64,
              loss=dict(type='CrossEntropyLoss')))
dataset = dict(
    type='CustomDataset', data_root='DATA', data_prefix='classes',
    pipeline=[dict(type='LoadImageFromFile'), dict(type='Resize', scale=32),
              dict(type='PackInputs')])
train_dataloader = dict(**loader, dataset=dataset)
val_dataloader = test_dataloader = train_dataloader
val_evaluator = test_evaluator = dict(type='Accuracy', topk=1)
default_hooks = dict(visualization=dict(type='VisualizationHook'))
visualizer = dict(type='UniversalVisualizer')
"""
)
CASES = dict(
    segmentation=(SEGMENTATION, 'mIoU', ('dark', 'bright')),
    classification=(CLASSIFICATION, 'accuracy/top1', ('dark', 'light')),
)


@pytest.fixture
def pictures(tmp_path):
    """Four images with label maps, and the same images in one folder a class."""
    rng = np.random.default_rng(0)
    for i in range(4):
        labels = (rng.random((48, 48)) > 0.2 + 0.2 * i).astype(np.uint8)
        image = Image.fromarray(np.repeat(labels[..., None] * 200, 3, 2))
        for path in ('images', 'maps', f'classes/{"dark" if i > 1 else "light"}'):
            folder = tmp_path / path
            folder.mkdir(parents=True, exist_ok=True)
            content = Image.fromarray(labels) if path == 'maps' else image
            content.save(folder / f'{i}.png')
    return tmp_path


@pytest.mark.full
@pytest.mark.parametrize('task', CASES)
def test_train_and_evaluate(run_tool, pictures, task):
    text, metric, classes = CASES[task]
    (pictures / 'c.py').write_text(text.replace('DATA', str(pictures)))
    code, out, err = run_tool('train.py', 'c.py', '--work-dir', 'run')
    assert code == 0, err
    assert ('SyncBN became BN in 1 places' in out + err) == (task == 'segmentation')
    checkpoint = torch.load('run/epoch_1.pth', weights_only=True)
    assert tuple(checkpoint['meta']['dataset_meta']['classes']) == classes
    code, out, err = run_tool(
        'test.py', 'c.py', 'run/epoch_1.pth', '--metrics', 'm.json', '--out', 'p.pkl',
        '--show-dir', 'shown', '--confusion', 'c.png', '--classwise',
    )  # fmt: skip
    assert code == 0, err
    assert 'c.png: ' in out and Image.open('c.png').size > (300, 300)
    if task == 'classification':
        found = re.findall(r'^(dark|light) +(\d+) +\S+ +(\d+\.\d) ', out, re.M)
        assert [(name, int(n)) for name, n, _ in found] == [('dark', 2), ('light', 2)]
        recalls = [float(recall) for *_, recall in found]
        top1 = json.loads((pictures / 'm.json').read_text())['accuracy/top1']
        assert np.mean(recalls) == pytest.approx(top1)
    assert len([p for p in (pictures / 'shown').rglob('*.png')]) == 4
    metrics = json.loads((pictures / 'm.json').read_text())
    assert 0 <= metrics[metric] <= 100
    assert (pictures / 'p.pkl').stat().st_size > 100


@pytest.mark.parametrize('task', CASES)
def test_data_that_does_not_exist(run_tool, pictures, task):
    text = CASES[task][0]
    (pictures / 'c.py').write_text(text.replace('DATA', f'{pictures}/none'))
    code, _, err = run_tool('train.py', 'c.py')
    assert code == 2 and f'{pictures}/none does not exist' in err
