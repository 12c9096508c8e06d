"""A norm into contiguous memory gives the numbers of a norm and a copy."""

import pytest
import torch
import torch.nn.functional as F

from mmmsmlp import MSMLP
from mmmsmlp.ops import memory_format
from mmmsmlp.ops.memory_format import is_contiguous, norm_to_contiguous
from tests.helpers.small_nets import build, images

LAST = torch.channels_last


@pytest.mark.parametrize('shape', [(2, 5, 9, 7), (1, 3, 1, 1), (3, 8, 40, 33)])
@pytest.mark.parametrize('piece', [1, 64, 1 << 20])
def test_the_numbers(shape, piece, monkeypatch):
    monkeypatch.setattr(memory_format, 'PIECE', piece)
    torch.manual_seed(0)
    x = torch.randn(shape).contiguous(memory_format=LAST)
    weight, bias = torch.randn(shape[1]), torch.randn(shape[1])
    y = norm_to_contiguous(x, weight, bias, 1e-6)
    expected = F.layer_norm(x.permute(0, 2, 3, 1), shape[1:2], weight, bias, 1e-6)
    assert y.is_contiguous() and y.shape == x.shape
    torch.testing.assert_close(y, expected.permute(0, 3, 1, 2))


@pytest.mark.parametrize('hooked', [False, True])
def test_a_backbone_norms_in_pieces_unless_somebody_looks(monkeypatch, hooked):
    calls, right = [], norm_to_contiguous

    def counted(*args):
        calls.append(args)
        return right(*args)

    monkeypatch.setattr('mmmsmlp.models.pyramid.norm_to_contiguous', counted)
    net, x = build(MSMLP).eval(), images()
    with torch.no_grad():
        expected = net(x)
        assert not calls  # the maps are small
        monkeypatch.setattr(memory_format, 'LARGE', 0)
        if hooked:
            net.norm2.register_forward_hook(lambda module, args, y: 2 * y)
        actual = net(x)
        assert len(calls) == (3 if hooked else 4)
        net(x.contiguous(memory_format=LAST))
    net(x)
    assert len(calls) == (3 if hooked else 4)
    for i, (a, b) in enumerate(zip(actual, expected, strict=True)):
        assert a.is_contiguous()
        torch.testing.assert_close(a, 2 * b if hooked and i == 2 else b)


def test_which_format_a_map_has():
    x = torch.randn(2, 3, 4, 5)
    last = x.contiguous(memory_format=LAST)
    assert is_contiguous(x) and is_contiguous(x[:, :, 1:, ::2])
    assert not is_contiguous(last) and not is_contiguous(last[:, :, 1:, 1:])
    assert is_contiguous(torch.randn(2, 1, 4, 5)) and is_contiguous(x[:, :, :1, :1])
