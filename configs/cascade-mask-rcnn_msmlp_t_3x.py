_base_ = ['_base_/cascade-mask-rcnn.py', '_base_/coco-instance_3x.py']

model = dict(backbone=dict(arch='tiny', drop_path_rate=0.2))
