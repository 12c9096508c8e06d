_base_ = ['_base_/imagenet-classifier.py', '_base_/imagenet_300e.py']

model = dict(backbone=dict(arch='tiny', drop_path_rate=0.2))
