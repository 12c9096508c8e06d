"""The quickstart: a small RetinaNet that learns the demo shapes in minutes on a CPU."""

_base_ = [
    '../_base_/retinanet.py',
    '../_base_/demo_shapes.py',
    '../_base_/small-arch.py',
    'mmdet::_base_/default_runtime.py',
]

max_epochs = 6
norm_cfg = dict(type='GN', num_groups=8)

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmsmlp.MSMLP',
        arch=_base_.small_arch,
        layer_scale_init_value=1.0,
        out_indices=(1, 2, 3),
    ),
    neck=dict(
        in_channels=[80, 160, 320], out_channels=96, num_outs=4, norm_cfg=norm_cfg
    ),
    bbox_head=dict(
        num_classes=4,
        in_channels=96,
        feat_channels=96,
        stacked_convs=2,
        norm_cfg=norm_cfg,
        # Half of RetinaNet's anchor sizes: the smallest shapes are 19 pixels wide.
        anchor_generator=dict(octave_base_scale=2, strides=[8, 16, 32, 64]),
    ),
)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={'gamma': dict(decay_mult=0.0)},
    ),
    clip_grad=dict(max_norm=10),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=max_epochs
)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(interval=max_epochs, max_keep_ckpts=2)
)
randomness = dict(seed=0)
