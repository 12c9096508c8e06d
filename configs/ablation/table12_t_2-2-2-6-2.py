_base_ = 'table12_t_2-2-6-2.py'

model = dict(backbone=dict(patch_size=2))
