"""Do the authors' keys get their names here, every one or none?"""

import pytest
import torch

from mmmsmlp.checkpoints.keys import MSMLP, find_family
from mmmsmlp.errors import CheckpointError
from tests.helpers.golden import load_golden

NAMES = {
    'patch_embed.proj.weight': 'stages.0.embed.proj.weight',
    'patch_embed.norm.bias': 'stages.0.embed.norm.bias',
    'layers.0.downsample.proj.bias': 'stages.1.embed.proj.bias',
    'layers.2.downsample.norm.weight': 'stages.3.embed.norm.weight',
    'layers.1.blocks.2.dwconv_lr.0.weight': 'stages.1.blocks.2.mix.horizontal.0.weight',
    'layers.2.blocks.26.dwconv_td.4.bias': 'stages.2.blocks.26.mix.vertical.4.bias',
    'layers.0.blocks.1.pwconv1.weight': 'stages.0.blocks.1.fc1.weight',
    'layers.0.blocks.1.pwconv2.bias': 'stages.0.blocks.1.fc2.bias',
    'layers.3.blocks.0.norm.weight': 'stages.3.blocks.0.norm.weight',
    'layers.3.blocks.0.gamma': 'stages.3.blocks.0.gamma',
    'norm.weight': 'norm3.weight',
    'head.bias': 'head.fc.bias',
}


@pytest.mark.parametrize(('theirs', 'ours'), NAMES.items())
def test_names(theirs, ours):
    assert MSMLP.rename(theirs) == ours


def test_every_tensor_of_the_model(tiny):
    net = tiny.build(geometry='released', out_indices=(3,))
    mapped = MSMLP.apply(tiny.authors_state(tiny.build(out_indices=(3,))))
    head = {'head.fc.weight', 'head.fc.bias'}
    assert set(mapped) - head == set(net.state_dict()) - {'geometry'}


def test_golden_keys():
    weights = load_golden('msmlp_released_64x64').weights
    assert find_family(weights) is MSMLP
    assert len(MSMLP.apply(weights)) == len(weights)


def test_values_stay(tiny):
    weights = load_golden('msmlp_released_64x64').weights
    mapped = MSMLP.apply(weights)
    for theirs, tensor in weights.items():
        assert mapped[MSMLP.rename(theirs)] is tensor


@pytest.mark.parametrize(
    'key',
    ['layers.0.blocks.0.attn.qkv.weight', 'norm.running_mean', 'head.fc.bias', 'x'],
)
def test_unknown_keys_are_refused(key):
    weights = {**dict.fromkeys(NAMES, torch.ones(1)), key: torch.ones(1)}
    with pytest.raises(CheckpointError, match=f'1 of them are unknown in it: {key}'):
        MSMLP.apply(weights)


def test_other_families():
    assert find_family(NAMES.values()) is None
    assert find_family(['layers.0.blocks.0.attn.qkv.weight', 'norm.weight']) is None
