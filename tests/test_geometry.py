"""Does the geometry mark keep weights of one geometry out of a model of another?"""

from dataclasses import FrozenInstanceError

import pytest
import torch

from mmmsmlp.errors import GeometryError
from mmmsmlp.geometry import Geometry, check_geometry, mark_geometry

WEIGHTS = {'stages.0.blocks.0.mix.vertical.0.weight': torch.ones(1)}
MARKS = {
    'paper': (0, 1, 2, 3, 4),
    'released': (-2, -1, 0, 1, 2),
}


@pytest.mark.parametrize(
    ('name', 'shift_dist'),
    [*MARKS.items(), ('paper', (0, 2, 5)), ('released', (0, 2, 5))],
)
def test_round_trip(name, shift_dist):
    geometry = Geometry.of(name, list(shift_dist))
    assert (geometry.name, geometry.distances) == (name, shift_dist)
    mark = geometry.mark()
    assert mark.dtype == torch.int64
    assert mark.tolist() == [list(MARKS).index(name), *shift_dist]
    assert Geometry.from_mark(mark) == geometry


@pytest.mark.parametrize('name', MARKS)
def test_default_distances(name):
    assert Geometry.of(name) == Geometry(name, MARKS[name])


def test_words():
    paper = 'paper: mix, then roll by -d, d = 0, 1, 2, 3, 4'
    assert str(Geometry.of('paper')) == paper
    released = 'released: roll by +s, then mix, s = -2, -1, 0, 1, 2'
    assert str(Geometry.of('released')) == released


def test_what_a_config_says():
    assert Geometry.of('paper').as_config() == "geometry='paper'"
    other = Geometry.of('released', (0, 2))
    assert other.as_config() == "geometry='released', shift_dist=(0, 2)"
    assert (Geometry.of('paper').order, other.order) == ('mix_shift', 'shift_mix')


def test_it_is_a_value():
    geometry = Geometry.of('paper')
    assert {geometry: 1}[Geometry.of('paper', [0, 1, 2, 3, 4.0])] == 1
    with pytest.raises(FrozenInstanceError):
        geometry.name = 'released'


def test_wrong_order_names_both_and_the_cure():
    given = mark_geometry(WEIGHTS, 'released')
    with pytest.raises(GeometryError) as error:
        check_geometry(Geometry.of('paper'), given)
    for part in ('s = -2, -1, 0, 1, 2', 'd = 0, 1, 2, 3, 4', "geometry='released'"):
        assert part in str(error.value)


@pytest.mark.parametrize('name', [*WEIGHTS, 'stage0.blocks.0.mix.vertical.0.weight'])
@pytest.mark.parametrize('prefix', ['', 'backbone.', 'module.backbone.'])
def test_the_mark_stands_beside_the_weights(prefix, name):
    weights = {'head.weight': torch.ones(1), prefix + name: torch.ones(1)}
    given = mark_geometry(weights, 'released')
    assert given.keys() - weights.keys() == {prefix + 'geometry'}
    check_geometry(Geometry.of('released'), given, prefix)


def test_wrong_distances():
    given = mark_geometry(WEIGHTS, 'paper', (0, 2, 5))
    with pytest.raises(GeometryError, match=r'shift_dist=\(0, 2, 5\)'):
        check_geometry(Geometry.of('paper'), given)
    with pytest.raises(GeometryError):  # same numbers, other order
        check_geometry(Geometry.of('released', (0, 2, 5)), given)
    check_geometry(Geometry.of('paper', (0, 2, 5)), given)


def test_unmarked_weights():
    expected = Geometry.of('paper')
    with pytest.raises(GeometryError, match='state no geometry'):
        check_geometry(expected, WEIGHTS)
    prefixed = {f'backbone.{key}': value for key, value in WEIGHTS.items()}
    with pytest.raises(GeometryError, match='state no geometry'):
        check_geometry(expected, prefixed, 'backbone.')
    check_geometry(expected, prefixed, 'teacher.')
    check_geometry(expected, {'stages.0.blocks.0.attn.weight': torch.ones(1)})


@pytest.mark.parametrize(
    'mark',
    [
        torch.tensor([0.0, 1.0]),
        torch.tensor([2, 0, 1]),
        torch.tensor([0]),
        torch.tensor([[0, 1]]),
        'paper',
    ],
)
def test_unreadable_mark(mark):
    with pytest.raises(GeometryError, match='cannot be read'):
        Geometry.from_mark(mark)


def test_marking():
    prefixed = {f'backbone.{key}': value for key, value in WEIGHTS.items()}
    marked = mark_geometry(prefixed, 'released')
    assert Geometry.from_mark(marked['backbone.geometry']) == Geometry.of('released')
    assert 'backbone.geometry' not in prefixed
    assert mark_geometry(marked, 'released').keys() == marked.keys()
    with pytest.raises(GeometryError, match='trained as released'):
        mark_geometry(marked, 'paper')
    with pytest.raises(GeometryError, match='no mix-shift weights'):
        mark_geometry({'conv.weight': torch.ones(1)}, 'paper')


@pytest.mark.parametrize(
    'arguments', [('authors',), ('paper', ()), ('paper', (0, 0.5)), ('paper', (-1, 0))]
)
def test_bad_geometry(arguments):
    with pytest.raises(ValueError):
        Geometry.of(*arguments)
