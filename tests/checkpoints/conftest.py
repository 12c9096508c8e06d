"""A small backbone with weights of its own, and files of it in every layout."""

from types import SimpleNamespace

import pytest
import torch

from mmmsmlp import MSMLP
from tests.helpers.table2 import REGIONS

ARCH = dict(embed_dims=20, depths=[1, 1, 2, 1], mix_sizes=[REGIONS[0]] * 4)
# Where a test goes through every tensor in turn.
MINIMAL = dict(
    arch=dict(embed_dims=4, depths=[1, 1, 2, 1], mix_sizes=[[1, 3]] * 4),
    shift_dist=(0, 1),
)


def build(**kwargs):
    """Build a backbone whose values differ from those of any other."""
    net = MSMLP(**{'arch': ARCH, **kwargs})
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_()
    return net


def authors_state(net):
    """Write a backbone's weights under the authors' own key names, with their head."""
    state = {}
    for key, tensor in net.state_dict().items():
        parts = key.split('.')
        if key == 'geometry' or parts[0] in ('norm0', 'norm1', 'norm2'):
            continue
        if parts[0] == 'norm3':
            state[f'norm.{parts[1]}'] = tensor
        elif parts[2] == 'embed' and parts[1] == '0':
            state['.'.join(['patch_embed', *parts[3:]])] = tensor
        elif parts[2] == 'embed':
            layer = str(int(parts[1]) - 1)
            state['.'.join(['layers', layer, 'downsample', *parts[3:]])] = tensor
        else:
            names = {'fc1': 'pwconv1', 'fc2': 'pwconv2'}
            if parts[4] == 'mix':
                branch = {'horizontal': 'dwconv_lr', 'vertical': 'dwconv_td'}[parts[5]]
                parts[4:6] = [branch]
            rest = [names.get(part, part) for part in parts[4:]]
            state['.'.join(['layers', parts[1], 'blocks', parts[3], *rest])] = tensor
    width = net.norm3.weight.numel()
    return {**state, 'head.weight': torch.ones(7, width), 'head.bias': torch.ones(7)}


@pytest.fixture
def tiny(tmp_path):
    """The tools above, and ``save``, which writes a file and returns its path."""

    def save(content, name='weights.pth', **kwargs):
        torch.save(content, tmp_path / name, **kwargs)
        return str(tmp_path / name)

    return SimpleNamespace(
        arch=ARCH,
        minimal=MINIMAL,
        build=build,
        authors_state=authors_state,
        save=save,
        folder=tmp_path,
    )


def assert_same_weights(actual, expected, skip=()):
    """Compare two backbones tensor by tensor."""
    own, other = actual.state_dict(), expected.state_dict()
    assert set(own) == set(other)
    for key, tensor in own.items():
        if not key.startswith(tuple(skip)):
            assert torch.equal(tensor, other[key]), key


@pytest.fixture
def same_weights():
    return assert_same_weights
