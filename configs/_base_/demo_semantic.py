"""The generated shapes as label maps: background and four classes.

What ``tools/make_demo_data.py work_dirs/demo_semantic --semantic`` writes.
"""

_base_ = './ade20k_160k.py'

load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
flip = dict(type='RandomFlip', prob=0.5)
pack = dict(type='PackSegInputs')
shapes = dict(
    type='BaseSegDataset',
    data_root='work_dirs/demo_semantic',
    img_suffix='.jpg',
    seg_map_suffix='.png',
    metainfo=dict(
        classes=('background', 'circle', 'square', 'triangle', 'star'),
        palette=[
            [0, 0, 0], [230, 80, 60], [60, 150, 230], [250, 190, 40], [120, 200, 90]
        ],
    ),
)  # fmt: skip
train = dict(img_path='train', seg_map_path='semantic/train')
val = dict(img_path='val', seg_map_path='semantic/val')
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    dataset=dict(**shapes, data_prefix=train, pipeline=[*load, flip, pack]),
)
test_pipeline = [*load, pack]  # by this name, which mmseg's inference_model reads
val_dataloader = dict(
    num_workers=1, dataset=dict(**shapes, data_prefix=val, pipeline=test_pipeline)
)
test_dataloader = val_dataloader
