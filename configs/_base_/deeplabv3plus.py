"""DeepLabV3+ on a mix-shift backbone; a leaf names the backbone's type and size.

At stride 32 where ResNet's dilated stages have 8, with dilations a quarter as wide.
"""

custom_imports = dict(imports=['mmmsmlp'], allow_failed_imports=False)

norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=(512, 512),
    ),
    backbone=dict(
        type='mmmsmlp.MSMLP', arch='tiny', drop_path_rate=0.2, out_indices=(0, 2, 3)
    ),
    decode_head=dict(
        type='DepthwiseSeparableASPPHead',
        in_channels=768,
        in_index=2,
        channels=512,
        dilations=(1, 3, 6, 9),
        c1_in_channels=96,
        c1_channels=48,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=384,
        in_index=1,
        channels=256,
        num_convs=1,
        concat_input=False,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', loss_weight=0.4),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
