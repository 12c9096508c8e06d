_base_ = '../_base_/msmlp-t-arch.py'

model = dict(
    backbone=dict(
        arch=dict(mix_sizes=[[1, 1, 1, 1, 1]] * 4), shift_dist=[0, 1, 2, 3, 4]
    )
)
