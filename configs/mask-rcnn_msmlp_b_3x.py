_base_ = ['_base_/mask-rcnn.py', '_base_/coco-instance_3x.py']

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.3),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
