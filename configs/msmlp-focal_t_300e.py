_base_ = ['_base_/imagenet-host-classifier.py', '_base_/imagenet_300e.py']

model = dict(backbone=dict(type='mmmsmlp.MSMLPFocal', arch='tiny', drop_path_rate=0.2))
