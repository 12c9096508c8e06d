"""Do the numbers of label maps get the classes that the user means?"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmmsmlp.errors import BadInput
from tests.helpers.label_maps import map_set, maps_read


def values_read(result):
    """All numbers that training and evaluation read."""
    read = {**maps_read(result, 'train'), **maps_read(result, 'val')}
    return {value for values in read.values() for value in values}


def test_names_beside_the_maps_outrank_those_of_ade20k(own, tmp_path):
    ade = map_set(tmp_path / 'set', 'ADE_{}.jpg', 'ADE_{}.png', values=(0, 1, 2))
    result = own(ade, 'maps')
    assert result.known_as == 'ADE20K' and result.reduce_zero
    assert 'the maps hold its 150 classes from 1' in result.lines[3]
    (ade / 'classes.txt').write_text('ground\nroad\ncar\n')
    result = own(ade, 'maps')
    assert result.classes == ['ground', 'road', 'car'] and not result.reduce_zero


def test_black_and_white_with_grey_edges(own, tmp_path):
    """As scaling with interpolation leaves masks."""
    row = [0] * 180 + [40, 90, 130, 200, 254] + [255] * 115
    root = map_set(tmp_path / 'set', values=(0,))
    for file in (root / 'masks').iterdir():
        Image.fromarray(np.array([row] * 4, np.uint8)).save(file)
    result = own(root, 'maps', loops=('test',), share=1)
    assert result.classes == ['class 0', 'class 1']
    assert 'black and white with grey edges' in result.lines[3]
    file, *_ = Path(result.sources['test'].labels).iterdir()
    read = np.asarray(Image.open(file))
    assert read[0].tolist() == [0] * 182 + [1] * 118


@pytest.mark.parametrize('mixed', [False, True])
def test_some_masks_write_255_and_others_1(own, tmp_path, mixed):
    """Where one map has both, 255 is ignored as everywhere."""
    root = map_set(tmp_path / 'set', values=(0, 1))
    values = [0, 1, 255] if mixed else [0, 255]
    for name in ('p0', 'p3'):
        pixels = np.resize(np.array(values, np.uint8), (8, 12))
        Image.fromarray(pixels).save(root / 'masks' / f'{name}.png')
    result = own(root, 'maps')
    assert values_read(result) == {0, 1, 255} if mixed else {0, 1}
    assert ('255 is read as 1' in result.lines[3]) == (not mixed)


def test_another_mask_of_the_same_time_is_copied_anew(own, tmp_path):
    """Archives that are made the same way each time give all files one time."""
    root = map_set(tmp_path / 'set', values=(0, 255), count=1)
    mask = root / 'masks' / 'p0.png'
    os.utime(mask, (315532800, 315532800))
    asked = dict(loops=('test',), share=1)
    assert white_read(own(root, 'maps', **asked)) == 48
    pixels = np.zeros((8, 12), np.uint8)
    pixels[0, :2] = 255
    Image.fromarray(pixels).save(mask)
    os.utime(mask, (315532800, 315532800))
    assert white_read(own(root, 'maps', **asked)) == 2


def white_read(result):
    (file,) = Path(result.sources['test'].labels).iterdir()
    return np.asarray(Image.open(file)).sum()


@pytest.mark.parametrize(
    ('file', 'text'),
    [
        ('classes.txt', '2: car\n0: ground\n1: road\n'),
        ('classes.txt', '0 ground\n1 road\n2 car\n'),
        ('names.csv', '0,ground\n1,road\n2,car\n'),
        ('names.csv', 'ground,0,0,0\nroad,128,64,128\ncar,64,0,128\n'),
    ],
)
def test_lists_of_names_with_their_numbers_or_without_a_head(own, tmp_path, file, text):
    root = map_set(tmp_path / 'set', values=(0, 1, 2))
    (root / file).write_text(text)
    assert own(root, 'maps').classes == ['ground', 'road', 'car']


def test_a_table_of_numbers_names_no_classes(own, tmp_path):
    root = map_set(tmp_path / 'set')
    (root / 'train.csv').write_text('id,z\n1,306\n2,157\n3,920\n')
    assert own(root, 'maps').classes == ['class 0', 'class 1']


def in_splits(root, maps=('train', 'val')):
    map_set(root)
    for kind, splits in dict(images=('train', 'val'), masks=maps).items():
        for split in splits:
            (root / kind / split).mkdir()
            for file in (root / kind).glob('*.*g'):
                shutil.copy(file, root / kind / split)
        for file in (root / kind).glob('*.*g'):
            file.unlink()
    return root


def test_a_split_without_label_maps_is_told(own, tmp_path):
    result = own(in_splits(tmp_path / 'set', maps=('train',)), 'maps')
    assert 'images/val has no partner in masks and is left out' in result.lines[3]
    assert result.sources['val'].images.endswith('train')


def test_what_a_notebook_hides_is_not_read(own, tmp_path):
    root = in_splits(tmp_path / 'set')
    hidden = root / 'images' / 'train' / '.ipynb_checkpoints'
    hidden.mkdir()
    shutil.copy(root / 'images' / 'train' / 'p1.jpg', hidden / 'p1-checkpoint.jpg')
    result = own(root, 'maps')
    assert result.sources['train'].count == 5
    with open(result.sources['train'].listed) as file:
        assert file.read().split() == [f'p{i}' for i in range(5)]
    assert not result.sources['val'].listed


def test_images_of_kinds_that_are_not_read_are_told(own, tmp_path):
    root = map_set(tmp_path / 'set')
    Image.new('RGB', (12, 8)).save(root / 'images' / 'q.gif')
    assert (
        '1 pictures in images are of kinds that are not read'
        in (own(root, 'maps').lines[3])
    )


def test_lists_name_images_by_the_end_of_their_path(own, tmp_path):
    """With Windows' slashes, and where names repeat in folders."""
    root = map_set(tmp_path / 'set')
    for kind in ('images', 'masks'):
        for file in [*(root / kind).iterdir()]:
            for folder in ('x', 'y'):
                (root / kind / folder).mkdir(exist_ok=True)
                shutil.copy(file, root / kind / folder / file.name)
            file.unlink()
    (root / 'train.txt').write_text('images\\x\\p0.jpg\nimages\\y\\p0.jpg\n')
    (root / 'val.txt').write_text('C:/set/images/x/p1.jpg\n')
    result = own(root, 'maps')
    assert [*maps_read(result, 'train')] == ['x/p0', 'y/p0']
    assert [*maps_read(result, 'val')] == ['x/p1']


