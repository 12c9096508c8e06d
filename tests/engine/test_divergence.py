"""Does a run stop where its loss or its weights are no numbers, and only there?"""

import json
import os
import subprocess
import sys
from math import inf, nan
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.structures import BaseDataElement

from mmmsmlp.engine.divergence import images_of
from mmmsmlp.errors import Diverged
from tests.helpers.commands import ROOT
from tests.helpers.toy_runs import Net, Told, runner

pytestmark = pytest.mark.usefixtures('fresh_managers')


def saved(work_dir):
    return sorted(path.name for path in Path(work_dir).glob('*.pth'))


def test_three_in_a_row_stop_it_and_the_sound_checkpoint_stays(tmp_path):
    terms = dict(loss_a=[1.0] * 5 + [nan] * 9, loss_b=[0.5] * 14)
    run = runner(Net(terms), tmp_path, dict(steps=2), epochs=5)
    with pytest.raises(Diverged) as stopped:
        run.train()
    said = str(stopped.value)
    assert 'the loss is not finite in 2 steps in a row' in said
    assert 'first in step 6 (epoch 2) with loss nan, loss_a nan, loss_b 0.' in said
    assert 'rate 0.1' in said
    assert 'gradient norm 3 in step 1, ' in said
    assert 'images img/2.png, img/3.png' in said
    assert f'{tmp_path}/epoch_1.pth' in said and run.iter == 6
    assert saved(tmp_path) == ['epoch_1.pth']
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    state = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['state_dict']
    assert state['weight'].isfinite().all()


@pytest.mark.parametrize(
    ('optim', 'step'),
    [
        ({}, 11),
        (dict(accumulative_counts=3), 33),
        (dict(clip_grad=dict(max_norm=1e3)), 34),  # which measures each
    ],
)
def test_the_norm_is_that_of_all_gradients(tmp_path, optim, step):
    """Of 1.5 w^2, where each step of the optimizer takes w to 0.7 w."""
    counts = optim.get('accumulative_counts', 1)
    good = 34 if optim else 14
    terms = dict(loss_a=[1.0] * good + [nan], loss_b=[0.5] * (good + 1))
    run = runner(Net(terms), tmp_path, dict(steps=1), epochs=9, optim=optim)
    norm = 3 * 0.7 ** ((step - 1) // counts)
    with pytest.raises(Diverged, match=f'gradient norm {norm:.4g} in step {step},'):
        run.train()


@pytest.mark.parametrize('value', [nan, inf, -inf])
def test_once_or_twice_is_no_divergence(tmp_path, value):
    model = Told([1.0, value, value, 1.0, value, 1.0, 1.0, 1.0])
    run = runner(model, tmp_path)
    run.train()
    assert run.iter == 8 and saved(tmp_path) == ['epoch_1.pth', 'epoch_2.pth']
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert log.count('the loss is not finite; 3 steps in a row stop the run') == 2


def test_an_infinite_term_stops_it(tmp_path):
    terms = dict(loss_a=[1.0], loss_b=[1.0, 1.0, inf, inf, inf])
    with pytest.raises(
        Diverged, match='step 3 .* with loss inf, loss_a 0.1296, loss_b inf'
    ):
        runner(Net(terms), tmp_path).train()
    assert saved(tmp_path) == []


@pytest.mark.parametrize('steps', [0, None, 9])
def test_spoilt_weights_are_never_saved(tmp_path, steps):
    """Whatever the count: the loss is nan in the last step of epoch 2 alone."""
    model = Net(dict(loss=[1.0] * 7 + [nan] + [1.0] * 9))
    with pytest.raises(Diverged, match=r'1 tensors of the model .*\(weight\)'):
        runner(model, tmp_path, dict(steps=steps), epochs=4).train()
    assert saved(tmp_path) == ['epoch_1.pth']


def test_spoilt_weights_are_not_evaluated(tmp_path):
    model = Net(dict(loss=[1.0]))
    run = runner(model, tmp_path, dict(steps=0), val=True)
    run.register_hook(Broken(), 'VERY_HIGH')
    with pytest.raises(Diverged, match='not finite'):
        run.train()
    assert not run.val_loop.evaluator.metrics[0].results


class Broken(Hook):
    """As a hook that changes weights between the end of an epoch and validation."""

    priority = 'LOWEST'

    def after_train_epoch(self, runner):
        torch.nn.init.constant_(runner.model.weight, nan)


def cures(said):
    return said.partition('Try, in this order: ')[2]


def test_cures_stand_in_the_order_that_fits(tmp_path):
    terms = dict(loss=[1.0, nan])
    for name, lr, first in (
        ('absurd', 1e6, 'a lower rate'),
        ('usual', 0.1, 'a longer warm-up'),
    ):
        with pytest.raises(Diverged) as stopped:
            runner(
                Net(terms), tmp_path / name, dict(steps=1), optimizer=dict(lr=lr)
            ).train()
        assert cures(str(stopped.value)).startswith(f'(1) {first}')
    run = runner(Net(terms), tmp_path / 'batch', dict(steps=1))
    run.cfg.auto_scale_lr = dict(base_batch_size=16)
    with pytest.raises(Diverged) as stopped:
        run.train()
    assert cures(str(stopped.value)).startswith(
        '(1) --auto-scale-lr: the rate is for 16'
    )
    exploding = Net(dict(loss=[1e5, nan]))
    with pytest.raises(Diverged) as stopped:
        runner(
            exploding, tmp_path / 'norm', dict(steps=1), optimizer=dict(lr=1e-9)
        ).train()
    assert cures(str(stopped.value)).startswith('(1) gradient clipping')


def test_images_are_found_however_a_batch_is_nested():
    first, second = (BaseDataElement(metainfo=dict(img_path=p)) for p in 'ab')
    third = BaseDataElement(metainfo=dict(img_id=3))
    nested = dict(sup=dict(data_samples=[first]), other=([second], third), x=1)
    assert list(images_of(nested)) == ['a', 'b', '3']


TWO = """
import json, os, sys
import torch
from math import nan
from mmengine.config import Config
sys.path.insert(0, {root!r})
from mmmsmlp.errors import Diverged
from mmmsmlp.run.launch import _join_gloo
from tests.helpers.toy_runs import Told, runner
cfg = Config(dict())
_join_gloo(cfg)
rank = int(os.environ['RANK'])
model = Told([1.0, *[nan if rank == 1 else 1.0] * 7])
run = runner(model, sys.argv[1], launcher='none')
try:
    run.train()
    said = 'ended'
except Diverged as error:
    said = str(error)
open(sys.argv[1] + f'/said{{rank}}.json', 'w').write(json.dumps([run.iter, said]))
"""


@pytest.mark.full
def test_two_processes_stop_together(tmp_path):
    """The loss is NaN in the second one only, and never reaches a gradient."""
    script = tmp_path / 'two.py'
    script.write_text(TWO.format(root=str(ROOT)))
    env = dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1')
    launch = ['torch.distributed.run', '--standalone', '--local-addr=127.0.0.1']
    command = [sys.executable, '-m', *launch, '--nproc-per-node=2', script, tmp_path]
    done = subprocess.run(command, env=env, capture_output=True, timeout=120, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    said = [json.loads((tmp_path / f'said{rank}.json').read_text()) for rank in (0, 1)]
    assert said[0] == said[1] and said[0][0] == 3
    assert 'first in step 2 (epoch 1) of process 1' in said[0][1]
