_base_ = 'cascade-mask-rcnn_msmlp_b_1x.py'

model = dict(backbone=dict(type='mmmsmlp.MSMLPSwin'))
