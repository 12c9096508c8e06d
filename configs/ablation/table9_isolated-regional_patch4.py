_base_ = '../_base_/msmlp-t-arch.py'

model = dict(
    backbone=dict(
        arch=dict(mix_sizes=[[1, 1, 3, 5, 7]] * 4), shift_dist=[0, 2, 5, 10, 17]
    )
)
