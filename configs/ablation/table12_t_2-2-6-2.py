_base_ = '../_base_/msmlp-t-arch.py'

model = dict(backbone=dict(arch=dict(depths=[2, 2, 6, 2])))
