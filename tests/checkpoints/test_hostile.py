"""Does code in a checkpoint ever run?"""

import builtins
import os
import pickle
import subprocess
import sys
from collections import OrderedDict

import pytest
import torch

from mmmsmlp.checkpoints import load_pretrained, read_checkpoint, unpickle
from mmmsmlp.errors import CheckpointError
from tests.helpers.hostile import Runs


@pytest.fixture(autouse=True, params=['by torch', 'by our own'])
def unpickler(request, monkeypatch):
    """Also where torch's safe unpickler takes no names of ours."""
    if request.param == 'by our own':
        monkeypatch.setattr(unpickle, 'TORCH_TAKES_NAMES', False)


def calls(marker):
    return {
        'system': (Runs(os.system, f'touch {marker}'), f'{os.name}.system'),
        'eval': (Runs(eval, f'open({str(marker)!r}, "w")'), 'builtins.eval'),
        'exec': (Runs(exec, f'open({str(marker)!r}, "w")'), 'builtins.exec'),
        'open': (Runs(builtins.open, str(marker), 'w'), 'io.open'),
        'popen': (Runs(subprocess.Popen, ['touch', str(marker)]), 'subprocess.Popen'),
        'inner load': (Runs(torch.storage._load_from_bytes, b''), '_load_from_bytes'),
        'getattr': (Runs(getattr, {}, '__class__'), "getattr(..., '__class__')"),
    }


@pytest.mark.parametrize('kind', calls('.'))
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('place', ['top', 'config', 'beside'])
def test_code_never_runs(tiny, kind, zipped, place):
    marker = tiny.folder / 'ran'
    hostile, name = calls(marker)[kind]
    content = {
        'top': hostile,
        'config': {'model': tiny.build().state_dict(), 'config': {'DATA': [hostile]}},
        'beside': OrderedDict(tiny.build().state_dict(), extra=hostile),
    }[place]
    file = tiny.save(content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(file)
    assert name in str(error.value) and file in str(error.value)
    assert not marker.exists()
    with pytest.raises(CheckpointError):
        load_pretrained(tiny.build(), file)
    assert not marker.exists()


@pytest.mark.parametrize('kind', calls('.'))
@pytest.mark.parametrize('protocol', [3, 4, 5])
def test_code_never_runs_in_other_protocols(tiny, kind, protocol):
    marker = tiny.folder / 'ran'
    hostile, name = calls(marker)[kind]
    file = tiny.save({'w': torch.ones(1), 'x': hostile}, pickle_protocol=protocol)
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(file)
    assert name in str(error.value) and not marker.exists()


@pytest.mark.parametrize('protocol', range(6))
def test_plain_pickles(tiny, protocol):
    marker = tiny.folder / 'ran'
    file = tiny.folder / 'weights.pth'
    hostile = {'model': Runs(os.system, f'touch {marker}')}
    file.write_bytes(pickle.dumps(hostile, protocol))
    with pytest.raises(CheckpointError):
        read_checkpoint(file)
    assert not marker.exists()


def test_allowed_functions_cannot_be_changed(tiny):
    # The state goes to the function itself, not to what it returns.
    opcodes = b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x05\x00\x00\x00extra'
    file = tiny.folder / 'plain.pth'
    file.write_bytes(opcodes + b'K\x01s\x86b.')
    with pytest.raises(CheckpointError):
        read_checkpoint(file)
    assert not hasattr(torch._utils._rebuild_tensor_v2, 'extra')


def test_program_is_not_loaded(tiny):
    file = str(tiny.folder / 'program.pt')
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), file)
    with pytest.raises(CheckpointError, match='TorchScript'):
        read_checkpoint(file)


def test_nothing_is_imported(tiny):
    """A module that a file names must not even be imported."""
    (tiny.folder / 'planted_module.py').write_text('class Config: pass\n')
    sys.path.insert(0, str(tiny.folder))
    try:
        import planted_module

        file = tiny.save({'model': {'w': torch.ones(1)}, 'c': planted_module.Config()})
        del sys.modules['planted_module']
        with pytest.raises(CheckpointError, match='planted_module.Config'):
            read_checkpoint(file)
        assert 'planted_module' not in sys.modules
    finally:
        sys.path.remove(str(tiny.folder))
