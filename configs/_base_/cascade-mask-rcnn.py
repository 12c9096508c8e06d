"""Cascade Mask R-CNN on a mix-shift backbone; a leaf names its type and size.

The form of Table 11's peers: each of the three box heads has four normed convolutions
and a fully connected layer, decodes its boxes and learns them by GIoU, class by class.
"""

_base_ = 'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py'

custom_imports = dict(imports=['mmmsmlp'], allow_failed_imports=False)

model = dict(
    backbone=dict(_delete_=True, type='mmmsmlp.MSMLP', arch='tiny', drop_path_rate=0.2),
    neck=dict(in_channels=[96, 192, 384, 768]),
    roi_head=dict(
        bbox_head=[
            dict(
                type='Shared4Conv1FCBBoxHead',
                in_channels=256,
                roi_feat_size=7,
                num_classes=80,
                norm_cfg=dict(type='SyncBN', requires_grad=True),
                bbox_coder=dict(
                    type='DeltaXYWHBBoxCoder',
                    target_means=[0.0, 0.0, 0.0, 0.0],
                    target_stds=[center, center, size, size],
                ),
                reg_decoded_bbox=True,
                loss_cls=dict(type='CrossEntropyLoss'),
                loss_bbox=dict(type='GIoULoss', loss_weight=10.0),
            )
            for center, size in ((0.1, 0.2), (0.05, 0.1), (0.033, 0.067))
        ]
    ),
)
