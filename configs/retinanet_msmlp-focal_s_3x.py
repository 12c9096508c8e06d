_base_ = 'retinanet_msmlp_s_3x.py'

model = dict(backbone=dict(type='mmmsmlp.MSMLPFocal'))
