_base_ = '../_base_/rtmdet.py'

model = dict(backbone=dict(arch='tiny', drop_path_rate=0.2))
