"""Does a run that was stopped and resumed end where an undisturbed one ends?"""

import shutil

import pytest
import torch

from mmmsmlp.run.mends import latest_checkpoint

pytestmark = pytest.mark.full

FLIPPING = """
_base_ = '{config}'
model = dict(backbone=dict(drop_path_rate=0.5, layer_scale_init_value=1.0))
flip = dict(type='RandomFlip', prob=0.5)
crop = dict(type='RandomCrop', crop_size=(40, 40), allow_negative_crop=True)
train_dataloader = dict(num_workers={workers}, dataset=dict(pipeline=[
    *_base_.load, flip, crop, _base_.pack]))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
{loop}
val_cfg = val_dataloader = val_evaluator = None
"""
BY_EPOCH = """
train_cfg = dict(max_epochs=4)
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[1, 3])]
"""
BY_ITERATION = """
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=8)
train_dataloader = dict(sampler=dict(type='InfiniteSampler'))
param_scheduler = [dict(type='PolyLR', by_epoch=False, end=8)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2, max_keep_ckpts=9))
log_processor = dict(by_epoch=False)
randomness = dict(seed=None)
"""


def weights(path):
    return torch.load(path, weights_only=True)['state_dict']


@pytest.mark.parametrize(
    ('loop', 'middle', 'end', 'workers'),
    [
        (BY_EPOCH, 'epoch_2', 'epoch_4', 0),
        (BY_EPOCH, 'epoch_2', 'epoch_4', 2),
        (BY_ITERATION, 'iter_4', 'iter_8', 0),
    ],
)
def test_it_ends_with_the_same_weights(
    run_tool, tiny_config, tmp_path, loop, middle, end, workers
):
    config = tmp_path / 'flipping.py'
    config.write_text(FLIPPING.format(config=tiny_config, workers=workers, loop=loop))
    whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
    code, _, err = run_tool('train.py', config, '--work-dir', whole)
    assert code == 0, err
    # As after kill -9: the later checkpoint was never written.
    stopped.mkdir()
    shutil.copy(whole / f'{middle}.pth', stopped)
    assert latest_checkpoint(stopped) == str(stopped / f'{middle}.pth')
    again = ['--resume'] if workers else ['--cfg-options', 'resume=True']
    code, _, err = run_tool('train.py', config, '--work-dir', stopped, *again)
    assert code == 0, err
    once, twice = weights(whole / f'{end}.pth'), weights(stopped / f'{end}.pth')
    assert once.keys() == twice.keys()
    for name, tensor in once.items():
        torch.testing.assert_close(twice[name], tensor, rtol=0, atol=0, msg=name)
    # and training did move, with other numbers in each step
    before = weights(whole / f'{middle}.pth')
    moved = [n for n in once if not torch.equal(before[n], once[n])]
    assert len(moved) > len(once) / 2
