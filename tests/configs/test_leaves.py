"""Every leaf of configs/ is a few lines that state nothing but its model."""

import ast

import pytest

from tests.helpers.recipes import CONFIGS, LEAVES

EXAMPLES = {'upernet_msmlp_t_camvid'}  # shows how to bring a data set of one's own
EXPERIMENTS = [name for name in LEAVES if name not in EXAMPLES]


@pytest.mark.parametrize('name', EXPERIMENTS)
def test_a_leaf_is_ten_lines_at_most(name):
    lines = (CONFIGS / f'{name}.py').read_text().splitlines()
    code = [line for line in lines if line.strip() and line.lstrip()[0] != '#']
    assert len(code) <= 10


@pytest.mark.parametrize('name', EXPERIMENTS)
def test_a_leaf_states_nothing_but_its_model(name):
    tree = ast.parse((CONFIGS / f'{name}.py').read_text())
    assigned = {target.id for node in tree.body for target in node.targets}
    assert assigned <= {'_base_', 'model'}
