"""DINO with four scales on a mix-shift backbone, 12 epochs on COCO.

The optimizer is DINO's own, whose backbone learns at a tenth of the rate.
"""

_base_ = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'

custom_imports = dict(imports=['mmmsmlp'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmsmlp.MSMLP',
        arch='tiny',
        drop_path_rate=0.2,
        out_indices=(1, 2, 3),
    ),
    neck=dict(in_channels=[192, 384, 768]),
)
