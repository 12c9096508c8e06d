"""What mmengine gets from a checkpoint once the tools have put their reader in."""

import os
from argparse import Namespace

import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader, save_checkpoint

from mmmsmlp.engine.hooks import PlainCheckpointHook
from mmmsmlp.errors import CheckpointError
from mmmsmlp.run import mends
from tests.helpers.hostile import Runs


@pytest.fixture
def load(stock_mmengine):
    mends.install()
    return CheckpointLoader.load_checkpoint


def test_a_training_state_comes_back_whole(load, tmp_path):
    buffer = HistoryBuffer([1.0, 3.0], [1, 1])
    content = dict(
        state_dict=dict(w=torch.arange(3.0)),
        message_hub=dict(log_scalars=dict(loss=buffer)),
    )
    torch.save(content, tmp_path / 'run.pth')
    loaded = load(str(tmp_path / 'run.pth'))
    PlainCheckpointHook().after_load_checkpoint(None, loaded)
    (loss,) = loaded['message_hub']['log_scalars'].values()
    assert type(loss) is HistoryBuffer
    assert loss.mean() == 2.0
    assert loaded['state_dict']['w'].tolist() == [0, 1, 2]


def test_half_of_what_an_averaging_run_saves(load, tmp_path):
    file = tmp_path / 'half.pth'
    torch.save(dict(meta={}, ema_state_dict={'module.w': torch.ones(2)}), file)
    with pytest.raises(CheckpointError, match='ema_state_dict alone is half'):
        load(str(file))


def test_a_foreign_config_comes_back_inert(load, tmp_path):
    args = Namespace(cmd='x')
    torch.save(dict(model=dict(w=torch.ones(2)), args=args), tmp_path / 'other.pth')
    loaded = load(str(tmp_path / 'other.pth'))
    assert loaded['model']['w'].tolist() == [1, 1]
    assert type(loaded['args']) is not Namespace


def test_code_does_not_run(load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(
        dict(state_dict=dict(w=torch.ones(2)), x=Runs(os.mkdir, 'exploded')), 'bomb.pth'
    )
    with pytest.raises(CheckpointError, match='mkdir'):
        load('bomb.pth')
    assert not os.path.exists('exploded')


@pytest.mark.parametrize(
    'address',
    ['s3://b/a.pth', 'cluster:s3://b/a.pth', 'petrel://b/a.pth', 'pavi://a.pth',
     'modelzoo://resnet18', 'torchvision://resnet18', 'open-mmlab://a',
     'openmmlab://a', 'mmcls://a', 'http://example.org/a.pth'],
)  # fmt: skip
def test_no_other_scheme_goes_around_the_reader(load, address):
    with pytest.raises(CheckpointError, match=r'not read from [a-z3:-]+:// addresses'):
        load(address)


def test_a_layout_that_a_toolbox_alone_knows(load, tmp_path):
    content = dict(visual=dict(w=torch.ones(2)), text=dict(w=torch.zeros(2)))
    torch.save(content, tmp_path / 'clip.pth')
    loaded = load(str(tmp_path / 'clip.pth'))
    assert loaded.keys() == content.keys() and loaded['text']['w'].tolist() == [0, 0]


def test_a_checkpoint_appears_complete_or_not_at_all(load, tmp_path, monkeypatch):
    path = tmp_path / 'epoch_1.pth'
    save_checkpoint(dict(state_dict=dict(w=torch.ones(2))), str(path))
    monkeypatch.setattr(os, 'replace', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_checkpoint(dict(state_dict=dict(w=torch.zeros(2))), str(path))
    assert torch.load(path, weights_only=True)['state_dict']['w'].tolist() == [1, 1]
    assert list(tmp_path.iterdir()) == [path]
