_base_ = 'focal_t_300e.py'

model = dict(backbone=dict(arch='small', drop_path_rate=0.3))
