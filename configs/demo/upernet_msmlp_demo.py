"""A small UperNet on the generated shapes: background and four classes.

The data: python tools/make_demo_data.py work_dirs/demo_semantic --semantic
"""

_base_ = [
    '../_base_/upernet.py',
    '../_base_/demo_semantic.py',
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
optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=5.0))
auto_scale_lr = dict(base_batch_size=8)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type='PolyLR', power=1.0, by_epoch=False, begin=50, end=iterations),
]
train_cfg = dict(max_iters=iterations, val_interval=iterations // 3)
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(interval=iterations // 3)
)
randomness = dict(seed=0)
