"""CamVid at 240x180 from random weights, in 35 minutes on one CPU core.

Narrower heads and a large layer scale, since a thousand iterations are too few to grow
one from 1e-6; otherwise the recipe of :file:`upernet_msmlp_t_camvid.py`.
"""

_base_ = '../upernet_msmlp_t_camvid.py'

iterations = 1000
size = (160, 160)
model = dict(
    data_preprocessor=dict(size=size),
    backbone=dict(layer_scale_init_value=1.0, drop_path_rate=0.0),
    decode_head=dict(channels=96),
    auxiliary_head=dict(channels=64),
)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations'),
            dict(
                type='RandomResize',
                scale=(2048, 180),
                ratio_range=(0.75, 1.5),
                keep_ratio=True,
            ),
            dict(type='RandomCrop', crop_size=size, cat_max_ratio=0.75),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackSegInputs'),
        ]
    ),
)
# By this name, which mmseg's inference_model reads.
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 180), keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(pipeline=test_pipeline),
)
test_dataloader = val_dataloader
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(
                    type='Resize',
                    scale=(512 * quarters, 45 * quarters),
                    keep_ratio=True,
                )
                for quarters in (2, 3, 4, 5, 6, 7)
            ],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=5.0))
auto_scale_lr = dict(base_batch_size=8)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='PolyLR', eta_min=0.0, power=1.0, begin=50, end=iterations, by_epoch=False
    ),
]
train_cfg = dict(max_iters=iterations, val_interval=iterations // 5)
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(interval=iterations // 5)
)
randomness = dict(seed=0)
