_base_ = 'table9_regional_patch4.py'

model = dict(backbone=dict(patch_size=2))
