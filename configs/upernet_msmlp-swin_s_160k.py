_base_ = 'upernet_msmlp_s_160k.py'

model = dict(backbone=dict(type='mmmsmlp.MSMLPSwin'))
