_base_ = 'retinanet_msmlp_s_1x.py'

model = dict(backbone=dict(type='mmmsmlp.MSMLPSwin'))
