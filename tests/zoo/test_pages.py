"""Are the zoo's page, the index and the list of far cells those of the configs?"""

import re
from pathlib import Path

import pytest
import yaml

from mmmsmlp.configs import Leaf, list_configs
from zoo import pages
from zoo.compare import compare

ROOT = Path(__file__).parents[2]
FAR = yaml.safe_load((ROOT / 'tools' / 'zoo' / 'far_cells.yaml').read_text())


@pytest.mark.slow
def test_every_generated_file_is_in_step():
    for name, text in pages.pages().items():
        assert (ROOT / name).read_text() == text, f'run tools/model_zoo.py: {name}'


@pytest.mark.slow
def test_the_far_cells_are_all_listed_and_no_other():
    """Parameters within 4 % of Tables 6 and 8, but for a committed list."""
    found = {}
    for name in list_configs('*_1x'):
        row = compare(name)
        difference = row.difference('params_m')
        if difference is not None and abs(difference) > 0.04:
            found[name] = (row.paper.table, row.paper.row['params_m'], row.params_m)
    listed = {
        cell['config']: (
            cell['table'],
            cell['printed'],
            pytest.approx(cell['computed'], abs=0.005),
        )
        for cell in FAR
    }
    assert found == listed


def test_every_leaf_is_in_the_zoo_and_in_an_index():
    leaves = {name for name in list_configs() if Leaf.parse(name)}
    zoo = (ROOT / 'docs' / 'model_zoo.md').read_text()
    assert set(re.findall(r'^\| \[([^/\]]+)\]', zoo, re.M)) == leaves
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    models = [
        model
        for metafile in index['Import']
        for model in yaml.safe_load((ROOT / metafile).read_text())['Models']
    ]
    assert {model['Name'] for model in models} == leaves
    for model in models:
        assert (ROOT / model['Config']).is_file()


@pytest.mark.full
@pytest.mark.parametrize(
    'name', ['retinanet_msmlp_t_1x', 'mask-rcnn_msmlp_s_3x', 'upernet_swin_t_160k']
)
def test_a_line_says_what_was_counted(name):
    row = compare(name)
    zoo = (ROOT / 'docs' / 'model_zoo.md').read_text()
    (line,) = [line for line in zoo.splitlines() if line.startswith(f'| [{name}]')]
    assert f'| {row.params_m:.2f} / {row.macs_g:.2f} |' in line
    assert f'(Table {row.paper.table})' in line


def test_runs_name_configs_and_sections_that_exist():
    runs = yaml.safe_load((ROOT / 'tools' / 'zoo' / 'runs.yaml').read_text())
    known = list_configs()
    for run in runs:
        assert run['config'] in known
        page, _, anchor = run['log'].partition('#')
        headings = re.findall(r'^#+ (.+)$', (ROOT / 'docs' / page).read_text(), re.M)
        anchors = [
            re.sub(r'[^\w -]', '', h).lower().replace(' ', '-') for h in headings
        ]
        assert anchor in anchors, run['log']
