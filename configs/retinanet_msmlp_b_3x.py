_base_ = ['_base_/retinanet.py', '_base_/coco_3x.py']

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.3),
    neck=dict(in_channels=[256, 512, 1024]),
)
