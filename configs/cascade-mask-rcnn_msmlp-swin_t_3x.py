_base_ = 'cascade-mask-rcnn_msmlp_t_3x.py'

model = dict(backbone=dict(type='mmmsmlp.MSMLPSwin'))
