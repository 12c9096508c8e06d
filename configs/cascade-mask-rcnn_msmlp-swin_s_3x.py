_base_ = 'cascade-mask-rcnn_msmlp_s_3x.py'

model = dict(backbone=dict(type='mmmsmlp.MSMLPSwin'))
