"""Every check of class folders fires on what it is for, and not on clean ones."""
# ruff: noqa: E501  the table reads best with one case a line

import shutil

import numpy as np
import pytest
from PIL import Image

from mmmsmlp.data.class_folders import FolderUse, check_folders, check_same_folders
from mmmsmlp.data.findings import Findings
from mmmsmlp.data.kinds import FOLDERS
from mmmsmlp.data.splits import check_splits

SUFFIXES = ('.jpg', '.png')


@pytest.fixture
def folders(tmp_path):
    """Two splits of three classes with two pictures each."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for name in ('cat', 'dog', 'eel'):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for k in range(2):
                pixels = rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f'{split}{k}.jpg')
    return tmp_path


def check(root, cache, **use):
    found = Findings()
    sets = []
    for split in ('train', 'val'):
        options = {**dict(root=str(root / split), suffixes=SUFFIXES), **use}
        if 'list_file' in use:
            options['root'] = str(root / 'train')
        sets.append(check_folders(FolderUse(**options), found, cache))
    one, other = sets
    check_same_folders(one, other, found)
    if 'list_file' not in use:
        files = (one.files, one.pictures), (other.files, other.pictures)
        check_splits(*files, str(root / 'val'), found)
    return found, one


def listed(text):
    def bend(root):
        (root / 'list.txt').write_text(text)
        return dict(list_file=str(root / 'list.txt'), count=2)

    return bend


def rename(root):
    (root / 'val' / 'eel').rename(root / 'val' / 'fox')


def twin(root):
    shutil.copy(root / 'train/cat/train0.jpg', root / 'val/dog/other.jpg')


def emptied(root):
    for file in (root / 'train' / 'eel').iterdir():
        file.unlink()


def flat(root):
    for folder in ('train', 'val'):
        shutil.rmtree(root / folder)
        (root / folder).mkdir()


LINES = 'cat/train0.jpg 0\ndog/train0.jpg 1\n'
BENT = {
    'empty': (emptied, 'folder-empty', ['train: classes have no picture (eel)']),
    'renamed': (rename, 'folder-one-split', ['(2, first: eel: only in']),
    'stray': (lambda root: (root / 'train/list.csv').touch(), 'folder-stray', ['list.csv']),
    'raw': (lambda root: (root / 'train/cat/0.raw').touch(), 'folder-stray', ['cat/0.raw']),
    'twin': (twin, 'twins', ['dog/other.jpg: the same as', 'cat/train0.jpg']),
    'none': (flat, 'folder-none', ["none ends with .jpg, .png"]),
    'model of ten': (lambda root: dict(count=10), 'folder-count', ['3 folders, 10 classes']),
    'hidden': (lambda root: (root / 'train' / '.ipynb_checkpoints').mkdir() or dict(classes=('cat', 'dog', 'eel')), 'folder-count', ['4 folders, 3 classes; hidden ones count: remove .ipynb_checkpoints']),
    'two names': (lambda root: dict(classes=('cat', 'dog')), 'folder-count', ['3 folders, 2']),
    'no number': (listed(LINES + 'eel/train0.jpg'), 'list-broken', ["line 3: 'eel/train0.jpg'"]),
    'number 2': (listed(LINES + 'eel/train0.jpg 2'), 'list-label', ['line 3: 2; 0-1']),
}  # fmt: skip


@pytest.mark.parametrize('name', BENT)
def test_what_is_bent_is_found(folders, cache, name):
    bend, kind, words = BENT[name]
    use = bend(folders)
    found, _ = check(folders, cache, **(use if isinstance(use, dict) else {}))
    assert found.kinds() == {kind}
    (group, *_) = found
    assert group.outcome == FOLDERS[kind].outcome
    for word in words:
        assert any(word in group.line() for group in found)


def test_every_kind_is_tried():
    assert {bent[1] for bent in BENT.values()} == set(FOLDERS)


def test_a_list_whose_numbers_have_gaps(folders, cache):
    use = listed('cat/train0.jpg 1\ndog/train0.jpg 4\n')(folders)
    found, one = check(folders, cache, **dict(use, count=5))
    assert found.kinds() == set() and one.summary.classes == {'1': 1, '4': 1}


@pytest.mark.parametrize(
    'use', [{}, dict(classes=('cat', 'dog', 'fish')), dict(count=3)]
)
def test_nothing_is_said_of_clean_folders(folders, cache, use):
    found, known = check(folders, cache, **use)
    assert not len(found)
    assert list(known.summary.classes.values()) == [2, 2, 2]
    assert list(known.summary.classes)[2] == ('fish' if 'classes' in use else 'eel')


def test_nothing_is_said_of_a_clean_list(folders, cache):
    use = listed(LINES)(folders)
    found, known = check(folders, cache, **use)
    assert not len(found) and known.summary.classes == {'0': 1, '1': 1}
