_base_ = ['../_base_/faster-rcnn.py', '../_base_/coco_1x.py']

model = dict(backbone=dict(arch='tiny', drop_path_rate=0.2))
