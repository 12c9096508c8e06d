_base_ = '../_base_/atss.py'

model = dict(backbone=dict(arch='tiny', drop_path_rate=0.2))
