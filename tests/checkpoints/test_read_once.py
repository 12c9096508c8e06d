"""Is a file read once for its check and its use, and gone from memory then?"""

import gc
import os
import weakref

import pytest
import torch

from mmmsmlp.checkpoints import peek_checkpoint, read, read_checkpoint
from mmmsmlp.checkpoints.read import lent_checkpoint
from mmmsmlp.errors import CheckpointError


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    """Other tests may have left some."""
    monkeypatch.setattr(read, '_kept', {})


@pytest.fixture
def file(tiny):
    content = {'state_dict': {'w': torch.ones(3)}, 'meta': {'seed': 5}}
    yield tiny.save(content, 'run.pth')
    assert read._kept == {}


def test_the_user_takes_over_what_a_check_has_read(file, reads):
    assert peek_checkpoint(file)['meta']['seed'] == 5
    assert peek_checkpoint(file)['meta']['seed'] == 5
    taken = read_checkpoint(file)
    assert reads == {'run.pth': 1}
    taken['state_dict']['w'].zero_()
    assert read_checkpoint(file)['state_dict']['w'].tolist() == [1, 1, 1]
    assert reads == {'run.pth': 2}


def test_nothing_is_kept_for_one_who_does_not_check(file):
    tensor = weakref.ref(read_checkpoint(file)['state_dict']['w'])
    gc.collect()
    assert tensor() is None


@pytest.mark.posix
def test_other_names_of_one_file(file, reads, tiny, monkeypatch):
    monkeypatch.chdir(tiny.folder)
    os.symlink(file, 'link.pth')
    peek_checkpoint('link.pth')
    read_checkpoint('run.pth')
    assert reads == {'link.pth': 1}


def test_a_file_that_was_written_anew_is_read_anew(file, tiny):
    peek_checkpoint(file)
    tiny.save({'state_dict': {'w': torch.zeros(3)}}, 'run.pth')
    stamp = os.stat(file).st_mtime_ns + 1
    os.utime(file, ns=(stamp, stamp))
    assert read_checkpoint(file)['state_dict']['w'].tolist() == [0, 0, 0]


def test_foreign_code_gets_a_copy(file, reads):
    with lent_checkpoint(file):
        lent = read_checkpoint(file)
        lent['state_dict'].pop('w').zero_()
        del lent['meta']
    content = read_checkpoint(file)
    assert content['state_dict']['w'].tolist() == [1, 1, 1]
    assert content['meta'] == {'seed': 5} and reads == {'run.pth': 1}
    with pytest.raises(ZeroDivisionError), lent_checkpoint(file):
        raise ZeroDivisionError


def test_a_refused_file_is_not_kept(tiny):
    for _ in range(2):
        with pytest.raises(CheckpointError, match='no tensors'):
            peek_checkpoint(tiny.save({'epoch': 3}))
    assert read._kept == {}
