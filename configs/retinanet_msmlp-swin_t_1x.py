_base_ = 'retinanet_msmlp_t_1x.py'

model = dict(backbone=dict(type='mmmsmlp.MSMLPSwin'))
