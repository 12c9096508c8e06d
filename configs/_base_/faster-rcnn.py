"""Faster R-CNN on a mix-shift backbone; a leaf names the backbone's type and size."""

_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

custom_imports = dict(imports=['mmmsmlp'], allow_failed_imports=False)

model = dict(
    backbone=dict(_delete_=True, type='mmmsmlp.MSMLP', arch='tiny', drop_path_rate=0.2),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
