_base_ = ['_base_/upernet.py', '_base_/ade20k_160k.py']

model = dict(backbone=dict(arch='tiny'))
