"""The architecture of the demos' MS-MLP: Table 2's mix sizes on 40 channels."""

small_arch = dict(
    embed_dims=40,
    depths=[2, 2, 4, 2],
    mix_sizes=[
        [1, 1, 3, 5, 7],
        [1, 3, 3, 5, 7],
        [1, 5, 5, 5, 7],
        [1, 7, 7, 7, 7],
    ],
)
