"""Is a model evaluated only if every tensor of it comes from the file?"""

import re

import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from mmmsmlp.checkpoints import load_whole, vet_toolbox_backbone
from mmmsmlp.errors import CheckpointError, GeometryError


class Detector(BaseModule):
    """A backbone, and a head with a buffer."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2))


def test_load_whole(tiny, same_weights):
    source, target = Detector(tiny.build()), Detector(tiny.build())
    meta = {'dataset_meta': {'classes': ('cat',)}}
    file = tiny.save({'state_dict': source.state_dict(), 'meta': meta})
    assert load_whole(target, file) == meta
    same_weights(target, source)


def test_any_missing_tensor(tiny):
    source, target = (Detector(tiny.build(**tiny.minimal)) for _ in range(2))
    before = {key: value.clone() for key, value in target.state_dict().items()}
    for key in before:
        state = source.state_dict()
        del state[key]
        match = 'state no geometry' if key == 'backbone.geometry' else re.escape(key)
        with pytest.raises(CheckpointError, match=match):
            load_whole(target, tiny.save({'state_dict': state}))
    for key, value in target.state_dict().items():
        assert torch.equal(value, before[key])


def test_backbone_is_no_detector(tiny):
    target = Detector(tiny.build())
    state = {f'backbone.{k}': v for k, v in tiny.build().state_dict().items()}
    for content in (state, tiny.build().state_dict()):
        file = tiny.save({'state_dict': content})
        with pytest.raises(CheckpointError, match='train it first'):
            load_whole(target, file)


def test_other_shape(tiny):
    state = Detector(tiny.build()).state_dict()
    state['head.0.weight'] = torch.ones(80, 4)
    match = r'head.0.weight is \(80, 4\) in the file and \(2, 4\) in the model'
    with pytest.raises(CheckpointError, match=match):
        load_whole(Detector(tiny.build()), tiny.save({'state_dict': state}))


def test_geometry(tiny):
    target = Detector(tiny.build())
    before = target.head[0].weight.clone()
    state = Detector(tiny.build(geometry='released')).state_dict()
    with pytest.raises(GeometryError, match="geometry='released'"):
        load_whole(target, tiny.save({'state_dict': state}))
    del state['backbone.geometry']
    with pytest.raises(GeometryError, match='state no geometry'):
        load_whole(target, tiny.save({'state_dict': state}))
    assert torch.equal(target.head[0].weight, before)


class Toolbox(BaseModule):
    """A backbone that loads by mmengine's own, silent, rules."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.stem = nn.Conv2d(3, 4, 1)
        self.bn = nn.BatchNorm2d(4)
        self.norm0 = nn.LayerNorm(4)


def toolbox_state():
    state = Toolbox().state_dict()
    return {key: torch.full_like(value, 2) for key, value in state.items()}


def pretrained(file, **kwargs):
    return dict(type='Pretrained', checkpoint=file, **kwargs)


def test_toolbox_backbone(tiny):
    state = toolbox_state()
    del state['norm0.weight'], state['norm0.bias']
    file = tiny.save({'state_dict': state})
    net = Toolbox(pretrained(file))
    vet_toolbox_backbone(net, file)
    assert torch.equal(net.stem.weight, state['stem.weight'])
    assert torch.equal(net.norm0.weight, torch.ones(4))  # its initial value, not NaN


@pytest.mark.parametrize('key', [k for k in toolbox_state() if 'num_' not in k])
def test_toolbox_backbone_unfilled(tiny, key):
    state = toolbox_state()
    del state[key]
    file = tiny.save({'state_dict': state})
    if key.startswith('norm0'):
        vet_toolbox_backbone(Toolbox(pretrained(file)), file)
        return
    with pytest.raises(CheckpointError, match=f'1 of 8 tensors stay unfilled: {key}'):
        vet_toolbox_backbone(Toolbox(pretrained(file)), file)


def test_toolbox_loads_nothing(tiny):
    """What mmengine passes over with a warning: another prefix, another shape."""
    state = toolbox_state()
    file = tiny.save({'model': state})
    with pytest.raises(CheckpointError, match='6 of 8 tensors stay unfilled'):
        vet_toolbox_backbone(Toolbox(pretrained(file)), file)
    file = tiny.save({'state_dict': {**state, 'stem.weight': torch.ones(4, 3, 3, 3)}})
    with pytest.raises(CheckpointError, match='1 of 8 tensors stay unfilled: stem.wei'):
        vet_toolbox_backbone(Toolbox(pretrained(file)), file)
    file = tiny.save({'state_dict': state})
    with pytest.raises(CheckpointError, match='AssertionError: backbone'):
        vet_toolbox_backbone(Toolbox(pretrained(file, prefix='backbone.')), file)
    with pytest.raises(CheckpointError, match='init_cfg is None'):
        vet_toolbox_backbone(Toolbox(), file)
