"""Does the doctor know a machine that a run would fail on?"""

import os
from types import SimpleNamespace

import pytest

import _doctor_machine as machine


@pytest.mark.parametrize('free, mark', [(64, 'fault'), (500, 'note'), (8192, 'ok')])
def test_shared_memory(monkeypatch, tmp_path, free, mark):
    usage = SimpleNamespace(free=free * 2**20)
    monkeypatch.setattr(machine.shutil, 'disk_usage', lambda folder: usage)
    (found,) = machine.check_shared_memory(tmp_path)
    assert found.mark == mark
    assert ('--shm-size=8g' in found.cure) == (mark != 'ok')
    assert machine.check_shared_memory(tmp_path / 'none') == []


def refuse_to_write(monkeypatch):
    def refuse(dir):
        raise OSError(30, 'Read-only file system')

    monkeypatch.setattr(machine.tempfile, 'TemporaryFile', refuse)


def test_a_folder_that_cannot_be_written_to(monkeypatch, tmp_path):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'new'))
    name, (folder, variable) = 'downloads', machine.folders()['downloads']
    assert folder == tmp_path / 'new' / 'hub'
    refuse_to_write(monkeypatch)
    found = machine.check_folder(name, folder, variable)
    assert found.mark == 'fault'
    assert found.text == f'{folder} cannot be written to (Read-only file system)'
    assert 'TORCH_HOME=FOLDER' in found.cure


@pytest.mark.parametrize('free, mark', [(0.1, 'fault'), (2, 'note'), (50, 'ok')])
def test_room_on_the_disk(monkeypatch, tmp_path, free, mark):
    usage = SimpleNamespace(free=free * 2**30)
    monkeypatch.setattr(machine.shutil, 'disk_usage', lambda folder: usage)
    found = machine.check_folder('temporary', tmp_path / 'new', 'TMPDIR')
    assert found.mark == mark and f'{free:.1f} GB free' in found.text
    assert not (tmp_path / 'new').exists()


def test_no_temporary_folder_at_all():
    found = machine.check_folder('temporary', None, 'TMPDIR')
    assert found.mark == 'fault' and 'TMPDIR=FOLDER' in found.cure


@pytest.mark.parametrize('encoding, notes', [
    ('UTF-8', 0), ('utf8', 0), ('cp1252', 1), ('ANSI_X3.4-1968', 1),
])  # fmt: skip
def test_encoding(monkeypatch, encoding, notes):
    monkeypatch.setattr(machine.locale, 'getpreferredencoding', lambda _: encoding)
    assert [f.mark for f in machine.check_encoding()] == ['note'] * notes


CPU = dict(device='cpu', threads=8, cuda='13.0', cuda_error='no NVIDIA driver')
GPU = dict(device='cuda', gpu='NVIDIA H100', gpus=2, capability='9.0', cuda='13.0')


@pytest.mark.parametrize('torch, driver, mark, text, cure', [
    (GPU, ('13.0', 2), 'ok', 'cuda: NVIDIA H100, compute capability 9.0, 2 GPUs', ''),
    (CPU, None, 'ok', 'cpu, 8 threads', ''),
    (dict(CPU, device='mps'), None, 'ok', 'mps', ''),
    (CPU, ('12.2', 1), 'fault', 'for CUDA 13.0, and its driver serves 12.2 at most',
     'update the NVIDIA driver, or install a torch for CUDA 12.2 or older'),
    (CPU, ('13.1', 1), 'fault', 'no NVIDIA driver', '--gpus all'),
    (dict(CPU, cuda=None), ('13.0', 1), 'note', 'a build for CPUs', 'torch for CUDA'),
    (None, None, 'note', 'torch does not work', ''),
])  # fmt: skip
def test_the_device_of_a_run(monkeypatch, torch, driver, mark, text, cure):
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    driver = driver and machine.Driver(driver[1], driver[0])
    found = machine.check_device(torch, driver)
    assert found.mark == mark
    assert text in found.text and cure in found.cure


def test_a_hidden_gpu_is_no_fault(monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    found = machine.check_device(CPU, machine.Driver(1, '12.2'))
    assert (found.mark, found.text) == ('ok', 'cpu, 8 threads, the GPU is hidden')


def test_what_nvidia_smi_says(monkeypatch, tmp_path):
    script = tmp_path / 'nvidia-smi'
    script.write_text(
        '#!/bin/sh\nif [ "$1" = -L ]; then echo "GPU 0: NVIDIA H100 (UUID: GPU-1)"\n'
        'else echo "| Driver Version: 535.1  CUDA Version: 12.2 |"; fi\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    assert machine.find_driver() == machine.Driver(1, '12.2')
    monkeypatch.setenv('PATH', '/none')
    assert machine.find_driver() is None
