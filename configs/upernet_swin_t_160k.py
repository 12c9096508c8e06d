_base_ = 'upernet_msmlp_t_160k.py'

model = dict(backbone=dict(_delete_=True, type='SwinTransformer', drop_path_rate=0.2))
