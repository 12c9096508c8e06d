"""Which files are read, and what is said about those that are none?"""

import argparse
import pickle
import sys
import tarfile
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import datetime
from pathlib import Path

import numpy
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmmsmlp.checkpoints import load_pretrained, read_checkpoint, unpickle
from mmmsmlp.errors import CheckpointError


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
def test_authors_file_without_yacs(tiny, yacs_config, monkeypatch, zipped):
    """The authors' training script saves its whole state, config included."""
    net = tiny.build()
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.rand(1, 3, 32, 32))[0].sum().backward()
    optimizer.step()
    content = dict(
        model=tiny.authors_state(net),
        optimizer=optimizer.state_dict(),
        lr_scheduler={'base_values': [1e-3]},
        max_accuracy=numpy.float64(82.1),
        epoch=299,
        config=yacs_config(),
    )
    file = tiny.save(content, _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(sys.modules, 'yacs')
    monkeypatch.delitem(sys.modules, 'yacs.config')
    read = read_checkpoint(file)
    assert read['config']['MODEL']['SHIFT_DIST'] == [-2, -1, 0, 1, 2]
    assert read['max_accuracy'] == 82.1 and read['epoch'] == 299
    assert read['model'].keys() == content['model'].keys()
    for key, tensor in content['model'].items():
        assert torch.equal(read['model'][key], tensor)
    assert type(read['config']) is OrderedDict


def test_harmless_values(tiny):
    values = dict(
        array=numpy.arange(6.0).reshape(2, 3),
        scalar=numpy.float32(0.5),
        integer=numpy.int64(7),
        dtype=torch.float16,
        path=Path('work_dirs') / 'a.pth',
        counts=Counter('aab'),
        groups=defaultdict(list, a=[1]),
        names={'x', 'y'},
        when=datetime(2022, 2, 14),
        args=argparse.Namespace(lr=1e-3),
        order=OrderedDict(b=1, a=2),
    )
    read = read_checkpoint(tiny.save({'model': {'w': torch.ones(2)}, **values}))
    assert numpy.array_equal(read['array'], values['array'])
    assert list(read['order']) == ['b', 'a']
    assert read['args'].state == {'lr': 1e-3}
    assert str(read['path']) == str(values['path'])
    for key in ('scalar', 'integer', 'dtype', 'counts', 'groups', 'names', 'when'):
        assert read[key] == values[key], key


def test_numpy_1_names(tiny):
    file = tiny.save({'model': {'w': torch.ones(2)}, 'best': numpy.float64(3.5)})
    old = rewrite_pickle(file, b'numpy._core.multiarray', b'numpy.core.multiarray')
    assert read_checkpoint(old)['best'] == 3.5
    new = rewrite_pickle(file, b'numpy.core.multiarray', b'numpy._core.multiarray')
    assert read_checkpoint(new)['best'] == 3.5


def rewrite_pickle(file, old, new):
    target = Path(file).with_name(f'{len(new)}.pth')
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(target, 'w') as copy:
        for name in source.namelist():
            data = source.read(name)
            copy.writestr(name, data.replace(old, new) if 'data.pkl' in name else data)
    return target


def test_shared_and_half_tensors(tiny):
    tensor = torch.rand(4, 4)
    content = {'a': tensor, 'b': tensor[1:, ::2], 'c': tensor.bfloat16()}
    content['p'] = torch.nn.Parameter(tensor)
    content['config'] = argparse.Namespace()
    read = read_checkpoint(tiny.save(content))
    for key in ('a', 'b', 'c', 'p'):
        assert torch.equal(read[key], content[key])


@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
@pytest.mark.parametrize('share', [0.02, 0.3, 0.6, 0.97, 0.9999])
def test_truncated(tiny, zipped, share):
    content = {'model': tiny.build().state_dict()}
    file = Path(tiny.save(content, _use_new_zipfile_serialization=zipped))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match='truncated|damaged') as error:
        read_checkpoint(file)
    assert str(file) in str(error.value) and 'again' in str(error.value)


def test_a_damaged_list_of_contents(tiny):
    file = Path(tiny.save({'model': tiny.build().state_dict()}))
    whole = bytearray(file.read_bytes())
    start = whole.rindex(b'PK\x01\x02')  # of the last entry in the zip's directory
    whole[start : start + 4] = b'\0\0\0\0'
    file.write_bytes(whole)
    with pytest.raises(CheckpointError, match='is damaged; copy or download it again'):
        read_checkpoint(file)


FOREIGN = {
    'is empty': b'',
    'web page': b'<!DOCTYPE html><html>404</html>',
    'text file': b'epoch_12.pth is the latest\n',
    'Git LFS pointer': b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n',
    'HDF5': b'\x89HDF\r\n\x1a\n' + bytes(64),
    'numpy array': b'\x93NUMPY\x01\x00' + bytes(64),
    'gzip': b'\x1f\x8b\x08' + bytes(64),
    'safetensors': (16).to_bytes(8, 'little') + b'{"a":{}}        ' + bytes(8),
    'unknown format': b'\x00\x01\x02\x03' * 64,
    'plain pickle': pickle.dumps({'blobs': [1, 2]}, 2),
}


