_base_ = 'retinanet_msmlp_s_1x.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        depths=(2, 2, 18, 2),
        out_indices=(1, 2, 3),
        drop_path_rate=0.2,
    )
)
