_base_ = 'upernet_swin_t_160k.py'

model = dict(backbone=dict(depths=(2, 2, 18, 2)))
