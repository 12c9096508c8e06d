_base_ = '../_base_/mask2former.py'

model = dict(backbone=dict(arch='tiny', drop_path_rate=0.2))
