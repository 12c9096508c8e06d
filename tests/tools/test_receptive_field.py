"""Receptive fields where the answer is known, and the tool that draws them."""

import json
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from mmmsmlp import MSMLP
from mmmsmlp.errors import BadInput
from mmmsmlp.ops.mixshift.spec import Groups
from tests.helpers.commands import ROOT, assert_fails

sys.path.insert(0, str(ROOT / 'tools'))
from zoo import receptive


class Maps(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return tuple(outputs)


def test_the_identity_sees_one_pixel():
    (field,) = receptive.effective_fields(
        Maps(nn.Identity()), receptive.noise(2, (8, 9))
    )
    expected = torch.zeros(8, 9)
    expected[4, 4] = 3**0.5  # of three channels, each 1
    assert torch.equal(field.values, expected)
    assert field.centre == (4, 4)
    assert receptive.side_that_holds(field, 0.99) == 1
    assert receptive.area_that_holds(field, 0.99) == pytest.approx(1 / 72)


def test_a_convolution_sees_its_filter():
    conv = nn.Conv2d(3, 1, 5, padding=2, bias=False)
    (field,) = receptive.effective_fields(Maps(conv), receptive.noise(3, (11, 11)))
    filters = conv.weight.detach()[0].square().sum(0).sqrt()
    torch.testing.assert_close(field.values[3:8, 3:8], filters)
    assert field.values.sum() == pytest.approx(float(filters.sum()))
    assert receptive.side_that_holds(field, 1) == 5


def test_channels_add_up_whatever_their_signs():
    """Two outputs of opposite weights: their sum would not move at all."""
    conv = nn.Conv2d(3, 2, 1, bias=False)
    conv.weight.data[0], conv.weight.data[1] = 1.0, -1.0
    (field,) = receptive.effective_fields(Maps(conv), receptive.noise(400, (3, 3)))
    assert field.values[1, 1] ** 2 == pytest.approx(6, rel=0.2)


def test_strides_move_the_middle():
    """Of 16 pixels by patches of 4, token 2 has its pixels 8 to 11."""
    patch = nn.Conv2d(3, 1, 4, stride=4, bias=False)
    nn.init.ones_(patch.weight)
    (field,) = receptive.effective_fields(Maps(patch), receptive.noise(1, (16, 16)))
    assert field.centre == (9.5, 9.5) and (field.values > 0).sum() == 16
    assert receptive.side_that_holds(field, 0.2) == 2  # 4 of 16 pixels
    assert receptive.side_that_holds(field, 0.3) == 4


def cut():
    """A backbone that does not pad, as ConvNeXt."""
    return Maps(*(nn.Conv2d(3, 3, s, stride=s, bias=False) for s in (4, 2, 2, 2)))


def padded():
    arch = dict(embed_dims=20, depths=[1, 1, 1, 1], mix_sizes=[[1] * 5] * 4)
    return MSMLP(arch).eval()


@pytest.mark.parametrize(
    ('backbone', 'side', 'centres'),
    [
        (padded, 100, [49.5, 51.5, 55.5, 79.5]),  # maps of 25, 13, 7 and 4
        (cut, 100, [49.5, 51.5, 55.5, 47.5]),  # of 25, 12, 6 and 3
        (padded, 65, [33.5, 35.5, 39.5, 47.5]),  # of 17, 9, 5 and 3
    ],
)
def test_the_middle_of_maps_that_do_not_divide(backbone, side, centres):
    """Where the gradient of a patch without neighbours lies, there is the token."""
    torch.manual_seed(0)
    net = backbone()
    fields = receptive.effective_fields(net, receptive.noise(1, (side, side)))
    assert [field.centre for field in fields] == [(c, c) for c in centres]
    for field, step in zip(fields, (4, 8, 16, 32), strict=True):
        seen = (field.values > 1e-6 * field.values.max()).nonzero()
        first = int(field.centre[0] - step / 2 + 0.5)
        assert seen.amin(0).tolist() == [first] * 2
        assert seen.amax(0).tolist() == [min(first + step, side) - 1] * 2


def test_the_reach_is_of_the_padded_maps():
    maps = [tuple(after.shape) for after in receptive.reaches(padded(), (100, 65))]
    assert maps == [(25, 17), (13, 9), (7, 5), (4, 3)]
    assert maps == [y.shape[2:] for y in padded()(torch.zeros(1, 3, 100, 65))]


def groups(sizes, distances, order):
    return Groups((1,) * len(sizes), tuple(sizes), tuple(distances), order)


@pytest.mark.parametrize(
    ('order', 'sign'), [('mix_shift', 1), ('shift_mix', -1)]
)  # roll by -d, or by +s: a token looks ahead, or behind
def test_a_region_is_seen_where_its_shift_puts_it(order, sign):
    after = receptive.reach(groups([3], [4], order), (21, 21), 1)
    expected = torch.full((21, 21), -1)
    ahead = 10 + 4 * sign
    expected[9:12, ahead - 1 : ahead + 2] = 1
    expected[ahead - 1 : ahead + 2, 9:12] = 1
    expected[10, 10] = 0
    assert torch.equal(after, expected)


def test_shifts_go_around_and_blocks_add_up():
    """Single tokens at distance 3 of 7: block k goes k of these steps, in all."""
    after = receptive.reach(groups([1, 1], [0, 3], 'mix_shift'), (7, 7), 4)
    expected = torch.full((7, 7), 99)
    for i in range(5):
        for j in range(5 - i):
            place = (3 + 3 * i) % 7, (3 + 3 * j) % 7
            expected[place] = min(expected[place], i + j)
    expected[expected == 99] = -1
    assert torch.equal(after, expected)
    assert after[(3 + 6) % 7, 3] == 2


def test_regions_end_at_the_edge():
    """Token 6 sees 4 to 8 in its own branch, and of token 11 only its left side."""
    (after,) = receptive.reach(groups([5], [5], 'mix_shift'), (1, 12), 1).tolist()
    assert after == [-1] * 4 + [1, 1, 0, 1, 1] + [1, 1, 1]


def test_the_field_of_one_block_is_its_reach():
    """A stage of one block, random weights: what moves the token is what it sees."""
    arch = dict(embed_dims=20, depths=[1, 1, 1, 1], mix_sizes=[[1, 1, 3, 5, 7]] * 4)
    torch.manual_seed(0)
    backbone = MSMLP(arch, out_indices=(0,)).eval()
    backbone.init_weights()
    assert receptive.let_blocks_count(backbone) == 1
    (field, *_) = receptive.effective_fields(backbone, receptive.noise(2, (96, 96)))
    ((found, blocks),) = receptive.groups_of(backbone)
    after = receptive.reach(found, (24, 24), blocks)
    seen = (after >= 0).repeat_interleave(4, 0).repeat_interleave(4, 1)
    moved = field.values > 1e-6 * field.values.max()
    assert torch.equal(moved, seen)


def test_pictures_are_read_past_what_is_none(tmp_path):
    import receptive_field

    (tmp_path / 'a.txt').write_text('no picture')
    for name, blue in ('b.png', 0), ('c.png', 255), ('d.png', 9):
        pixels = np.full((8, 6, 3), (blue, 0, 51), np.uint8)
        cv2.imwrite(str(tmp_path / name), pixels)
    args = SimpleNamespace(images=str(tmp_path), size=(4, 4), count=2)
    found = receptive_field.images(args)
    mean, std = map(torch.tensor, (receptive_field.MEAN, receptive_field.STD))
    for image, rgb in zip(found, [(51, 0, 0), (51, 0, 255)], strict=True):
        assert image.shape == (3, 4, 4)
        torch.testing.assert_close(image[:, 1, 2], (torch.tensor(rgb) - mean) / std)
    args.images = str(tmp_path / 'none')
    with pytest.raises(BadInput, match='none holds no picture'):
        receptive_field.images(args)


def test_a_model_that_is_named_twice_or_cannot_be_built(run_tool, monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmdet.models', None)
    twice = ('receptive_field.py', 'msmlp_t', 'msmlp_t')
    assert_fails(run_tool(*twice), 'two models are called msmlp_t', '--labels')
    result = run_tool('receptive_field.py', 'swin_t')
    assert_fails(result, 'swin_t cannot be built: ', 'mmdet.models')
    result = run_tool('receptive_field.py', 'swin-torchvision_t')
    assert_fails(result, 'swin-torchvision_t has one map', 'take swin_t')


@pytest.mark.full
def test_the_tool_draws_models_beside_each_other(run_tool, tmp_path):
    models = ('ablation/table9_local_patch4', 'resnet50_t')
    done = ('--count', '1', '--size', '64', '96', '--out-dir', tmp_path)
    code, out, err = run_tool('receptive_field.py', *models, *done)
    assert code == 0, err
    rows = json.loads((tmp_path / 'receptive_field.json').read_text())
    found = [(row['model'], row['stage']) for row in rows]
    names = ('table9_local_patch4', 'resnet50_t')
    assert found == [(name, stage) for name in names for stage in (1, 2, 3, 4)]
    for shares in zip(*(  # a later stage sees no less
        [row[f'side_{s}'] for row in rows[4:]] for s in (20, 30, 50, 99)
    ), strict=True):  # fmt: skip
        assert list(shares) == sorted(shares)
    sides = [row['side_50'] for row in rows[4:]]
    assert sides == sorted(sides) and sides[0] < sides[3]
    assert f'{rows[0]["side_99"]} (' in out
    for name in 'receptive_field.png', 'reach.png', 'overview.png':
        drawn = cv2.imread(str(tmp_path / name))
        assert len(drawn) > 200 and drawn.std() > 20
    result = run_tool('receptive_field.py', *models, '--labels', 'local')
    assert_fails(result, '--labels takes one for each of 2 models, got 1')
    result = run_tool('receptive_field.py', *models, '--weights', 'none')
    assert_fails(result, '--weights takes one for each of 2 models, got 1')
    result = run_tool('receptive_field.py', 'resnet5_t')
    assert_fails(result, 'resnet5_t')
