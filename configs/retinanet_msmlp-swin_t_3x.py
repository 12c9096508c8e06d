_base_ = 'retinanet_msmlp_t_3x.py'

model = dict(backbone=dict(type='mmmsmlp.MSMLPSwin'))
