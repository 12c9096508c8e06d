_base_ = '../swin_t_300e.py'

model = dict(backbone=dict(patch_size=2))
