_base_ = '../_base_/msmlp-t-arch.py'

model = dict(
    backbone=dict(arch=dict(embed_dims=128, depths=[2, 2, 18, 2]), drop_path_rate=0.5),
    head=dict(in_channels=1024),
)
