"""Mask2Former on a mix-shift backbone, 50 epochs.

The optimizer is Mask2Former's own, whose backbone learns at a tenth of the rate.
"""

_base_ = 'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py'

custom_imports = dict(imports=['mmmsmlp'], allow_failed_imports=False)

model = dict(
    backbone=dict(_delete_=True, type='mmmsmlp.MSMLP', arch='tiny', drop_path_rate=0.2),
    panoptic_head=dict(in_channels=[96, 192, 384, 768]),
)
