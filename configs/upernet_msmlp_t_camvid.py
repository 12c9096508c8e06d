"""A data set of one's own, worked out on CamVid's 11 classes (docs/segmentation.md)."""

_base_ = 'upernet_msmlp_t_160k.py'

camvid = dict(
    type='BaseSegDataset',
    data_root='data/camvid',
    metainfo=dict(
        classes=(
            'sky', 'building', 'pole', 'road', 'pavement', 'tree',
            'signsymbol', 'fence', 'car', 'pedestrian', 'bicyclist',
        ),
        palette=[
            [128, 128, 128], [128, 0, 0], [192, 192, 128], [128, 64, 128],
            [0, 0, 192], [128, 128, 0], [192, 128, 128], [64, 64, 128],
            [64, 0, 128], [64, 64, 0], [0, 128, 192],
        ],
    ),
)  # fmt: skip
train = dict(img_path='images/train', seg_map_path='annotations/train')
val = dict(img_path='images/val', seg_map_path='annotations/val')
train_dataloader = dict(dataset=dict(**camvid, data_prefix=train))
val_dataloader = dict(dataset=dict(**camvid, data_prefix=val))
test_dataloader = val_dataloader
model = dict(decode_head=dict(num_classes=11), auxiliary_head=dict(num_classes=11))
