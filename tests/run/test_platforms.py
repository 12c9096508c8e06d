"""What differs between systems: files in use, locks, paths, workers, devices."""

import ast
import errno
import os
import subprocess
import sys
import types

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from mmmsmlp.checkpoints import read
from mmmsmlp.checkpoints.writing import atomic_write
from mmmsmlp.errors import BadInput, CheckpointError
from mmmsmlp.ops.mixshift.dispatch import select_backend, why_not
from mmmsmlp.run import launch, mends, switches
from mmmsmlp.run.config import find_config
from tests.helpers.commands import ROOT
from tests.helpers.small_nets import build, every_backbone, images

POSIX_ONLY = {'fcntl', 'resource', 'pwd', 'grp', 'termios', 'tty', 'pty', 'syslog'}


def test_no_module_needs_posix_to_be_imported():
    sources = [*(ROOT / 'mmmsmlp').rglob('*.py'), *(ROOT / 'tools').rglob('*.py')]
    assert len(sources) > 60
    for path in sources:
        tree = ast.parse(path.read_text('utf-8'))
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
        later = {n for function in functions for n in ast.walk(function)}
        for node in set(ast.walk(tree)) - later:
            names = [alias.name for alias in getattr(node, 'names', ())]
            names.append(getattr(node, 'module', None))
            assert POSIX_ONLY.isdisjoint(names), path


@pytest.fixture
def naps(monkeypatch):
    """The seconds that were to be slept."""
    naps = []
    monkeypatch.setattr('time.sleep', naps.append)
    return naps


@pytest.mark.parametrize('refusals', [0, 1, 3])
def test_a_file_that_a_scanner_holds_is_replaced(monkeypatch, tmp_path, naps, refusals):
    real, file = os.replace, tmp_path / 'a.pth'
    file.write_text('old')

    def replace(source, target):
        if len(naps) < refusals:
            raise PermissionError(errno.EACCES, 'Access is denied')
        real(source, target)

    monkeypatch.setattr(os, 'replace', replace)
    with atomic_write(file) as part:
        part.write_text('new')
    assert file.read_text() == 'new' and len(naps) == refusals
    assert os.listdir(tmp_path) == ['a.pth']


def test_a_file_that_stays_open_elsewhere_is_named(monkeypatch, tmp_path, naps):
    file = tmp_path / 'a.pth'
    file.write_text('old')

    def replace(source, target):
        raise PermissionError(errno.EACCES, 'Access is denied')

    monkeypatch.setattr(os, 'replace', replace)
    with (
        pytest.raises(CheckpointError, match=r'a\.pth cannot be .* open in another'),
        atomic_write(file) as part,
    ):
        part.write_text('new')
    assert file.read_text() == 'old' and os.listdir(tmp_path) == ['a.pth']
    assert 0 < sum(naps) < 5


def test_the_lock_of_windows(monkeypatch, tmp_path):
    tries = []

    def locking(handle, mode, count):
        tries.append((mode, count))
        if len(tries) < 3:  # each of ten seconds
            raise OSError(errno.EDEADLK, 'Resource deadlock avoided')

    msvcrt = types.SimpleNamespace(LK_LOCK=1, locking=locking)
    monkeypatch.setitem(sys.modules, 'fcntl', None)
    monkeypatch.setitem(sys.modules, 'msvcrt', msvcrt)
    with open(tmp_path / 'lock', 'wb') as file:
        read._wait_for(file)
    assert tries == [(1, 1)] * 3


@pytest.mark.parametrize('path', [r'C:\nets\a.pth', 'C:/nets/a.pth', r'D:a.pth'])
def test_a_drive_is_no_scheme(path):
    with pytest.raises(CheckpointError, match='does not exist'):
        read.local_file(path)


def test_a_home_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('USERPROFILE', str(tmp_path))
    (tmp_path / 'a.pth').touch()
    assert read.local_file('~/a.pth') == tmp_path / 'a.pth'
    cfg = Config({}, filename=None)
    object.__setattr__(cfg, '_filename', 'a.py')
    switches.use_work_dir(cfg, '~/run')
    assert cfg.work_dir == os.path.join(tmp_path, 'run')


