_base_ = ['_base_/retinanet.py', '_base_/coco_3x.py']

model = dict(backbone=dict(arch='tiny', drop_path_rate=0.2))
