_base_ = ['_base_/cascade-mask-rcnn.py', '_base_/coco-instance_1x.py']

model = dict(backbone=dict(arch='small', drop_path_rate=0.2))
