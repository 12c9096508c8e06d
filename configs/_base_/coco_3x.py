"""COCO 2017 boxes, 36 epochs, short side drawn from 480 to 800 (A.2; D2)."""

_base_ = ['mmdet::_base_/datasets/coco_detection.py', './schedule_3x.py']

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(
        type='RandomChoiceResize',
        scales=[(1333, side) for side in range(480, 801, 32)],
        keep_ratio=True,
    ),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
