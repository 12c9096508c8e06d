_base_ = ['_base_/mask-rcnn.py', '_base_/coco-instance_3x.py']

model = dict(backbone=dict(arch='small', drop_path_rate=0.2))
