_base_ = 'mask-rcnn_swin_t_3x.py'

model = dict(
    backbone=dict(
        embed_dims=128,
        depths=(2, 2, 18, 2),
        num_heads=(4, 8, 16, 32),
        drop_path_rate=0.3,
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
