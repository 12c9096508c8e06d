"""Does a data worker that dies, or a picture that fails, end the run in one line?"""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from mmengine.dataset import BaseDataset, Compose

from mmmsmlp.errors import BadInput
from mmmsmlp.run import mends
from mmmsmlp.run.entry import run_tool


@pytest.fixture(autouse=True)
def mended(monkeypatch):
    monkeypatch.setattr(Compose, '__call__', mends._prepare_and_name)


class Pictures(BaseDataset):
    """Numbers, of which one fails and one kills its worker."""

    def load_data_list(self):
        return [dict(img_path=f'img/{i}.png', number=i) for i in range(4)]


def fail(data):
    if data['number'] == 2:
        raise ValueError('truncated\nand more')
    return data['number']


def kill(data):
    if data['number'] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return data['number']


def ended(pipeline, workers, capsys):
    data = Pictures(pipeline=pipeline)
    loader = torch.utils.data.DataLoader(data, num_workers=workers)
    with pytest.raises(SystemExit) as end:
        run_tool(lambda: list(loader))
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize('workers', [0, 1])
def test_the_picture_that_fails_is_named(workers, capsys):
    line = ended([fail], workers, capsys)
    said = 'img/2.png cannot be prepared: ValueError: truncated; mend or remove it'
    assert line.startswith(f'error: {said}')


@pytest.mark.posix
def test_a_worker_that_is_killed_is_told(capsys):
    line = ended([kill], 2, capsys)
    assert line.startswith('error: DataLoader worker (pid')
    assert ', so a data worker died from outside' in line and 'num_workers' in line


def test_pipelines_in_pipelines_name_it_once():
    inner = Compose([fail])
    with pytest.raises(BadInput) as failed:
        Compose([inner])(dict(number=2, img_id=7))
    assert str(failed.value).count('cannot be prepared') == 1
    assert str(failed.value).startswith('7 cannot be prepared')
    assert Compose([inner])(dict(number=1)) == 1


def test_other_errors_stay_what_they_are():
    def fails():
        raise RuntimeError('of another kind')

    with pytest.raises(RuntimeError, match='of another kind'):
        run_tool(fails)


@pytest.mark.full
def test_a_picture_that_vanishes_while_training(run_tool, tiny_config, tiny_data):
    """It passed the check before the run, and one line names it."""
    shutil.copytree(tiny_data, 'data')
    text = Path(tiny_config).read_text().replace(str(tiny_data), str(Path('data')))
    config = Path('data/vanish.py').absolute()
    config.write_text(text)
    victim = sorted(Path('data/images').iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:40])
    code, out, err = run_tool(
        'train.py', config, '--work-dir', 'run', '--data-check', 'off'
    )
    assert code == 2, out + err
    (line,) = [line for line in err.splitlines() if 'error:' in line]
    assert f'{victim.name} cannot be prepared' in line and 'Traceback' not in err
