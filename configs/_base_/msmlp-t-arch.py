"""MS-MLP-T with its architecture spelled out (Table 2), for ablations to change."""

_base_ = ['./imagenet-classifier.py', './imagenet_300e.py']

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=96,
            depths=[3, 3, 9, 3],
            mix_sizes=[
                [1, 1, 3, 5, 7],
                [1, 3, 3, 5, 7],
                [1, 5, 5, 5, 7],
                [1, 7, 7, 7, 7],
            ],
        )
    )
)
