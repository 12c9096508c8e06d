_base_ = 'retinanet_swin_t_1x.py'

model = dict(backbone=dict(depths=(2, 2, 18, 2)))
