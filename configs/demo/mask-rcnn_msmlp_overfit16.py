"""Mask R-CNN learns 16 COCO images by heart, in 75 minutes on one CPU core.

Evaluated on the images that it trains on: does the whole chain learn, boxes and masks?
GroupNorm in neck and mask head, a large layer scale and small images make it quick.
"""

_base_ = '../mask-rcnn_msmlp_t_1x.py'

max_epochs = 120
images = dict(
    ann_file='annotations/instances_overfit16.json', data_prefix=dict(img='train2017/')
)
norm_cfg = dict(type='GN', num_groups=32)
resize = dict(type='Resize', scale=(320, 192), keep_ratio=True)
load = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    resize,
]
model = dict(
    backbone=dict(layer_scale_init_value=1.0, drop_path_rate=0.0),
    neck=dict(norm_cfg=norm_cfg),
    rpn_head=dict(anchor_generator=dict(scales=[4])),
    roi_head=dict(mask_head=dict(norm_cfg=norm_cfg)),
    train_cfg=dict(rpn_proposal=dict(max_per_img=200), rcnn=dict(sampler=dict(num=64))),
)
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(
    **loader,
    batch_size=1,  # more steps for the same time
    dataset=dict(**images, pipeline=[*load, dict(type='PackDetInputs')]),
)
val_dataloader = dict(
    **loader,
    dataset=dict(
        **images,
        pipeline=[
            *load,
            dict(
                type='PackDetInputs',
                meta_keys=(
                    'img_id',
                    'img_path',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                ),
            ),
        ],
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='data/coco/annotations/instances_overfit16.json')
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(lr=3e-4), clip_grad=dict(max_norm=10.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=80),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=20)
default_hooks = dict(logger=dict(interval=16), checkpoint=dict(interval=20))
randomness = dict(seed=0)
