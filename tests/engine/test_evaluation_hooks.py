"""What is said of outputs that are no numbers and of metrics that never come."""

from math import nan

import pytest

from mmmsmlp.errors import BadInput
from tests.helpers.toy_runs import Net, Score, runner

pytestmark = pytest.mark.usefixtures('fresh_managers')


def test_outputs_that_are_not_finite_are_told(tmp_path):
    model = Net(dict(loss=[1.0]))
    model.output = nan
    runner(model, tmp_path, val=True, epochs=1).train()
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'the outputs of 4 images are not finite' in log
    assert 'img/0.png, img/1.png, img/2.png, img/3.png' in log


def test_a_metric_of_nan_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(Score, 'score', nan)
    runner(Net(dict(loss=[1.0])), tmp_path, val=True, epochs=1).train()
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'the evaluation gives nan for score' in log


def test_a_best_that_never_comes_stops_the_run(tmp_path):
    saving = dict(save_best='old_score', rule='greater')
    run = runner(Net(dict(loss=[1.0])), tmp_path, val=True, saving=saving)
    with pytest.raises(BadInput, match="save_best='old_score' is none .*: 'score'$"):
        run.train()
    assert (tmp_path / 'epoch_1.pth').exists()


def test_early_stopping_on_what_never_comes_stops_the_run(tmp_path):
    run = runner(Net(dict(loss=[1.0])), tmp_path, val=True)
    run.register_hook(dict(type='EarlyStoppingHook', monitor='acc', rule='greater'))
    with pytest.raises(BadInput, match="monitor of EarlyStoppingHook='acc'"):
        run.train()


def test_nothing_is_published_where_no_best_came(tmp_path):
    """mmengine would end in a TypeError after the last epoch."""
    saving = dict(save_best=['score', 'other'], rule='greater', published_keys=['meta'])
    run = runner(Net(dict(loss=[1.0])), tmp_path, saving=saving)
    run.train()
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'nothing is published for the best score, other' in log
    assert [p.name[:8] for p in tmp_path.glob('epoch_2-*')] == ['epoch_2-']
