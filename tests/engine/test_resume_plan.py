"""Does a resumed run follow its config, whatever the checkpoint's plan was?"""

from copy import deepcopy

import pytest
import torch
from mmengine.hooks import Hook

from mmmsmlp.engine.resume import replay
from mmmsmlp.errors import BadInput, CheckpointError
from tests.helpers.toy_runs import Net, loader, runner

pytestmark = pytest.mark.usefixtures('fresh_managers')


class Rates(Hook):
    """The rate and momentum of every step, by its number."""

    def __init__(self):
        self.seen = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        group = runner.optim_wrapper.param_groups[0]
        momentum = group.get('momentum', 0) or group.get('betas')
        self.seen[runner.iter] = group['lr'], momentum


def train(folder, schedule, resume=None, by_epoch=True, length=4, end=4, **kwargs):
    """Rates of a run of so many epochs or iterations, and its runner."""
    loop = dict(by_epoch=True, max_epochs=end) if by_epoch else dict(
        by_epoch=False, max_iters=end)  # fmt: skip
    data = loader(2 * length)
    if not by_epoch:
        data['sampler'] = dict(type='InfiniteSampler', shuffle=False)
    rates = Rates()
    run = runner(
        Net(dict(loss=[1.0])),
        folder,
        cfg=dict(param_scheduler=deepcopy(schedule)),
        param_scheduler=deepcopy(schedule),
        train_dataloader=data,
        train_cfg=loop,
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', interval=1, by_epoch=by_epoch, max_keep_ckpts=-1
            )
        ),
        custom_hooks=[
            rates,
            dict(type='mmmsmlp.ResumePlanHook'),
            dict(type='mmmsmlp.PlainCheckpointHook'),
        ],
        resume=resume is not None,
        load_from=resume and str(resume),
        **kwargs,
    )
    run.train()
    return rates.seen, run


