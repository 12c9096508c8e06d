"""A small UperNet on the generated shapes: background and four classes.

The data: python tools/make_demo_data.py work_dirs/demo_semantic --semantic
"""

_base_ = [
    '../_base_/upernet.py',
    '../_base_/ade20k_160k.py',
    '../_base_/small-arch.py',
]

iterations = 600
model = dict(
    data_preprocessor=dict(size=(160, 160)),
    backbone=dict(
        arch=dict(_delete_=True, **_base_.small_arch),
        layer_scale_init_value=1e-2,
        drop_path_rate=0.0,
    ),
    decode_head=dict(in_channels=[40, 80, 160, 320], channels=64, num_classes=5),
    auxiliary_head=dict(in_channels=160, channels=32, num_classes=5),
)
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
flip = dict(type='RandomFlip', prob=0.5)
pack = dict(type='PackSegInputs')
shapes = dict(
    type='BaseSegDataset',
    data_root='work_dirs/demo_semantic',
    img_suffix='.jpg',
    seg_map_suffix='.png',
    metainfo=dict(
        classes=('background', 'circle', 'square', 'triangle', 'star'),
        palette=[
            [0, 0, 0], [230, 80, 60], [60, 150, 230], [250, 190, 40], [120, 200, 90]
        ],
    ),
)  # fmt: skip
train = dict(img_path='train', seg_map_path='semantic/train')
val = dict(img_path='val', seg_map_path='semantic/val')
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(**shapes, data_prefix=train, pipeline=[*load, flip, pack]),
)
test_pipeline = [*load, pack]  # by this name, which mmseg's inference_model reads
val_dataloader = dict(
    num_workers=1, dataset=dict(**shapes, data_prefix=val, pipeline=test_pipeline)
)
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='PolyLR', power=1.0, by_epoch=False, begin=50, end=iterations),
]
train_cfg = dict(max_iters=iterations, val_interval=iterations // 3)
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(interval=iterations // 3)
)
randomness = dict(seed=0)
