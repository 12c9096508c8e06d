_base_ = ['../_base_/mask2former-semantic.py', '../_base_/ade20k_160k.py']

model = dict(backbone=dict(arch='tiny', drop_path_rate=0.2))
keys = ['query_embed', 'query_feat', 'level_embed']  # Mask2Former's recipe, at one rate
optim_wrapper = dict(
    optimizer=dict(lr=1e-4, weight_decay=0.05),
    clip_grad=dict(max_norm=0.01),
    paramwise_cfg=dict(custom_keys={key: dict(decay_mult=0.0) for key in keys}),
)
