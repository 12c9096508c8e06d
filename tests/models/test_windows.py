"""Attention in windows: the formula, its ways of computing it, and the tables."""

import pytest
import torch

from mmmsmlp.models.windows import (
    CHUNK,
    attend,
    fold_windows,
    over_windows,
    relative_index,
)

N, WINDOWS, Q, K, HEADS, DIM = 2, 3, 4, 6, 2, 5


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    mask = draw(WINDOWS, 1, K)
    mask[1, 0, 2:] = -torch.inf
    q, k, v = (draw(N, WINDOWS, t, HEADS, DIM) for t in (Q, K, K))
    return q, k, v, draw(HEADS, Q, K), mask


def formula(q, k, v, bias, mask=None):
    logits = torch.einsum('nwqhd,nwkhd->nwhqk', q, k) / DIM**0.5 + bias
    if mask is not None:
        logits = logits + mask[:, None]
    return torch.einsum('nwhqk,nwkhd->nwqhd', logits.softmax(-1), v).flatten(3)


def test_attend_without_a_mask(inputs):
    *inputs, _ = inputs
    torch.testing.assert_close(attend(*inputs), formula(*inputs))


def test_attend_with_a_mask(inputs):
    torch.testing.assert_close(attend(*inputs), formula(*inputs))


def test_folding_the_windows_computes_the_same(inputs):
    q, k, v, bias, mask = inputs
    folded = fold_windows(q, k, v, bias + mask[:, None])
    torch.testing.assert_close(folded, formula(*inputs))


def test_hidden_keys_get_no_gradient_and_break_none(inputs):
    q, k, v, bias, mask = inputs
    for tensor in (q, k, v, bias):
        tensor.requires_grad_()
    attend(q, k, v, bias, mask).square().sum().backward()
    assert not k.grad[:, 1, 2:].any() and not v.grad[:, 1, 2:].any()
    assert all(t.grad.isfinite().all() and t.grad.any() for t in (q, k, v, bias))


def test_relative_index_counts_rows_and_columns():
    index = relative_index(3, 5)  # a table of 7 x 7 steps
    assert index.shape == (9, 25)
    step = index - index[4, 12]  # from the centre of the one to that of the other
    assert step[4, 12 - 1] == 1 and step[4, 12 - 5] == 7
    assert index.min() == 0 and index.max() == 48


@pytest.mark.parametrize(('n', 'windows'), [(3, 2 * CHUNK + 1), (CHUNK + 3, 1)])
def test_chunks_cover_every_window_of_every_image(n, windows):
    x, seen = torch.randn(n, windows, 2, 3), []
    shift, scale = torch.randn(n, 1, 1, 1), torch.randn(windows, 1, 1)

    def attention(x, shift, scale, missing):
        assert missing is None
        seen.append(x.shape[:2].numel())
        return x * scale + shift

    with torch.no_grad():
        out = over_windows(attention, (), x, [shift], [scale, None])
    torch.testing.assert_close(out, x * scale + shift)
    assert sum(seen) == n * windows and max(seen) <= CHUNK and len(seen) > 1
    over_windows(attention, (), x, [shift], [scale, None])
    assert seen[-1] == n * windows  # a backward pass wants them all at once
