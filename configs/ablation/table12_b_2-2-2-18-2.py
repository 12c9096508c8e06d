_base_ = 'table12_b_2-2-18-2.py'

model = dict(backbone=dict(patch_size=2))
