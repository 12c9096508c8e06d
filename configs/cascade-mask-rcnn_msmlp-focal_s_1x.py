_base_ = 'cascade-mask-rcnn_msmlp_s_1x.py'

model = dict(backbone=dict(type='mmmsmlp.MSMLPFocal'))
