"""An ImageNet classifier on a mix-shift backbone; a leaf names its type and size.

MS-MLP averages the tokens and then norms (A14), so there is no neck. The released code
mixes every batch, by MixUp or CutMix with equal odds (B5).
"""

custom_imports = dict(imports=['mmmsmlp'], allow_failed_imports=False)

model = dict(
    type='ImageClassifier',
    backbone=dict(
        type='mmmsmlp.MSMLP',
        arch='tiny',
        drop_path_rate=0.2,
        out_indices=(3,),
        gap_before_final_norm=True,
    ),
    head=dict(
        type='LinearClsHead',
        num_classes=1000,
        in_channels=768,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
    ),
    train_cfg=dict(
        augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
    ),
)
