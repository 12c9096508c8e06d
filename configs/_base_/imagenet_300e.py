"""ImageNet-1K at 224x224 for 300 epochs with the paper's recipe (Sec. 4.1, A.1).

From mmpretrain's Swin recipe come what both share: the data, RandAugment
m9-mstd0.5-inc1, erasing 0.25, the 256/224 bicubic evaluation crop, AdamW 1e-3 with
weight decay 0.05 on matrices only. Decisions B1 (clipping), B3 (warm-up and floor).
"""

_base_ = [
    'mmpretrain::_base_/datasets/imagenet_bs64_swin_224.py',
    'mmpretrain::_base_/schedules/imagenet_bs1024_adamw_swin.py',
    'mmpretrain::_base_/default_runtime.py',
]

train_dataloader = dict(batch_size=128)  # 8 GPUs x 128 images
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=20, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-5,
        begin=20,
        end=300,
        convert_to_iter_based=True,
    ),
]
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3, save_best='auto'))
