_base_ = ['../_base_/deeplabv3plus.py', '../_base_/ade20k_160k.py']

model = dict(backbone=dict(arch='tiny', drop_path_rate=0.2))
