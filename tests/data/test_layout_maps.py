"""Are label maps read as they are meant: numbers, names, lists and suffixes?"""

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmmsmlp.errors import BadInput
from tests.helpers import layouts
from tests.helpers.label_maps import map_set, maps_read

SHAPES = ['circle', 'square', 'triangle', 'star']


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
    root = map_set(tmp_path / 'other', label='m-{}.png')
    with pytest.raises(BadInput, match='begins with the name of an image'):
        own(root, 'maps')


def paint(root, change):
    for path in sorted((root / 'masks').iterdir()):
        change(np.array(Image.open(path))).save(path)
    return root


COLOURS = np.array([[0, 0, 0], [9, 80, 7], [200, 0, 7]], np.uint8)
CVAT = '# label:color_rgb:parts:actions\nsky:0,0,0::\nroad:9,80,7::\nroof:200,0,7::\n'


def coloured(labels):
    return Image.fromarray(COLOURS[labels])


def quantised(labels):
    return coloured(labels).convert('P', palette=Image.Palette.ADAPTIVE, colors=3)


FORMS = {
    'colours': coloured,
    'colours with transparency': lambda m: coloured(m).convert('RGBA'),
    'palettes': quantised,
    'grey': lambda m: Image.fromarray(m).convert('RGB'),
    'grey with transparency': lambda m: Image.fromarray(m).convert('LA'),
    'numbers': Image.fromarray,
}


@pytest.mark.parametrize('form', FORMS)
def test_maps_of_any_form_are_read_as_numbers(own, tmp_path, form):
    root = map_set(tmp_path / 'set', values=(0, 1, 2))
    for k in range(5):  # another colour is the commonest
        labels = np.resize(np.array([0, 1, 2, k % 3], np.uint8), (8, 12))
        Image.fromarray(labels).save(root / 'masks' / f'p{k}.png')
    paint(root, FORMS[form])
    (root / 'labelmap.txt').write_text(CVAT)
    result = own(root, 'maps')
    assert result.classes == ['sky', 'road', 'roof'] and not result.reduce_zero
    labels = [Path(result.sources[split].labels) for split in ('train', 'val')]
    if form == 'numbers':
        assert labels == [root / 'masks'] * 2
    for path in labels[0].glob('*.png'):
        k = int(path.stem[1:])
        expected = np.resize(np.array([0, 1, 2, k % 3], np.uint8), (8, 12))
        assert (np.array(Image.open(path)) == expected).all()


def test_colours_of_no_class_are_named(own, tmp_path):
    root = paint(map_set(tmp_path / 'set'), coloured)
    (root / 'labelmap.txt').write_text(CVAT.replace('9,80,7', '9,80,8'))
    with pytest.raises(BadInput, match=r'p0.png has pixels of the colour \(9, 80, 7\)'):
        own(root, 'maps')
    (root / 'labelmap.txt').unlink()
    (root / 'class_dict.csv').write_text('name,r,g,b\nroad,9,80,7\n')
    result = own(root, 'maps')
    assert result.classes == ['background', 'road']
    assert result.palette == [[0, 0, 0], [9, 80, 7]]


def test_a_map_that_cannot_be_copied_is_named(own, tmp_path):
    root = paint(map_set(tmp_path / 'set'), FORMS['grey'])
    (root / 'masks' / 'p3.png').write_text('none')
    with pytest.raises(BadInput, match='map .*p3.png cannot be read'):
        own(root, 'maps')


@pytest.mark.parametrize('grey', [True, False])
def test_255_is_the_second_of_two(own, tmp_path, grey):
    root = map_set(tmp_path / 'set', values=(0, 255))
    paint(root, lambda m: Image.fromarray(m).convert('RGB' if grey else 'L'))
    (root / 'classes.txt').write_text('background\nroof\n')
    result = own(root, 'maps')
    assert (
        result.classes == ['background', 'roof']
        and '255 is read as 1' in result.lines[3]
    )
    assert all(list(held) == [0, 1] for held in maps_read(result, 'train').values())


@pytest.mark.parametrize(
    ('rename', 'images'),
    [
        (lambda p: p.with_suffix('.JPG') if p.stem in ('p0', 'p1') else p, 'p0.JPG'),
        (lambda p: p.with_name(unicodedata.normalize('NFD', f'ö{p.name}')), None),
    ],
)
def test_names_may_be_spelled_otherwise(own, tmp_path, rename, images):
    root = map_set(tmp_path / 'set')
    for path in sorted((root / 'images').iterdir()):
        path.rename(rename(path))
    if images is None:
        for path in sorted((root / 'masks').iterdir()):
            path.rename(path.with_name(f'ö{path.name}'))
    result = own(root, 'maps')
    held = {**maps_read(result, 'train'), **maps_read(result, 'val')}
    assert sorted(held) == sorted(path.name for path in (root / 'images').iterdir())
    assert all(list(values) == [0, 1] for values in held.values())
    assert result.image_suffix == '' and 'maps are copied' in result.lines[3]


