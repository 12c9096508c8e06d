"""The quickstart: a small RetinaNet that learns the demo shapes in minutes on a CPU."""

_base_ = [
    '../_base_/retinanet.py',
    '../_base_/demo_shapes.py',
    '../_base_/small-arch.py',
    '../_base_/schedule_demo.py',
]

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
