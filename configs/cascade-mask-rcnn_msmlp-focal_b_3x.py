_base_ = 'cascade-mask-rcnn_msmlp_b_3x.py'

model = dict(backbone=dict(type='mmmsmlp.MSMLPFocal'))
