"""Reading the golden outputs of the reference implementations (tests/data/golden)."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parents[1] / 'data' / 'golden'


@dataclass
class Golden:
    """A golden file: ``weights`` in the reference's key names, and its outputs."""

    meta: dict
    weights: dict
    x: torch.Tensor
    outputs: dict

    @property
    def stages(self):
        return [self.outputs[f'stage{i}'] for i in range(1, 5)]

    @property
    def arch(self):
        """The architecture as our constructors take it."""
        meta = self.meta
        arch = dict(embed_dims=meta['embed_dim'], depths=meta['depths'])
        if 'mix_size' in meta:
            return dict(arch, mix_sizes=meta['mix_size'])
        for name in ('num_heads', 'window_size', 'focal_levels', 'focal_windows'):
            arch[name] = meta[name]
        # At 224 the reference drops the last stage's expansion, and with it its table.
        last = 0 if meta['input_shape'][-1] == 224 else 3
        return dict(arch, expand_sizes=[3, 3, 3, last])


def load_golden(name: str) -> Golden:
    """Draw the weights and the input of ``name`` by the recipe of its README."""
    with np.load(FOLDER / f'{name}.npz') as file:
        meta = json.loads(str(file['meta']))
        outputs = {
            key: torch.from_numpy(file[key]) for key in file.files if key != 'meta'
        }
    draw = np.random.RandomState(meta['seed']).standard_normal
    weights = {
        key: torch.from_numpy((offset + scale * draw(tuple(shape))).astype('float32'))
        for key, shape, offset, scale in meta['params']
    }
    draw = np.random.RandomState(meta['input_seed']).standard_normal
    x = torch.from_numpy(draw(meta['input_shape']).astype('float32'))
    return Golden(meta, weights, x, outputs)


def assert_close(actual, expected, rtol=1e-4):
    """Agreement relative to the largest magnitude of ``expected``."""
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error < rtol, f'relative error {error:.2e} exceeds {rtol:.0e}'
