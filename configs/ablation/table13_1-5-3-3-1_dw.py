_base_ = '../_base_/msmlp-t-arch.py'

model = dict(backbone=dict(arch=dict(mix_sizes=[[1, 5, 3, 3, 1]] * 4)))
