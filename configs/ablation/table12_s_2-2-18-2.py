_base_ = '../_base_/msmlp-t-arch.py'

model = dict(backbone=dict(arch=dict(depths=[2, 2, 18, 2]), drop_path_rate=0.3))
