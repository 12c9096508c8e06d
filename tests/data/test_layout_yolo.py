"""Are YOLO's labels read as they are meant?"""

import numpy as np
import pytest
from PIL import Image

from mmmsmlp.errors import BadInput
from tests.helpers.layouts import read


def yolo_set(root, names='[cup, fork]', lines='0 0.5 0.5 0.5 0.25', **more):
    """One picture of 40 x 20, and a second one without objects."""
    for split in ('train', 'valid'):
        for kind in ('images', 'labels'):
            (root / split / kind).mkdir(parents=True)
        for name in ('a', 'b'):
            pixels = np.zeros((20, 40, 3), np.uint8)
            Image.fromarray(pixels).save(root / split / 'images' / f'{name}.PNG')
        (root / split / 'labels' / 'a.txt').write_text(lines)
        (root / split / 'labels' / 'b.txt').write_text('\n')
    # As Roboflow writes them: seen from a folder that is not there.
    table = dict(names=names, train='../train/images', val='../valid/images', **more)
    text = '\n'.join(f'{key}: {value}' for key, value in table.items())
    (root / 'data.yaml').write_text(text)
    return root


def test_yolo_as_roboflow_writes_it(own, tmp_path):
    lines = '0 0.5 0.5 0.5 0.25\n1 0 0 1 0 1 1\n0 0.5 0.5 0.5 0.25\n'
    result = own(yolo_set(tmp_path / 'set', lines=lines, nc=2))
    data = read(result.sources['train'])
    assert [row['bbox'] for row in data['annotations']] == [
        [10, 7.5, 20, 5], [0, 0, 40, 20]
    ]  # fmt: skip
    polygon = [[0, 0, 40, 0, 40, 20]]
    assert [row['segmentation'] for row in data['annotations']] == [[], polygon]
    assert [row['category_id'] for row in data['annotations']] == [1, 2]
    assert [row['area'] for row in data['annotations']] == [100, 400]
    assert (
        len(data['images']) == 2 and '1 of 2 pictures have no object' in result.lines[3]
    )
    assert 'with 2 boxes and 1 masks' in result.lines[1]


def test_yolo_names_by_number_lists_and_a_path_of_another_machine(own, tmp_path):
    root = yolo_set(tmp_path / 'set', names='{1: fork, 0: cup}', path='/home/you/set')
    (root / 'train.txt').write_text('./train/images/a.PNG\n\n')
    text = (root / 'data.yaml').read_text()
    text = text.replace('../train/images', 'train.txt')
    (root / 'data.yaml').write_text(text.replace('../valid/images', '[valid/images]'))
    result = own(root / 'data.yaml')
    assert result.classes == ['cup', 'fork']
    assert [result.sources[s].count for s in ('train', 'val')] == [1, 2]


def test_yolo_lists_of_what_is_read_by_nobody(own, tmp_path):
    root = yolo_set(tmp_path / 'set')
    (root / 'val.txt').write_text('one.heic\n')
    text = (root / 'data.yaml').read_text()
    (root / 'data.yaml').write_text(text.replace('../valid/images', 'val.txt'))
    assert 'val has no pictures and is left out' in own(root).lines[-1]


def test_yolo_without_labels_for_val_and_beside_another_yaml(own, tmp_path):
    root = yolo_set(tmp_path / 'set')
    (root / 'valid' / 'labels' / 'a.txt').unlink()
    (root / 'data.yaml').rename(root / 'things.yaml')
    (root / 'a.yaml').write_text('train: [')
    (root / 'b.yaml').write_text('train: somewhere')
    result = own(root, share=0.5)
    assert 'things.yaml' in result.lines[0]
    assert 'val has no labels and is left out' in result.lines[3]
    assert [result.sources[s].count for s in ('train', 'val')] == [1, 1]
    assert result.sources['val'].images == str(root / 'train' / 'images')


def test_yolo_poses_have_boxes(own, tmp_path):
    line = '1 0.5 0.5 0.5 0.25 0.1 0.1 2 0.2 0.2 2'
    result = own(yolo_set(tmp_path / 'set', lines=line, kpt_shape='[2, 3]'))
    assert read(result.sources['val'])['annotations'][0]['bbox'] == [10, 7.5, 20, 5]


@pytest.mark.parametrize(
    'line, words',
    [
        ('2 0.5 0.5 0.5 0.5', 'class 2; 0-1 are named'),
        ('0 20 10 5 5', '0 to 1 are allowed'),
        ('0 0.5 0.5 0.5', 'neither a box of 4 numbers nor a polygon'),
        ('0 0.5 0.5 0.5 0.5 0.9', 'neither a box of 4 numbers nor a polygon'),
        ('cup 0.5 0.5 0.5 0.5', 'words in place of numbers'),
        ('0 nan 0.5 0.5 0.5', 'neither a box'),
    ],
)
def test_yolo_lines_that_are_none(line, words, own, tmp_path):
    root = yolo_set(tmp_path / 'set', lines=f'0 0.5 0.5 0.1 0.1\n{line}')
    with pytest.raises(BadInput, match=f"1 lines .*a.txt: '{line}' .*{words}"):
        own(root)


@pytest.mark.parametrize(
    'options, words',
    [
        (dict(names='[cup, cup]'), 'names has one twice'),
        (dict(names='{0: cup, 2: fork}'), 'from 0 without gaps'),
        (dict(names='[]'), 'has no names'),
        (dict(nc=3), 'nc: 3, but 2 names'),
        (dict(lines=''), 'no picture has an object'),
        (dict(names='[cup'), 'data.yaml line . is no YAML'),
    ],
)
def test_yolo_files_that_are_wrong(options, words, own, tmp_path):
    with pytest.raises(BadInput, match=words):
        own(yolo_set(tmp_path / 'set', **options))
