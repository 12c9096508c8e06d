_base_ = 'upernet_msmlp_b_160k.py'

model = dict(backbone=dict(type='mmmsmlp.MSMLPSwin'))
