"""Are label maps read as they are meant: numbers, names, lists and suffixes?"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmmsmlp.errors import BadInput
from tests.helpers import layouts

SHAPES = ['circle', 'square', 'triangle', 'star']


def map_set(root, image='{}.jpg', label='{}.png', values=(0, 1), count=5):
    for kind in ('images', 'masks'):
        (root / kind).mkdir(parents=True)
    for i in range(count):
        pixels = np.full((8, 12, 3), i, np.uint8)
        Image.fromarray(pixels).save(root / 'images' / image.format(f'p{i}'))
        labels = np.resize(np.array(values, np.uint8), (8, 12))
        Image.fromarray(labels).save(root / 'masks' / label.format(f'p{i}'))
    return root


def test_a_checkpoint_says_whether_one_is_subtracted(own, tmp_path):
    """The last class is in no map, so the numbers alone would not say it."""
    for folder in ('images', 'masks'):
        (tmp_path / 'set' / folder).mkdir(parents=True)
    for name in 'abc':
        pixels = np.array([[1, 2], [2, 1]], np.uint8)
        Image.fromarray(np.stack([pixels] * 3, 2)).save(
            tmp_path / 'set' / 'images' / f'{name}.jpg'
        )
        Image.fromarray(pixels).save(tmp_path / 'set' / 'masks' / f'{name}.png')
    asked = dict(task='maps', loops=('test',), share=1, learned=['road', 'sky', 'tree'])
    for reduces in (True, False):
        result = own(tmp_path / 'set', reduces=reduces, **asked)
        assert (result.classes, result.reduce_zero) == (asked['learned'], reduces)
    (tmp_path / 'set' / 'classes.txt').write_text('road\nsky\ntree\n')
    assert own(tmp_path / 'set', reduces=True, **asked).reduce_zero
    (tmp_path / 'set' / 'classes.txt').write_text('sky\ntree\n')
    asked['learned'] = ['background', 'sky', 'tree']
    result = own(tmp_path / 'set', reduces=False, **asked)
    assert (result.classes, result.reduce_zero) == (asked['learned'], False)
    assert len(result.palette) == 3


def test_of_cityscapes_maps_the_training_labels_are_read(own, tmp_path):
    for folder, ends in (
        ('leftImg8bit', ['leftImg8bit']),
        ('gtFine', ['gtFine_color', 'gtFine_instanceIds', 'gtFine_labelIds']),
    ):
        place = tmp_path / 'set' / folder / 'train' / 'ulm'
        place.mkdir(parents=True)
        for end in ends:
            for i in range(3):
                pixels = np.full((4, 4), i, np.uint8)
                Image.fromarray(pixels).save(place / f'ulm_{i}_{end}.png')
    assert own(tmp_path / 'set', 'maps').map_suffix == '_gtFine_labelIds.png'
    for i in range(3):
        Image.fromarray(pixels).save(place / f'ulm_{i}_gtFine_labelTrainIds.png')
    assert own(tmp_path / 'set', 'maps').map_suffix == '_gtFine_labelTrainIds.png'


@pytest.mark.parametrize('name', ['mmseg', 'ade'])
def test_label_maps(name, demo, own, tmp_path):
    getattr(layouts, name)(demo, tmp_path / 'set')
    result = own(tmp_path / 'set', 'maps')
    assert result.classes == [f'class {i}' for i in range(5)]
    assert 'classes.txt, one name a line' in result.lines[3]
    assert (result.image_suffix, result.map_suffix) == ('.jpg', '.png')
    assert [result.sources[s].count for s in ('train', 'val')] == [10, 4]
    own_names = ['a', 'b', 'c', 'd', 'e']
    assert own(tmp_path / 'set', 'maps', classes=own_names).classes == own_names
    (tmp_path / 'set' / 'classes.txt').write_text('\n'.join(SHAPES))
    result = own(tmp_path / 'set', 'maps', classes=own_names)
    assert result.classes == ['background', *SHAPES] and not result.reduce_zero
    assert '0 is the background' in result.lines[3]


def test_label_maps_beside_coco_files(demo, own):
    result = own(demo, 'maps')
    assert result.classes == ['background', *SHAPES]
    assert result.sources['val'].labels == str(demo / 'semantic' / 'val')


def test_images_beside_masks_are_split_by_lists(own, tmp_path):
    root = map_set(tmp_path / 'set', '{}_sat.jpg', '{}_mask.png', (1, 2, 255))
    (root / 'labelmap.txt').write_text('# name:colour\nroad:1,2,3::\nroof:4,5,6::\n')
    result = own(root, 'maps')
    assert (result.image_suffix, result.map_suffix) == ('_sat.jpg', '_mask.png')
    lists = [
        Path(result.sources[s].listed).read_text().split() for s in ('train', 'val')
    ]
    assert sorted(lists[0] + lists[1]) == [f'p{i}' for i in range(5)]
    assert [len(names) for names in lists] == [4, 1]
    assert result.classes == ['road', 'roof'] and result.reduce_zero
    assert result.palette == [[1, 2, 3], [4, 5, 6]]


def test_label_maps_that_are_not_in_order(own, tmp_path):
    with pytest.raises(BadInput, match='hold 0, 50, 100: number the classes from 0'):
        own(map_set(tmp_path / 'gaps', values=(0, 50, 100)), 'maps')
    root = map_set(tmp_path / 'mixed')
    (root / 'images' / 'p0.jpg').rename(root / 'images' / 'p0.jpeg')
    with pytest.raises(BadInput, match="4 images that end with '.jpg' and 1 that do"):
        own(root, 'maps')
    root = map_set(tmp_path / 'other', label='m-{}.png')
    with pytest.raises(BadInput, match='begins with the name of an image'):
        own(root, 'maps')
