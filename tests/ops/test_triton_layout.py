"""The host tables of the Triton kernels: what is packed where, which rows go where."""

import pytest
import torch

from mmmsmlp.ops.mixshift.triton.layout import (
    SLAB,
    Groups,
    count_slabs,
    flat_lengths,
    list_passes,
    mix_tables,
    pack_index,
    pack_length,
    transposed,
)
from tests.helpers.table2 import DISTANCES, REGIONS

WIDTHS = 20, 20, 20, 20, 16
PAPER = Groups(WIDTHS, tuple(REGIONS[0]), tuple(DISTANCES), 'mix_shift')
CPU = torch.device('cpu')


def test_a_pass_per_slab_group_and_axis():
    """The query group (d = 0) needs one for both axes; boundary slabs serve two groups.

    Taps of a channel, by slab: 16 channels of group 1; 4 of 1 and 12 of 2; ...
    """
    taps = [
        sum(item.size**2 for item in list_passes(PAPER) if item.slab == slab)
        for slab in range(count_slabs(PAPER))
    ]
    assert taps == [1, 1 + 2, 2 + 18, 18 + 50, 50, 98]
    assert pack_length(PAPER) == (sum(taps) + count_slabs(PAPER)) * SLAB


@pytest.mark.parametrize('mirrored', [False, True])
def test_every_parameter_is_packed_once(mirrored):
    index = pack_index(PAPER, mirrored, CPU)
    packed = index[index >= 0].sort().values
    values = sum(flat_lengths(PAPER))
    if mirrored:
        values -= 2 * PAPER.channels  # the input gradient has no biases
    assert packed.tolist() == list(range(values))


def test_mirrored_filters_are_turned_by_180_degrees():
    groups = Groups((16,), (3,), (1,), 'mix_shift')
    first = list_passes(groups)[0]
    block = slice(first.offset, first.offset + 9 * SLAB)
    plain, mirrored = (
        pack_index(groups, flag, CPU)[0, block] for flag in (False, True)
    )
    assert torch.equal(plain.view(9, SLAB), mirrored.view(9, SLAB).flip(0))


@pytest.mark.parametrize('order', ['mix_shift', 'shift_mix'])
@pytest.mark.parametrize('height', [1, 2, 7, 14, 57])
def test_items_cover_every_row_once_and_never_cross_the_wrap(order, height):
    groups = Groups(PAPER.widths, PAPER.sizes, PAPER.distances, order)
    items, passes = mix_tables(groups, height, 9, 4, CPU)
    covered = torch.zeros(count_slabs(groups), height, dtype=torch.int64)
    for slab, first, last, start, stop in items.tolist():
        covered[slab, first:last] += 1
        assert 0 < last - first <= 4
        for shift in passes[start:stop, 1].tolist():
            frame = [(row + shift) % height for row in range(first, last)]
            straight = list(range(frame[0], frame[0] + len(frame)))
            assert order == 'shift_mix' or frame == straight
    assert (covered == 1).all()


def test_the_input_gradient_has_the_other_order_and_goes_back():
    back = transposed(PAPER)
    assert back.order == 'shift_mix' and transposed(back) == PAPER
    assert [a + b for a, b in zip(PAPER.steps, back.steps, strict=True)] == [0] * 5
