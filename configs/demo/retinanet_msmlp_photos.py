"""The small RetinaNet of the quickstart for photos of your own, on a CPU.

    python tools/train.py configs/demo/retinanet_msmlp_photos.py --data FOLDER --try

Pictures are 320 pixels long in training and evaluation alike. It starts from random
weights: a falling loss shows that the data arrive, a good detector wants other weights.
"""

_base_ = './retinanet_msmlp_demo.py'

model = dict(
    neck=dict(num_outs=5),
    bbox_head=dict(anchor_generator=dict(strides=[8, 16, 32, 64, 128])),
)
max_epochs = 24
size = (320, 320)
train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = size
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(T_max=max_epochs, end=max_epochs)
train_cfg = dict(max_epochs=max_epochs, val_interval=6)
default_hooks = dict(checkpoint=dict(interval=6, save_best='coco/bbox_mAP_50'))