def test_a_file_address_names_the_path(tmp_path):
    with pytest.raises(CheckpointError, match='give the path alone: /a b.pth'):
        read.local_file('file:///a%20b.pth')


def test_backslashes_in_the_name_of_a_config():
    wanted = ROOT / 'configs' / 'demo' / 'retinanet_msmlp_demo.py'
    assert find_config('demo\\retinanet_msmlp_demo') == wanted
    assert find_config('configs\\demo\\retinanet_msmlp_demo.py') == wanted


@pytest.mark.parametrize(
    ('platform', 'methods', 'asked', 'expected'),
    [
        ('linux', ['fork', 'spawn'], 'fork', 'fork'),
        ('linux', ['fork', 'spawn'], None, None),
        ('win32', ['spawn'], 'fork', 'spawn'),
        ('win32', ['spawn'], None, 'spawn'),
        ('darwin', ['spawn', 'fork'], 'fork', 'spawn'),
        ('darwin', ['spawn', 'fork'], 'forkserver', 'forkserver'),
    ],
)
def test_how_workers_start(monkeypatch, platform, methods, asked, expected):
    monkeypatch.setattr(sys, 'platform', platform)
    monkeypatch.setattr(launch, 'get_all_start_methods', lambda: methods)
    workers = dict(mp_start_method=asked) if asked else {}
    cfg = Config(dict(env_cfg=dict(mp_cfg=workers)) if asked else {})
    notices = launch.set_up_processes(cfg, 'none')
    found = cfg.get('env_cfg', {}).get('mp_cfg', {}).get('mp_start_method')
    assert found == expected
    assert len(notices) == (asked != expected)


def test_one_process_on_mps(monkeypatch):
    monkeypatch.setattr(launch, 'get_device', lambda: 'mps')
    monkeypatch.setattr(switches, 'get_device', lambda: 'mps')
    with pytest.raises(BadInput, match='cannot share'):
        launch.set_up_processes(Config({}), 'pytorch')
    assert launch.set_up_processes(Config({}), 'none') == []
    with pytest.raises(BadInput, match='mps'):
        switches.use_amp(Config(dict(optim_wrapper={})), 'auto')


class WithoutDoubles(TorchDispatchMode):
    """A device that has no float64, as mps."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, (list, tuple)) else [found]:
            if isinstance(tensor, torch.Tensor) and not tensor.is_cpu:
                assert tensor.dtype not in (torch.float64, torch.complex128), function
        return found


@every_backbone
def test_a_step_on_a_device_without_doubles(backbone):
    net = build(backbone, drop_path_rate=0.1).to('meta')
    x = images().to('meta')
    assert select_backend(x, []) == 'eager'
    assert 'meta' in why_not('triton', x, [])
    with WithoutDoubles():
        outputs = net(x)
        sum(output.square().mean() for output in outputs).backward()
    assert [output.device.type for output in outputs] == ['meta'] * len(outputs)
    assert all(p.grad.device.type == 'meta' for p in net.parameters())


def test_a_script_needs_bash(tmp_path):
    done = subprocess.run(
        [sys.executable, '-m', 'mmmsmlp', 'slurm_train', 'a', 'b', 'c'],
        env={**os.environ, 'PATH': str(tmp_path), 'PYTHONPATH': str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        'error: slurm_train is a bash script, and there is no bash on the PATH\n'
    )


def test_an_image_under_any_name(monkeypatch, tmp_path):
    """OpenCV on Windows finds no path beyond ASCII, and says nothing."""
    monkeypatch.setattr(cv2, 'imwrite', lambda *_: False)
    image = np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)
    mends.AnyPathVisBackend(str(tmp_path / '图')).add_image('画', image, 7)
    (file,) = tmp_path.rglob('*.png')
    assert file.name == '画_7.png'
    assert np.array_equal(np.asarray(Image.open(file)), image)
