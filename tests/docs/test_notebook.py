"""Does demo/tutorial.ipynb run from its first cell to its last?"""

import ast
import json

import pytest

from tests.helpers.commands import ROOT

NOTEBOOK = json.loads((ROOT / 'demo/tutorial.ipynb').read_text(encoding='utf-8'))
CODE = [
    ''.join(cell['source']) for cell in NOTEBOOK['cells'] if cell['cell_type'] == 'code'
]
SMALLER = {  # so few steps teach nothing: any box counts
    'train=200, val=20': 'train=24, val=4',
    'max_epochs=6': 'max_epochs=1',
    'epoch_6': 'epoch_1',
    "'randomness.seed=0'": "'randomness.seed=0', 'model.test_cfg.score_thr=0.0'",
}


def test_the_notebook_is_kept_without_outputs():
    assert (NOTEBOOK['nbformat'], NOTEBOOK['nbformat_minor']) == (4, 5)
    assert len({cell['id'] for cell in NOTEBOOK['cells']}) == len(NOTEBOOK['cells'])
    for cell in NOTEBOOK['cells']:
        assert not cell.get('outputs') and cell.get('execution_count') is None
    for code in CODE:
        ast.parse(code)  # no magic: any Python runs it
    text = '\n'.join(CODE)
    assert all(old in text for old in SMALLER)


@pytest.mark.slow
def test_the_notebook_runs_on_fewer_pictures(
    tmp_path, monkeypatch, data_cache, fresh_managers, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('XDG_CACHE_HOME', str(data_cache))
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    import matplotlib

    matplotlib.use('Agg')
    names, shown = {}, []
    monkeypatch.setattr('matplotlib.pyplot.show', lambda: shown.append(1))
    for code in CODE:
        for old, new in SMALLER.items():
            code = code.replace(old, new)
        exec(code, names)
    said = capsys.readouterr().out
    assert [m.shape[1:] for m in names['maps']] == [
        (96, 50, 80), (192, 25, 40), (384, 13, 20), (768, 7, 10)
    ]  # fmt: skip
    wide = [int((group > 0).any(0).sum()) for group in names['seen']]
    assert wide == [1, 2, 5, 8, 11]  # r + d columns, of both axes' branches
    assert 'nothing in the data would end or spoil a run' in said
    assert 'star_precision' in said
    assert len(shown) == 4 and len(names['found']['predictions']) == 4
    config = names['config'].model
    assert config.backbone.type == 'mmmsmlp.MSMLP'
    assert config.neck.in_channels == [192, 384, 768]