@pytest.mark.parametrize('place', ['ImageSets/Segmentation', 'splits', ''])
@pytest.mark.parametrize('line', ['{}', '{}.jpg', 'images/{}.jpg masks/{}.png'])
def test_lists_say_what_is_of_which_split(own, tmp_path, place, line):
    root = map_set(tmp_path / 'set')
    (root / 'masks' / 'p4.png').unlink()
    (root / place).mkdir(parents=True, exist_ok=True)
    for split, names in dict(train=['p0', 'p2'], val=['p1', 'p3', 'p9']).items():
        text = ''.join(line.replace('{}', name) + '\n' for name in names)
        (root / place / f'{split}.txt').write_text(text)
    result = own(root, 'maps')
    assert [*maps_read(result, 'train')] == ['p0', 'p2']
    assert [*maps_read(result, 'val')] == ['p1', 'p3']
    for words in ('1 images are in no list', 'val is what', 'but for 1 lines such as'):
        assert words in result.lines[3]


def test_what_no_list_has_is_trained_on(own, tmp_path):
    root = map_set(tmp_path / 'set')
    (root / 'val.txt').write_text('p1\n')
    assert [*maps_read(own(root, 'maps'), 'train')] == ['p0', 'p2', 'p3', 'p4']


NUMBERED = ['classes.json', {'10': 'k', **{str(i): 'abcdefghij'[i] for i in range(10)}}]


@pytest.mark.parametrize(
    ('values', 'file', 'text', 'classes', 'reduces'),
    [
        (range(11), *NUMBERED, 'abcdefghijk', False),
        ((0, 1, 2), 'classes.json', {'c': 2, 'a': 0, 'b': 1}, 'abc', False),
        ((0, 1), 'classes.json', {'0': 'a', '2': 'b'}, ['a', 'class 1', 'b'], False),
        ((1, 2), 'classes.json', {'0': 'a', '1': 'b', '2': 'c'}, 'abc', False),
        ((1, 2), 'classes.json', {'1': 'a', '2': 'b', '3': 'c'}, 'abc', True),
        ((0, 2), 'classes.json', {'1': 'a', '2': 'b', '3': 'c'},
         ['background', *'abc'], False),
        ((1, 2), 'classes.txt', 'a\nb\nc\n', 'abc', True),
        ((1, 2), 'classes.txt', 'background\nb\nc\n', ['background', *'bc'], False),
        ((0, 1, 3), 'classes.txt', 'background\nb\nc\n', ['background', *'bc'], True),
        ((0, 1), '_classes.csv', 'Pixel Value, Class\n1, b\n0, a\n', 'ab', False),
    ],
)  # fmt: skip
def test_numbers_and_names(own, tmp_path, values, file, text, classes, reduces):
    root = map_set(tmp_path / 'set', values=[*values])
    (root / file).write_text(text if isinstance(text, str) else json.dumps(text))
    result = own(root, 'maps')
    assert (result.classes, result.reduce_zero) == ([*classes], reduces)


def test_maps_beside_their_images(own, tmp_path):
    for split in ('train', 'valid'):
        place = map_set(tmp_path / split, label='{}_mask.png')
        for path in [*place.glob('*/*')]:
            path.rename(place / path.name)
        for kind in ('images', 'masks'):
            (place / kind).rmdir()
        (tmp_path / split / '_classes.csv').write_text(
            'Pixel Value, Class\n0, a\n1, b\n'
        )
    result = own(tmp_path, 'maps')
    assert (result.image_suffix, result.map_suffix) == ('.jpg', '_mask.png')
    assert result.classes == ['a', 'b'] and len(maps_read(result, 'val')) == 5


def test_of_two_maps_an_image_that_of_numbers_is_read(own, tmp_path):
    root = map_set(tmp_path / 'set', label='{}_label.png')
    for path in sorted((root / 'masks').iterdir()):
        shown = path.with_name(path.name.replace('label', 'color'))
        coloured(np.array(Image.open(path))).save(shown)
    assert own(root, 'maps').map_suffix == '_label.png'


def jpeg_maps(root, paint, count=3):
    """Images and maps of 64x64 whose right half is another class, as JPEG."""
    half = np.zeros((64, 64), np.uint8)
    half[:, 32:] = 1
    for kind, pixels in (('images', half * 99), ('masks', paint(half))):
        (root / kind).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(pixels).save(root / kind / f'{i}.jpg', quality=75)
    return half


@pytest.mark.parametrize('channels', [1, 3])
def test_black_and_white_jpeg_maps(channels, own, tmp_path):
    def paint(half):
        grey = half * 255
        grey[:, 31:33] = 130  # blended where both meet
        return grey if channels == 1 else np.stack([grey] * 3, 2)

    half = jpeg_maps(tmp_path / 'set', paint)
    result = own(tmp_path / 'set', 'maps')
    assert result.classes == ['class 0', 'class 1'] and result.map_suffix == '.png'
    for i in range(3):
        (copy,) = (tmp_path / 'run').rglob(f'{i}.png')
        read = np.asarray(Image.open(copy))
        assert (read == half)[:, :30].all() and (read == half)[:, 34:].all()
        assert set(np.unique(read)) == {0, 1}
    (tmp_path / 'set' / 'classes.txt').write_text('skin\npolyp\n')
    assert own(tmp_path / 'set', 'maps').classes == ['skin', 'polyp']
    (tmp_path / 'set' / 'classes.txt').write_text('a\nb\nc\n')
    with pytest.raises(BadInput, match='JPEG changes the numbers'):
        own(tmp_path / 'set', 'maps')


