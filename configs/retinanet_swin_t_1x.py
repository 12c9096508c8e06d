_base_ = 'retinanet_msmlp_t_1x.py'

model = dict(
    backbone=dict(
        _delete_=True, type='SwinTransformer', out_indices=(1, 2, 3), drop_path_rate=0.2
    )
)
