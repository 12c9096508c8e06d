"""A small MS-MLP on ten classes of ImageNet at 96x96: a classifier in minutes on a CPU.

The four configurations of the paper's Table 9 were compared with it.
"""

_base_ = ['../_base_/imagenet-classifier.py', '../_base_/imagenet-10.py']

max_epochs = 24
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=32,
            depths=[1, 1, 3, 1],
            mix_sizes=[[1, 1, 3, 5, 7]] * 4,
        ),
        shift_dist=[0, 1, 2, 3, 4],
        drop_path_rate=0.0,
        layer_scale_init_value=1.0,
    ),
    head=dict(num_classes=10, in_channels=256),
    data_preprocessor=dict(
        num_classes=10,
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        to_rgb=True,
    ),
    train_cfg=None,
)

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
    clip_grad=dict(max_norm=5.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        T_max=max_epochs,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=1)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    logger=dict(interval=25), checkpoint=dict(interval=max_epochs, max_keep_ckpts=2)
)
randomness = dict(seed=0)
