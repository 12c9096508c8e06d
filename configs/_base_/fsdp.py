"""An option: shard weights, gradients and optimizer state over the processes (FSDP).

A checkpoint holds the whole model, as without it.
"""

runner_type = 'mmmsmlp.ShardedRunner'
strategy = dict(
    type='mmmsmlp.FSDPStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel',
        use_orig_params=True,
        auto_wrap_policy='mmmsmlp.wrap_blocks',
    ),
)
