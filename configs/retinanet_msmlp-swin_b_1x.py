_base_ = 'retinanet_msmlp_b_1x.py'

model = dict(backbone=dict(type='mmmsmlp.MSMLPSwin'))
