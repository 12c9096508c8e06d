"""Class activation maps where the answer is known."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from torch import nn

from mmmsmlp.errors import BadInput
from mmmsmlp.explain import cams
from tests.helpers.small_nets import build, every_backbone, images

NAMES = ['cat', 'dog']


@pytest.fixture
def library():
    """The optional library."""
    return pytest.importorskip('pytorch_grad_cam', reason='pip install grad-cam')


class Passes(nn.Module):
    """A backbone that gives its image, and half of it."""

    def forward(self, x):
        return x * 1.0, nn.functional.avg_pool2d(x, 2)


class Model(nn.Module):
    """Logit k is the mean of channel k of one of the maps."""

    def __init__(self, backbone, which=0):
        super().__init__()
        self.backbone, self.which = backbone, which
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x, mode='tensor'):
        return self.scale * self.backbone(x)[self.which].mean((2, 3))[:, :2]


def unit(values):
    low, high = values.min(), values.max()
    return ((values - low) / (high - low)).numpy()


@pytest.mark.parametrize(('which', 'chosen'), [(0, 0), (0, 1), (1, 0)])
def test_grad_cam_is_the_channel_that_the_logit_is(library, which, chosen):
    """Of the map that the score does not depend on nothing is shown."""
    pixels = images(1, 3, 8, 8).abs()
    maps, asked = cams.activation_maps(
        'gradcam', Model(Passes(), which), pixels, cams.logit_of(chosen, NAMES)
    )
    assert asked.said.startswith(f'{NAMES[chosen]} (0.')
    assert len(maps) == 2 and not maps[1 - which].any()
    expected = Passes()(pixels)[which][0, chosen]
    if which == 0:  # as large as the image
        np.testing.assert_allclose(maps[0], unit(expected), atol=1e-4)
    else:
        place = divmod(int(expected.argmax()), 4)
        found = divmod(int(maps[1].argmax()), 8)
        assert tuple(i // 2 for i in found) == place


@pytest.mark.parametrize('sign', [1, -1])
def test_eigen_cam_is_the_pattern_of_the_features(library, sign):
    """All channels have one small spot: it is shown bright whatever their signs."""
    spot = torch.zeros(8, 8)
    spot[2, 5] = 1.0
    pixels = sign * torch.tensor([1.0, -2.0, 0.5])[None, :, None, None] * spot
    model = Model(Passes())
    maps, asked = cams.activation_maps('eigencam', model, pixels, None)
    np.testing.assert_allclose(maps[0], spot.numpy(), atol=1e-3)
    assert asked.said == 'the features alone'


def test_eigen_cam_of_many_tokens(library):
    """The matrix of all by all of these tokens would fill the memory."""
    pixels = images(1, 3, 300, 200)
    maps, _ = cams.activation_maps('eigencam', Model(Passes()), pixels, None)
    assert [one.shape for one in maps] == [(300, 200)] * 2
    assert all(one.min() == 0 and one.max() > 0.9 for one in maps)


@every_backbone
def test_our_backbones(library, backbone):
    net = build(backbone, frozen_stages=1)
    pixels, score = images(1, 3, 64, 96), cams.logit_of(1, NAMES)
    for method in 'gradcam', 'eigencam':
        maps, _ = cams.activation_maps(method, Model(net, 3), pixels, score)
        assert [one.shape for one in maps] == [(64, 96)] * 4
        assert all(np.isfinite(one).all() for one in maps)
        assert sum(one.max() > 0.9 for one in maps) >= 2  # others count against it
    assert not any(m._forward_hooks for m in net.modules())


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pytorch_grad_cam', None)
    with pytest.raises(BadInput, match='pip install grad-cam; --maps features'):
        cams.library()


def test_the_logit_of_a_class():
    model = Model(Passes())
    pixels = torch.tensor([1.0, 3.0, 9.0])[None, :, None, None].expand(1, 3, 4, 4)
    best, first = (cams.logit_of(k, NAMES)(model, pixels) for k in (None, 0))
    assert (best.said, float(best.value)) == ('dog (0.881)', 3.0)
    assert (first.said, float(first.value)) == ('cat (0.119)', 1.0)


class Segmentor(nn.Module):
    def encode_decode(self, x, metas):
        assert metas == [dict(size=2)]
        return x


def test_the_pixels_of_a_class():
    logits = torch.tensor([[[[3.0, 1.0], [1.0, 1.0]], [[0.0, 2.0], [4.0, 6.0]]]])
    samples = [SimpleNamespace(metainfo=dict(size=2))]
    ask = [cams.pixels_of(k, NAMES, samples)(Segmentor(), logits) for k in (None, 0)]
    assert [(a.said, float(a.value)) for a in ask] == [
        ('dog (75.0 % of the pixels)', 4.0), ('cat (25.0 % of the pixels)', 3.0),
    ]  # fmt: skip
    with pytest.raises(BadInput, match='no pixel is taken for cat; the image has dog'):
        cams.pixels_of(0, NAMES, samples)(Segmentor(), logits[:, :, 1:])


@pytest.mark.parametrize(
    ('threshold', 'chosen', 'said', 'value'),
    [
        (0.5, 1, 'dog (50.0 % of the pixels)', 2.0),  # of 1 and 3
        (0.5, 0, 'cat (50.0 % of the pixels)', 2.0),  # of -3 and -1, against them
        (0.2, None, 'dog (75.0 % of the pixels)', 1.0),  # sigmoid(-1) is 0.27
        (0.2, 0, 'cat (25.0 % of the pixels)', 3.0),
    ],
)
def test_the_pixels_of_a_segmentor_of_one_channel(threshold, chosen, said, value):
    logits = torch.tensor([[[[-3.0, -1.0], [1.0, 3.0]]]], requires_grad=True)
    model = Segmentor()
    model.decode_head = SimpleNamespace(threshold=threshold)
    samples = [SimpleNamespace(metainfo=dict(size=2))]
    asked = cams.pixels_of(chosen, NAMES, samples)(model, logits)
    assert (asked.said, asked.value.item()) == (said, value)
    asked.value.backward()
    sign = -1 if chosen == 0 else 1
    assert logits.grad.sum() == pytest.approx(sign)


class Detector(nn.Module):
    def predict(self, x, samples, rescale):
        assert not rescale
        samples[0].pred_instances = InstanceData(
            bboxes=torch.arange(12.0).reshape(3, 4),
            labels=torch.tensor([0, 1, 0]),
            scores=x.flatten(),
        )
        return samples


def test_the_scores_of_boxes():
    scores = torch.tensor([0.9, 0.6, 0.2], requires_grad=True)
    samples = [SimpleNamespace()]

    def ask(chosen, least, scores=scores):
        return cams.boxes_of(chosen, NAMES, samples, least)(Detector(), scores)

    asked = ask(None, 0.5)
    assert float(asked.value) == pytest.approx(1.5)
    assert asked.said == '2 x box, scores 0.60 to 0.90'
    assert asked.boxes == [[0, 1, 2, 3], [4, 5, 6, 7]]
    asked.value.backward()
    assert scores.grad.tolist() == [1, 1, 0]
    assert ask(0, 0.0).said == '2 x cat box, scores 0.20 to 0.90'
    assert not vars(samples[0])  # a copy was filled
    with pytest.raises(BadInput, match='no dog box .* from 0.7 on, the best has 0.600'):
        ask(1, 0.7)
    with pytest.raises(BadInput, match='Detector carry no gradient; --maps features'):
        ask(None, 0.5, scores.detach())
