"""RetinaNet on a mix-shift backbone; a leaf names the backbone's type and size."""

_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'

custom_imports = dict(imports=['mmmsmlp'], allow_failed_imports=False)

# Stages 2-4 only: an output that the FPN skips would leave its norm without gradient.
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmmsmlp.MSMLP',
        arch='tiny',
        drop_path_rate=0.2,
        out_indices=(1, 2, 3),
    ),
    neck=dict(in_channels=[192, 384, 768], start_level=0),
)
