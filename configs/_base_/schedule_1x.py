"""12 epochs with the paper's AdamW, and the runtime (A.2; D2, D5, D6, D7)."""

_base_ = [
    'mmdet::_base_/schedules/schedule_1x.py',
    'mmdet::_base_/default_runtime.py',
]

optim_wrapper = dict(
    optimizer=dict(
        _delete_=True, type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05
    ),
    paramwise_cfg=dict(
        norm_decay_mult=0.0,
        bias_decay_mult=0.0,
        custom_keys={
            'gamma': dict(decay_mult=0.0),
            'relative_position_bias_table': dict(decay_mult=0.0),
        },
    ),
)
auto_scale_lr = dict(base_batch_size=16)  # 8 GPUs x 2 images
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3, save_best='auto'))