def test_a_list_that_fits_no_image_is_told(own, tmp_path):
    root = map_set(tmp_path / 'set')
    (root / 'val.txt').write_text('one\ntwo\n')
    assert "val.txt lists no image that is here: 'one'" in own(root, 'maps').lines[3]


def test_of_several_lists_of_a_split_the_plain_one_is_read(own, tmp_path):
    root = map_set(tmp_path / 'set')
    (root / 'lists').mkdir()
    lists = dict(train='p0 p1 p2', train_aug='p0 p1 p2 p3', val='p4', val_mini='p3')
    for name, names in lists.items():
        (root / 'lists' / f'{name}.txt').write_text(names.replace(' ', '\n'))
    (root / 'test_metrics.txt').write_text('1 0.5\n')
    result = own(root, 'maps')
    assert [*maps_read(result, 'train')] == ['p0', 'p1', 'p2']
    assert [*maps_read(result, 'val')] == ['p4']
    assert 'train_aug.txt is not read' in result.lines[3]
    assert 'val_mini.txt is not read' in result.lines[3]


def test_masks_as_gif_are_called_so(own, tmp_path):
    root = map_set(tmp_path / 'set')
    for file in [*(root / 'masks').iterdir()]:
        Image.open(file).save(file.with_suffix('.gif'))
        file.unlink()
    with pytest.raises(BadInput, match=r'p0\.gif is GIF, which is not read'):
        own(root, 'maps')
