_base_ = 'upernet_msmlp_t_160k.py'

model = dict(backbone=dict(type='mmmsmlp.MSMLPFocal'))
