_base_ = 'mask-rcnn_msmlp_s_1x.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='SwinTransformer',
        depths=(2, 2, 18, 2),
        drop_path_rate=0.2,
    )
)