WARM_UP = dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=6)
# A plan for so many epochs, by epoch and by iteration.
PLANS = {
    'cosine': lambda n: [WARM_UP, dict(type='CosineAnnealingLR', T_max=n, end=n)],
    'cosine by iterations': lambda n: [
        WARM_UP,
        dict(type='CosineAnnealingLR', T_max=n, end=n, convert_to_iter_based=True),
    ],
    'steps': lambda n: [
        WARM_UP,
        dict(type='MultiStepLR', milestones=[n // 2, n - 1], end=n, gamma=0.1),
    ],
    'polynomial': lambda n: [
        WARM_UP,
        dict(type='PolyLR', power=0.9, eta_min=1e-4, end=n, convert_to_iter_based=True),
    ],
    'polynomial by epoch, default end': lambda n: [dict(type='PolyLR', power=1.0)],
    'cosine after warm-up': lambda n: [
        WARM_UP,
        dict(type='CosineAnnealingLR', begin=2, T_max=n - 2, end=n),
    ],
}


@pytest.mark.parametrize('name', PLANS)
@pytest.mark.parametrize(('old', 'new'), [(4, 8), (8, 5)])
def test_longer_and_shorter_by_epoch(tmp_path, name, old, new):
    plan = PLANS[name]
    train(tmp_path / 'old', plan(old), end=old)
    straight, _ = train(tmp_path / 'straight', plan(new), end=new)
    again, run = train(
        tmp_path / 'new', plan(new), tmp_path / 'old' / 'epoch_4.pth', end=new
    )
    assert list(again) == list(range(16, 4 * new))
    assert again == {step: straight[step] for step in again}
    assert run.iter == 4 * new


ITERATION_PLANS = {
    'polynomial': lambda n: [
        WARM_UP,
        dict(type='PolyLR', power=1.0, begin=6, end=n, by_epoch=False),
    ],
    'cosine': lambda n: [
        dict(type='CosineAnnealingLR', T_max=n, end=n, by_epoch=False)
    ],
    'steps': lambda n: [
        dict(type='MultiStepLR', milestones=[n // 2, n - 2], by_epoch=False)
    ],
    'one cycle': lambda n: [
        dict(type='OneCycleLR', eta_max=0.5, total_steps=n, by_epoch=False)
    ],
}


@pytest.mark.parametrize('name', ITERATION_PLANS)
@pytest.mark.parametrize(('old', 'new'), [(10, 20), (20, 12)])
def test_longer_and_shorter_by_iteration(tmp_path, name, old, new):
    plan = ITERATION_PLANS[name]
    train(tmp_path / 'old', plan(old), by_epoch=False, end=old)
    straight, _ = train(tmp_path / 'straight', plan(new), by_epoch=False, end=new)
    again, _ = train(
        tmp_path / 'new', plan(new), tmp_path / 'old' / 'iter_10.pth',
        by_epoch=False, end=new,
    )  # fmt: skip
    assert list(again) == list(range(10, new))
    assert again == {step: straight[step] for step in again}


@pytest.mark.parametrize('name', PLANS)
@pytest.mark.parametrize('length', [8, 2])
def test_epochs_of_another_length(tmp_path, name, length):
    """As with half the GPUs, or twice as many: an epoch has other iterations."""
    plan = PLANS[name]
    train(tmp_path / 'old', plan(6), end=6, length=4)
    straight, _ = train(tmp_path / 'straight', plan(6), end=6, length=length)
    again, run = train(
        tmp_path / 'new',
        plan(6),
        tmp_path / 'old' / 'epoch_3.pth',
        length=length,
        end=6,
    )
    assert list(again) == list(range(3 * length, 6 * length))
    assert again == {step: straight[step] for step in again}
    assert f'an epoch has {length} iterations, and had 4' in log_of(run)


def log_of(run):
    from pathlib import Path

    return next(Path(run.log_dir).glob('*.log')).read_text()


def test_the_same_plan_is_bit_identical(tmp_path):
    plan = PLANS['cosine by iterations'](4)
    optimizer = dict(type='AdamW', lr=0.01)
    _, whole = train(tmp_path / 'whole', plan, optimizer=optimizer)
    _, again = train(
        tmp_path / 'again',
        plan,
        tmp_path / 'whole' / 'epoch_2.pth',
        optimizer=optimizer,
    )
    assert torch.equal(whole.model.weight, again.model.weight)
    first, second = (
        torch.load(tmp_path / name / 'epoch_4.pth', weights_only=True)
        for name in ('whole', 'again')
    )
    assert first['param_schedulers'] == second['param_schedulers']
    assert first['optimizer']['param_groups'] == second['optimizer']['param_groups']
    assert 'schedule   checkpoint  as the config has it' in log_of(again)


def test_rate_decay_and_momentum_follow_the_config(tmp_path):
    plan = [
        *PLANS['cosine'](4),
        dict(type='CosineAnnealingMomentum', T_max=4, end=4, eta_min=0.5),
    ]
    before = dict(type='AdamW', lr=0.01, weight_decay=0.1)
    after = dict(type='AdamW', lr=0.02, betas=(0.8, 0.99), weight_decay=0.3)
    train(tmp_path / 'old', plan, optimizer=before)
    straight, _ = train(tmp_path / 'straight', plan, optimizer=after)
    again, run = train(
        tmp_path / 'new', plan, tmp_path / 'old' / 'epoch_2.pth', optimizer=after
    )
    assert again == {step: straight[step] for step in again} and len(again) == 8
    assert run.optim_wrapper.param_groups[0]['weight_decay'] == 0.3
    log = log_of(run)
    assert 'weight_decay 0.3 (was 0.1)' in log and 'lr 0.02 (was 0.01)' in log
    assert 'rate       config' in log


@pytest.mark.parametrize('schedule', [[], PLANS['steps'](4)])
def test_a_schedule_that_comes_or_goes(tmp_path, schedule):
    train(tmp_path / 'old', PLANS['steps'](4) if not schedule else [])
    straight, _ = train(tmp_path / 'straight', schedule)
    again, _ = train(tmp_path / 'new', schedule, tmp_path / 'old' / 'epoch_2.pth')
    assert again == {step: straight[step] for step in again} and len(again) == 8


def test_a_file_without_optimizer_follows_the_schedule_too(tmp_path):
    """As best_*.pth, which mmengine saves without."""
    plan = PLANS['steps'](4)
    straight, _ = train(tmp_path / 'old', plan)
    content = torch.load(tmp_path / 'old' / 'epoch_2.pth', weights_only=True)
    for key in 'optimizer', 'param_schedulers':
        del content[key]
    torch.save(content, tmp_path / 'best.pth')
    again, run = train(tmp_path / 'new', plan, tmp_path / 'best.pth')
    assert again == {step: straight[step] for step in again} and len(again) == 8
    assert 'its averages start anew' in log_of(run)


def test_a_finished_run_has_nothing_left_to_do(tmp_path):
    for by_epoch, name in ((True, 'epoch_4'), (False, 'iter_4')):
        folder = tmp_path / name
        _, whole = train(folder, [], by_epoch=by_epoch)
        again, run = train(
            tmp_path / f'{name} again', [], folder / f'{name}.pth', by_epoch=by_epoch
        )
        assert again == {}
        assert torch.equal(whole.model.weight, run.model.weight)
        assert 'nothing is left to do: 4 of 4' in log_of(run)


def test_what_cannot_be_resumed_is_refused(tmp_path):
    plateau = [dict(type='ReduceOnPlateauLR', monitor='loss', patience=1)]
    train(tmp_path / 'old', [])
    file = tmp_path / 'old' / 'epoch_2.pth'
    with pytest.raises(BadInput, match='depend on past metrics'):
        train(tmp_path / 'new', plateau, file)
    content = torch.load(file, weights_only=True)
    content['optimizer']['param_groups'][0]['params'] = [0, 1]
    torch.save(content, file)
    with pytest.raises(CheckpointError, match='2 parameters .* load_from='):
        train(tmp_path / 'new2', [], file)
    other = dict(type='AdamW', lr=0.01)
    with pytest.raises(CheckpointError, match='momentum, .* AdamW has betas'):
        train(tmp_path / 'new4', [], tmp_path / 'old' / 'epoch_1.pth', optimizer=other)
    train(tmp_path / 'adam', [], optimizer=other)
    with pytest.raises(CheckpointError, match='betas, .* SGD has momentum'):
        train(tmp_path / 'new5', [], tmp_path / 'adam' / 'epoch_2.pth')
    average = torch.load(tmp_path / 'old' / 'epoch_1.pth', weights_only=True)
    average['ema_state_dict'] = average['state_dict']
    torch.save(average, tmp_path / 'average.pth')
    with pytest.raises(CheckpointError, match='trained with an EMAHook'):
        train(tmp_path / 'new6', [], tmp_path / 'average.pth')
    del content['meta']['iter']
    torch.save(content, file)
    with pytest.raises(CheckpointError, match='neither epoch nor iteration'):
        train(tmp_path / 'new3', [], file)


def test_a_long_schedule_of_many_groups_is_replayed_in_seconds():
    from mmengine.optim import PolyLR

    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(300)]
    groups = [dict(params=[w], lr=[0.1, 0.2][i % 2]) for i, w in enumerate(weights)]
    optimizer = torch.optim.AdamW(groups)
    states, rates = replay(
        optimizer, lambda o: [PolyLR(o, end=160000, by_epoch=False)], 0, 80000, 0
    )
    assert len(states[0]['base_values']) == len(rates) == 300
    assert rates[7]['lr'] == pytest.approx(0.1, rel=1e-4)  # mmengine's own rounding
    assert rates[8]['lr'] == pytest.approx(0.05, rel=1e-4)
