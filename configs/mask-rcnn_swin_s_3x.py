_base_ = 'mask-rcnn_swin_t_3x.py'

model = dict(backbone=dict(depths=(2, 2, 18, 2)))
