"""What mmengine gets from a checkpoint once the tools have put their reader in."""

import os
from argparse import Namespace

import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader, load_from_local

from mmmsmlp.errors import CheckpointError
from mmmsmlp.run.mends import install_safe_loader
from tests.helpers.hostile import Runs


@pytest.fixture
def load():
    install_safe_loader()
    yield CheckpointLoader.load_checkpoint
    CheckpointLoader.register_scheme('', loader=load_from_local, force=True)


def test_a_training_state_comes_back_whole(load, tmp_path):
    buffer = HistoryBuffer([1.0, 3.0], [1, 1])
    content = dict(state_dict=dict(w=torch.arange(3.0)), logs=dict(loss=buffer))
    torch.save(content, tmp_path / 'run.pth')
    loaded = load(str(tmp_path / 'run.pth'))
    assert type(loaded['logs']['loss']) is HistoryBuffer
    assert loaded['logs']['loss'].mean() == 2.0
    assert loaded['state_dict']['w'].tolist() == [0, 1, 2]


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
