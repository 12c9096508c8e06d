"""Feature maps by stage and channel group where the answer is known."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from mmmsmlp import MSMLP
from mmmsmlp.errors import BadInput
from mmmsmlp.explain.features import (
    draw_features,
    feature_maps,
    group_maps,
    spread,
    stages_of,
)
from mmmsmlp.models.msmlp import MixShift
from tests.helpers.small_nets import build, every_backbone, images


def test_the_spread_is_what_varies_over_the_map():
    x = torch.zeros(2, 2, 2)
    x[0] = 5.0  # the same everywhere: nothing
    x[1, 0, 0], x[1, 1, 1] = 4.0, -4.0
    expected = torch.tensor([[4.0, 0], [0, 4.0]]) / 2**0.5
    torch.testing.assert_close(spread(x), expected)


@pytest.mark.parametrize(('order', 'sign'), [('mix_shift', 1), ('shift_mix', -1)])
def test_a_group_shows_where_it_reads(order, sign):
    """Filters that pass a token on: what lies d ahead along W, or along H, is here."""
    mix = MixShift(6, [1, 3, 5], [0, 1, 3], order)
    for conv in (*mix.horizontal, *mix.vertical):
        nn.init.zeros_(conv.bias)
        nn.init.dirac_(conv.weight, groups=len(conv.weight))
    x = torch.zeros(1, 6, 9, 9)
    x[:, :, 4, 4] = 1.0
    with torch.no_grad():
        maps = group_maps(mix(x)[0], mix)
    assert [(m.region, m.step) for m in maps] == [(1, 0), (3, sign), (5, 3 * sign)]
    for m in maps:
        places = {tuple(place) for place in (m.values > 0.5).nonzero().tolist()}
        assert places == {(4, 4 - m.step), (4 - m.step, 4)}


@every_backbone
def test_stages_of_our_backbones(backbone):
    net = build(backbone).eval()
    pixels = images(1, 3, 64, 96)
    maps = feature_maps(net, pixels)
    assert [tuple(m.values.shape) for m in maps] == [
        (64 // s, 96 // s) for s in (4, 8, 16, 32)
    ]
    x = pixels if net.stage0 is None else net.stage0(pixels)
    for stage, found in zip(net.stages, maps, strict=True):
        x = stage(x).detach()
        torch.testing.assert_close(found.values, spread(x[0]))
        mixes = [m for m in stage.modules() if isinstance(m, MixShift)]
        assert len(found.groups) == (len(mixes[-1].groups.widths) if mixes else 0)
        assert all(g.values.shape == found.values.shape for g in found.groups)
    assert any(m.groups for m in maps) == backbone.__name__.startswith('MSMLP')
    assert not any(m._forward_hooks for m in net.modules())


class Other(nn.Module):
    """Somebody's backbone, with a pooled vector beside its maps."""

    def forward(self, x):
        return x.mean((2, 3)), 2 * x, nn.functional.avg_pool2d(x, 2)


def test_another_backbone_is_tapped():
    net, pixels = Other(), images(1, 3, 8, 8)
    first, second = feature_maps(net, pixels)
    torch.testing.assert_close(first.values, 2 * spread(pixels[0]))
    assert second.values.shape == (4, 4) and first.groups == second.groups == []
    assert not net._forward_hooks
    with (
        pytest.raises(BadInput, match=r'Flatten gives no maps'),
        stages_of(nn.Flatten(), pixels),
    ):
        pass


def test_the_picture_has_a_row_a_stage(tmp_path):
    maps = feature_maps(build(MSMLP).eval(), images(1, 3, 64, 96))
    image = np.full((64, 96, 3), (255, 0, 0), np.uint8)
    draw_features(image, maps, tmp_path / 'f.png')
    drawn = cv2.imread(str(tmp_path / 'f.png')).astype(int)
    red = (np.abs(drawn - (0, 0, 255)).sum(2) < 30).any(1)
    assert (np.diff(red.astype(int)) == 1).sum() == 4  # the image, once a stage
    for colour in ((255, 255, 0), (0, 255, 0)):  # both branches' regions
        assert (np.abs(drawn - colour).sum(2) < 90).sum() > 50
