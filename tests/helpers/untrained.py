"""Configs of a small segmentor and a small classifier, to draw with."""

BACKBONE = """
custom_imports = dict(imports=['mmmsmlp'], allow_failed_imports=False)
backbone = dict(
    type='mmmsmlp.MSMLP', shift_dist=(0, 1), out_indices={outputs},
    arch=dict(embed_dims=8, depths=[1, 1, 1, 1], mix_sizes=[[1, 3]] * 4), {more})
"""
SEGMENTATION = (
    BACKBONE.format(outputs=(1,), more='')
    + """
default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder', backbone=backbone,
    data_preprocessor=dict(type='SegDataPreProcessor', size_divisor=32),
    decode_head=dict(type='FCNHead', in_channels=16, in_index=0, channels=8,
                     num_convs=1, num_classes=3, norm_cfg=dict(type='SyncBN')),
    test_cfg=dict(mode='whole'))
test_dataloader = dict(dataset=dict(type='BaseSegDataset', pipeline=[
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]))
visualizer = dict(type='SegLocalVisualizer', name='visualizer',
                  vis_backends=[dict(type='LocalVisBackend')])
"""
)
CLASSIFICATION = (
    BACKBONE.format(outputs=(3,), more='gap_before_final_norm=True')
    + """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier', backbone=backbone,
    data_preprocessor=dict(num_classes=3, mean=[0] * 3, std=[255] * 3),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=64,
              loss=dict(type='CrossEntropyLoss')))
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
"""
)
