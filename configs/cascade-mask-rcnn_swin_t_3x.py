_base_ = 'cascade-mask-rcnn_msmlp_t_3x.py'

model = dict(backbone=dict(_delete_=True, type='SwinTransformer', drop_path_rate=0.2))