@pytest.mark.parametrize('kind', FOREIGN)
def test_foreign(tmp_path, kind):
    file = tmp_path / 'model.pth'
    file.write_bytes(FOREIGN[kind])
    with pytest.raises(CheckpointError, match=kind) as error:
        read_checkpoint(file)
    assert str(file) in str(error.value)


def test_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.pth', 'w') as archive:
        archive.writestr('weights.npy', b'')
    with pytest.raises(CheckpointError, match='zip archive, .* wrote$'):
        read_checkpoint(tmp_path / 'a.pth')
    with zipfile.ZipFile(tmp_path / 'c.pth', 'w') as archive:
        archive.write(tmp_path / 'a.pth', 'weights/best.pth')
    with pytest.raises(CheckpointError, match='it holds best.pth: unpack it first'):
        read_checkpoint(tmp_path / 'c.pth')
    with tarfile.open(tmp_path / 'b.pth', 'w') as archive:
        archive.add(tmp_path / 'a.pth', 'a.pth')
    with pytest.raises(CheckpointError, match='tar archive'):
        read_checkpoint(tmp_path / 'b.pth')


def test_no_tensors(tiny):
    with pytest.raises(CheckpointError, match='no tensors; its entries are epoch'):
        read_checkpoint(tiny.save({'epoch': 3, 'config': {'lr': 1e-3}}))
    with pytest.raises(CheckpointError, match='a list, not a dict'):
        read_checkpoint(tiny.save([torch.ones(1)]))


def test_tensors_without_values(tiny):
    state = torch.nn.Linear(2, 2).state_dict()
    with torch.device('meta'):
        state['head.weight'] = torch.ones(3)
    with pytest.raises(CheckpointError, match='1 tensors are .* meta .*head.weight'):
        read_checkpoint(tiny.save({'state_dict': state}))


def test_arrays_are_no_tensors(tiny):
    arrays = {'weight': numpy.ones((2, 2), numpy.float32)}
    with pytest.raises(CheckpointError, match=r'torch.from_numpy\(array\)'):
        read_checkpoint(tiny.save({'state_dict': arrays}))


def test_whole_module_is_refused(tiny):
    with pytest.raises(CheckpointError, match='torch.nn.modules.linear.Linear'):
        read_checkpoint(tiny.save(torch.nn.Linear(2, 2)))


def test_missing(tiny):
    tiny.save({'w': torch.ones(1)}, 'epoch_12.pth')
    with pytest.raises(CheckpointError, match="does not exist; did you mean 'epoch"):
        read_checkpoint(tiny.folder / 'epoch_11.pth')
    with pytest.raises(CheckpointError, match='neither does its folder'):
        read_checkpoint(tiny.folder / 'nowhere' / 'epoch_12.pth')
    with pytest.raises(CheckpointError, match='is a folder.*epoch_12.pth'):
        read_checkpoint(tiny.folder)


def test_safetensors(tiny, same_weights):
    save_file = pytest.importorskip('safetensors.torch').save_file
    source, target = tiny.build(), tiny.build()
    file = str(tiny.folder / 'weights.safetensors')
    state = {f'module.{k}': t.half() if k != 'geometry' else t
             for k, t in source.state_dict().items()}  # fmt: skip
    save_file(state, file, metadata={'format': 'pt', 'geometry': 'of no concern'})
    coverage = load_pretrained(target, file)
    same_weights(target, source.half())
    assert coverage.layout == 'bare > module.' and coverage.geometry == 'paper'
    whole = Path(file).read_bytes()
    Path(file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match='damaged safetensors file.*again'):
        read_checkpoint(file)


def test_safetensors_without_its_library(tiny, monkeypatch):
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    file = tiny.folder / 'model.pth'
    file.write_bytes(FOREIGN['safetensors'])
    with pytest.raises(CheckpointError, match='pip install safetensors') as error:
        read_checkpoint(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize('protocol', [3, 4, 5])
def test_other_pickle_protocols(tiny, protocol):
    """torch's own safe unpickler knows protocol 2 alone."""
    content = {'model': OrderedDict(w=torch.arange(3)), 'best': numpy.float64(3.5)}
    content['args'] = argparse.Namespace(lr=1e-3)
    read = read_checkpoint(tiny.save(content, pickle_protocol=protocol))
    assert read['model']['w'].tolist() == [0, 1, 2] and read['best'] == 3.5
    assert read['args'].state == {'lr': 1e-3}


def test_the_same_without_names_for_torch(tiny, yacs_config, monkeypatch):
    """What torch before 2.6 gives, by our own unpickler alone."""
    state = tiny.build(**tiny.minimal).state_dict()
    content = {
        'model': state,
        'config': yacs_config(),
        'log': HistoryBuffer([1.0], [2]),
    }
    file = tiny.save({**content, 'counts': Counter('aab'), 'd': deque([1, 2], 5)})
    read = read_checkpoint(file)
    monkeypatch.setattr(unpickle, 'TORCH_TAKES_NAMES', False)
    other = read_checkpoint(file)
    assert read['model']._metadata == other['model']._metadata == state._metadata
    for got in read, other:
        assert list(got) == list(read)
        assert all(torch.equal(got['model'][key], t) for key, t in state.items())
        assert got['config']['MODEL']['SHIFT_DIST'] == [-2, -1, 0, 1, 2]
        assert got['log'].state['_log_history'].tolist() == [1.0]
        assert got['counts'] == Counter('aab') and got['d'] == [1, 2]
