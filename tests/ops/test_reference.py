"""The reference operator: directions, borders and orders, on maps one can see."""

from functools import partial

import pytest
import torch

from mmmsmlp.ops import mix_shift
from mmmsmlp.ops.mixshift.reference import convolve, mix_then_shift, shift_then_mix

HEIGHT, WIDTH = 2, 3


def one_hot(row, column, size=8):
    x = torch.zeros(1, 1, size, size)
    x[0, 0, row, column] = 1
    return x


def identity(group):
    return group


@pytest.mark.parametrize(('axis', 'where'), [(WIDTH, (5, 2)), (HEIGHT, (2, 5))])
def test_the_papers_shift_brings_content_at_plus_d_to_the_query(axis, where):
    """A3: out[i] = y[i + d], drawn in Fig. 2 as strips that move left."""
    moved = mix_then_shift(one_hot(5, 5), identity, 3, axis)
    assert moved.nonzero().tolist() == [[0, 0, *where]]


@pytest.mark.parametrize(('axis', 'where'), [(WIDTH, (5, 7)), (HEIGHT, (7, 5))])
def test_the_released_shift_rolls_forward(axis, where):
    moved = shift_then_mix(one_hot(5, 5), identity, 2, axis)
    assert moved.nonzero().tolist() == [[0, 0, *where]]


def test_shifts_are_circular_and_taken_modulo_the_map():
    """A4; A6's distances exceed the late stages' maps."""
    moved = mix_then_shift(one_hot(5, 1), identity, 3 + 2 * 8, WIDTH)
    assert moved.nonzero().tolist() == [[0, 0, 5, 6]]


def test_the_orders_agree_inside_and_differ_at_the_border():
    """A5: zero padding moves with the roll in one order only."""
    x = torch.randn(1, 1, 16, 16)
    mix = partial(convolve, weight=torch.randn(1, 1, 7, 7), bias=torch.randn(1))
    paper = mix_then_shift(x, mix, 4, WIDTH)
    released = shift_then_mix(x, mix, -4, WIDTH)
    inside = slice(3 + 4, 16 - 3 - 4)
    torch.testing.assert_close(paper[..., inside], released[..., inside])
    assert not torch.allclose(paper, released)


@pytest.mark.parametrize('order', ['mix_shift', 'shift_mix'])
@pytest.mark.parametrize('full', [False, True])
def test_gradients_against_finite_differences(order, full):
    torch.manual_seed(0)
    sizes, widths, distances = [1, 3, 5], [2, 2, 1], [0, 1, -2]
    x = torch.randn(2, 5, 4, 3, dtype=torch.float64, requires_grad=True)
    filters = [
        torch.randn(c, c if full else 1, r, r, dtype=torch.float64, requires_grad=True)
        for _ in 'hv'
        for c, r in zip(widths, sizes, strict=True)
    ]
    biases = [
        torch.randn(c, dtype=torch.float64, requires_grad=True)
        for _ in 'hv'
        for c in widths
    ]

    def operator(x, *parameters):
        w, b = parameters[:6], parameters[6:]
        return mix_shift(x, w[:3], b[:3], w[3:], b[3:], distances, order)

    assert torch.autograd.gradcheck(operator, (x, *filters, *biases))


def test_the_first_group_is_the_query():
    """With d = 0 and r = 1 a token keeps its place: x scaled by both filters."""
    x = torch.randn(1, 4, 3, 3)
    horizontal, vertical = torch.randn(4, 1, 1, 1), torch.randn(4, 1, 1, 1)
    zero = torch.zeros(4)
    y = mix_shift(x, [horizontal], [zero], [vertical], [zero], [0])
    torch.testing.assert_close(y, x * (horizontal + vertical).view(1, 4, 1, 1))


def arguments(**changes):
    weights = [torch.randn(2, 1, 3, 3), torch.randn(2, 1, 5, 5)]
    biases = [torch.zeros(2), torch.zeros(2)]
    given = dict(
        x=torch.randn(1, 4, 6, 6),
        weights_h=weights,
        biases_h=biases,
        weights_v=weights,
        biases_v=biases,
        shift_dist=[0, 1],
        order='mix_shift',
    )
    return {**given, **changes}


def both_filters(*shape):
    return dict.fromkeys(('weights_h', 'weights_v'), [torch.randn(shape)] * 2)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (dict(order='roll'), ['roll', 'mix_shift', 'shift_mix']),
        (dict(shift_dist=[0, 1, 2]), ['2, 2, 2, 2', '3 distances']),
        (dict(x=torch.randn(4, 6, 6)), ['(4, 6, 6)', '(N, C, H, W)']),
        (dict(x=torch.randn(1, 5, 6, 6)), ['4 channels', '5']),
        (dict(weights_h=[torch.randn(2, 1, 4, 4)] * 2), ['odd', '(2, 1, 4, 4)']),
        (both_filters(2, 1, 3, 1), ['square', '(2, 1, 3, 1)']),
        (both_filters(2, 1, 1, 3), ['square', '(2, 1, 1, 3)']),
        (both_filters(2, 3, 3, 3), ['(c, c, r, r)', '(2, 3, 3, 3)']),
        (dict(biases_v=[torch.zeros(2), torch.zeros(3)]), ['group 1', '(3,)']),
    ],
)
def test_bad_arguments_name_the_value_and_what_is_allowed(changes, words):
    with pytest.raises(ValueError) as error:
        mix_shift(**arguments(**changes))
    for word in words:
        assert word in str(error.value)
