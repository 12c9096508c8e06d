"""Does --try go through a run's life, and does its forecast add up?"""

import re
import time

import pytest
import torch

from mmmsmlp.run.config import build_runner, load_config
from mmmsmlp.run.trial import Plan, Times, table
from tests.helpers.toy_runs import Net, loader, runner


def test_the_forecast_adds_up(tmp_path):
    plan = Plan(
        steps=1000, starts=12, evaluations=4, batches=50, written=12, kept=5, best=1
    )
    times = Times()
    times.step, times.start = [0.5, 1.5], [9.0, 3.0]  # the first start loads libraries
    times.batch, times.scoring = [0.2, 0.4], [0.6]
    times.saving, times.saving_best = [2.0], [1.0]
    lines = table(plan, times, (2**29, 2**28), str(tmp_path)).splitlines()
    rows = dict(re.split(r'  +', line, maxsplit=1) for line in lines[1:])
    assert rows['training'] == '1.000 s a step   1000 steps: 0:17:04'  # and 12 x 2 s
    assert rows['evaluation'] == '0.300 s a batch  4 of 50 batches: 0:01:20'
    assert rows['checkpoints'].startswith(
        '512 MiB, 2.0 s   5 of 12 stay, and 1 of the best: 2.8 GiB of '
    )
    assert '0:19:00; begun now' in rows['in all']
    times.step = []  # of a run of two steps, whose first one is all there is
    times.start = [2.0]
    assert 'training     2.000 s a step' in table(plan, times, (1, 1), str(tmp_path))


class Slow(Net):
    def forward(self, *args, **kwargs):
        time.sleep(0.005)
        return super().forward(*args, **kwargs)


def test_saving_is_no_part_of_a_step(tmp_path, fresh_managers):
    """A checkpoint in the last step, and one of the best after the evaluation."""
    run = runner(
        Slow(dict(loss=[1.0])), tmp_path, val=True,
        train_dataloader=loader(12),
        train_cfg=dict(by_epoch=False, max_iters=6, val_interval=6),
        saving=dict(by_epoch=False, save_best='score', rule='greater'),
    )  # fmt: skip
    times = Times()
    run.register_hook(times)
    save = run.save_checkpoint
    run.save_checkpoint = lambda *args, **kwargs: (
        time.sleep(0.1),
        save(*args, **kwargs),
    )
    run.train()
    assert len(times.step) == 4 and all(0.005 < lap < 0.1 for lap in times.step)
    assert len(times.batch) == 1 and 0.005 < times.batch[0] < 0.1
    # Six by number, and the sixth anew, which notes what is the best.
    assert len(times.saving) == 7 and len(times.saving_best) == 1
    assert min(*times.saving, *times.saving_best) > 0.1


@pytest.mark.full
@pytest.mark.parametrize(
    ('options', 'plan'),
    [
        (
            dict(train_cfg=dict(max_epochs=7, val_begin=2, val_interval=3)),
            Plan(21, starts=7, evaluations=3, batches=3, written=7, kept=3, best=1),
        ),
        (
            dict(
                train_cfg=dict(
                    _delete_=True, type='IterBasedTrainLoop', max_iters=50,
                    val_interval=20,
                ),
                default_hooks=dict(checkpoint=dict(by_epoch=False, interval=20)),
            ),
            Plan(50, starts=1, evaluations=3, batches=3, written=3, kept=3, best=1),
        ),
    ],
)  # fmt: skip
def test_a_plan_is_counted(tiny_config, tmp_path, fresh_managers, options, plan):
    cfg = load_config(tiny_config, {})
    cfg.work_dir = str(tmp_path)
    cfg.merge_from_dict(options)
    cfg.default_hooks.checkpoint.max_keep_ckpts = 3
    assert Plan.of(build_runner(cfg, 'train', 'val')) == plan


@pytest.mark.full
def test_a_trial_goes_through_a_whole_life(run_tool, tiny_config, tmp_path):
    run = tmp_path / 'run'
    run.mkdir()
    torch.save(dict(another=1), run / 'epoch_9.pth')
    code, out, err = run_tool(
        *('train.py', tiny_config, '--try', '--work-dir', run),
        *('--cfg-options', 'train_cfg.max_epochs=12'),
    )
    assert code == 0, err
    assert '36 steps: ' in out and '12 of 3 batches: ' in out
    assert 'Epoch(train) [2][3/3]' in out and 'Epoch(val) [2][3/3]' in out
    assert 'resumed epoch: 1, iter: 3' in out + err
    drawn = out.rpartition('drawn: ')[2].strip()
    assert drawn == str(run / 'try' / 'drawn')
    assert [path.name for path in (run / 'try' / 'drawn' / 'vis').iterdir()] == [
        '1.png'
    ]
    # The run folder is as it was, and the trial's weights are gone.
    assert {path.name for path in run.iterdir()} == {'epoch_9.pth', 'try'}
    assert list(run.glob('try/*.pth')) == []


def test_try_and_resume_exclude_each_other(run_tool, tiny_config):
    code, _, err = run_tool('train.py', tiny_config, '--try', '--resume')
    assert code == 2 and '--try starts anew' in err