@pytest.mark.parametrize('paint', [lambda half: half * 3, lambda half: 100 + half * 90])
def test_numbers_in_jpeg_are_refused(paint, own, tmp_path):
    jpeg_maps(tmp_path / 'set', paint)
    with pytest.raises(BadInput, match='JPEG changes the numbers of a label map'):
        own(tmp_path / 'set', 'maps')


def colour_maps(root, colours, names):
    """Maps in whose columns the colours stand, and their ``labelmap.txt``."""
    for kind in ('images', 'masks'):
        (root / kind).mkdir(parents=True, exist_ok=True)
    for i in range(4):
        pixels = np.resize(np.array(colours, np.uint8), (8, len(colours), 3))
        Image.fromarray(pixels).save(root / 'masks' / f'{i}.png')
        Image.fromarray(np.full_like(pixels, i)).save(root / 'images' / f'{i}.jpg')
    (root / 'labelmap.txt').write_text('# name:colour\n' + names)
    return root


def first_row(result):
    file = sorted(Path(result.sources['test'].labels).glob('*.png'))[0]
    return np.asarray(Image.open(file))[0].tolist()


RED_GREEN = 'red:255,0,0::\ngreen:0,255,0::\n'


def test_colours_are_numbered_as_a_checkpoint_learned_them(own, tmp_path):
    """Its background is in no map of these."""
    root = colour_maps(tmp_path / 'set', [(255, 0, 0), (0, 255, 0)], RED_GREEN)
    asked = dict(loops=('test',), share=1, reduces=False)
    plain = own(root, 'maps', **asked)
    assert plain.classes == ['red', 'green'] and first_row(plain) == [0, 1]
    learned = ['background', 'red', 'green']
    result = own(root, 'maps', learned=learned, **asked)
    assert result.classes == learned and first_row(result) == [1, 2]
    assert result.palette == [[0, 0, 0], [255, 0, 0], [0, 255, 0]]


def test_shades_of_grey_are_colours_among_colours(own, tmp_path):
    root = colour_maps(tmp_path / 'set', [(255, 0, 0), (0, 255, 0)], RED_GREEN)
    Image.new('RGB', (2, 8)).save(root / 'masks' / '0.png')
    result = own(root, 'maps')
    assert result.classes == ['background', 'red', 'green']
    Image.new('RGB', (2, 8), 'white').save(root / 'masks' / '0.png')
    with pytest.raises(BadInput, match=r'0.png has pixels of the .*\(255, 255, 255\)'):
        own(root, 'maps')


def test_a_map_that_took_the_place_of_another_is_copied_anew(own, tmp_path):
    """Its time may be older than the copy's, as of one that was unpacked."""
    root = colour_maps(tmp_path / 'set', [(255, 0, 0), (0, 255, 0)], RED_GREEN)
    asked = dict(loops=('test',), share=1)
    assert first_row(own(root, 'maps', **asked)) == [0, 1]
    colour_maps(root, [(0, 255, 0), (255, 0, 0)], RED_GREEN)
    for file in (root / 'masks').iterdir():
        os.utime(file, (1, 1))
    assert first_row(own(root, 'maps', **asked)) == [1, 0]
    assert not list((tmp_path / 'run').rglob('*.part'))


def test_numbers_that_are_said_are_kept(own, tmp_path):
    root = map_set(tmp_path / 'set', values=(0, 1, 2))
    (root / 'classes.json').write_text('{"0": "road", "1": "car"}')
    result = own(root, 'maps')  # of the 2 the check of the maps speaks
    assert result.classes == ['road', 'car'] and not result.reduce_zero


def test_class_dict_as_other_programs_write_it(own, tmp_path):
    root = colour_maps(tmp_path / 'set', [(255, 0, 0), (0, 255, 0)], '')
    (root / 'labelmap.txt').unlink()
    table = root / 'class_dict.csv'
    table.write_text(
        '"name","r","g","b"\n"red","255","0","0"\n"green, light",0,255,0\n'
    )
    assert own(root, 'maps').classes == ['red', 'green, light']
    table.write_text('name,r,g,b\nred,255,0,0\ngreen,,255,0\n')
    assert own(root, 'maps', classes=['a']).classes != ['red', 'green']


def test_maps_without_numbers_have_classes_all_the_same(own, tmp_path):
    root = map_set(tmp_path / 'set', values=(255,))
    assert own(root, 'maps').classes == ['class 0', 'class 1']
