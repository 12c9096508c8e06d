"""The small RetinaNet of the quickstart for photos of your own, on a CPU.

    python tools/train.py configs/demo/retinanet_msmlp_photos.py --data FOLDER --try

Pictures are 320 pixels long in training and evaluation alike. It starts from random
weights: a falling loss shows that the data arrive, a good detector wants other weights.
"""

_base_ = './retinanet_msmlp_demo.py'

model = dict(
    neck=dict(num_outs=5),
    bbox_head=dict(anchor_generator=dict(strides=[8, 16, 32, 64, 128])),
)
max_epochs = 24
resize = dict(type='Resize', scale=(320, 320), keep_ratio=True)
boxes = dict(type='LoadAnnotations', with_bbox=True)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    boxes,
    resize,
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    resize,
    boxes,
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'),
    ),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=6)
default_hooks = dict(checkpoint=dict(interval=6, save_best='coco/bbox_mAP_50'))
