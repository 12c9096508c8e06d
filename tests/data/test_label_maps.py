"""Every check of label maps fires on what it is for, and not on clean ones."""
# ruff: noqa: E501  the table reads best with one case a line

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mmmsmlp.data.findings import Findings
from mmmsmlp.data.kinds import LABEL_MAPS
from mmmsmlp.data.label_maps import MapUse, check_maps

CLASSES = ('background', 'road', 'car')


@pytest.fixture
def maps(tmp_path):
    """Three images with maps of all classes, and how they are used."""
    rng = np.random.default_rng(0)
    for folder in ('images', 'maps'):
        (tmp_path / folder / 'town').mkdir(parents=True)
    for k in range(3):
        pixels = rng.integers(0, 255, (20 + k, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'images' / 'town' / f'{k}.jpg')
        labels = (np.arange((20 + k) * 30).reshape(-1, 30) % 3).astype(np.uint8)
        labels[0] = 255
        put(tmp_path, k, labels)
    return MapUse(str(tmp_path / 'images'), str(tmp_path / 'maps'), '.jpg', '.png',
                  CLASSES, len(CLASSES), trains=True)  # fmt: skip


def put(root, k, labels, mode=None, name=None):
    image = Image.fromarray(labels)
    if mode == 'P':
        image.putpalette(list(range(256)) * 3)
    image.save(root / 'maps' / 'town' / (name or f'{k}.png'))


def labels_of(root, k):
    return np.array(Image.open(root / 'maps' / 'town' / f'{k}.png'))


def all_maps(change):
    def bend(root):
        for k in range(3):
            put(root, k, change(labels_of(root, k)))

    return bend


def value(number, dtype=np.uint8):
    def bend(root):
        labels = labels_of(root, 1).astype(dtype)
        labels[5, :7] = number
        put(root, 1, labels)

    return bend


def to_two(labels):
    return np.where(labels == 1, 255, 0).astype(np.uint8)


def quantise(root):
    """Each map with the palette of its own colours, the commonest first."""
    for k in range(3):
        image = Image.fromarray((labels_of(root, k) + k) % 3)
        image.putpalette(
            [9 * ((number - k) % 3 + 1) for number in range(3) for _ in range(3)]
        )
        image.save(root / 'maps' / 'town' / f'{k}.png')


BENT = {
    'map gone': (lambda root: (root / 'maps/town/1.png').unlink(), 'map-missing', ['town/1.png']),
    'image gone': (lambda root: (root / 'images/town/1.jpg').unlink(), 'map-extra', ['town/1.png']),
    'another size': (lambda root: put(root, 1, labels_of(root, 1)[:9]), 'map-size', ['30 x 9, its image 30 x 21']),
    'colours': (lambda root: put(root, 1, np.stack([labels_of(root, 1)] * 3, 2)), 'map-colours', ['town/1.png: mode RGB']),
    'fractions': (lambda root: put(root, 1, labels_of(root, 1) / np.float32(2), name='1.tif'), 'map-fractions', ['town/1.tif'], dict(map_suffix='.tif', names=('town/1',))),
    'palettes': (quantise, 'map-palettes', ['(9, 9, 9) is 0, 1', 'labelmap.txt']),
    'value 7': (value(7), 'map-values', ['value 7 in 7 pixels', '0-2 and 255 (ignored)', '3 classes', 'hold 0, 1, 2, 7']),
    'one more': (value(3), 'map-values', ['value 3', 'hold 0-3: name 4 classes in place of 3']),
    'from 1': (all_maps(lambda m: np.where(m < 9, m + 1, m).astype(np.uint8)), 'map-values', ['value 3', 'Subtract one', 'reduce_zero_label=True']),
    '16 bits': (value(300, np.uint16), 'map-wide', ['value 300 in 7 pixels']),
    '0 and 255': (all_maps(to_two), 'map-255', ['Write 1'], dict(classes=('other', 'road'), numbers=2)),
    '0 and 255, one class': (all_maps(to_two), 'map-255', ['Write 1'], dict(classes=('road',), numbers=1)),
    '256 classes': (lambda root: None, 'map-too-many', ['256 classes'], dict(classes=tuple(map(str, range(256))), numbers=256)),
    'no car': (all_maps(lambda m: np.where(m == 2, 0, m).astype(np.uint8)), 'map-class-empty', ["'car'"]),
    'zero is a class': (lambda root: None, 'map-zero-lost', ["classes[0] 'background'", 'pixels are 0', 'none is 3'], dict(reduce_zero=True)),
    'zero may be one': (lambda root: None, 'map-zero-doubt', ["'wall'"], dict(reduce_zero=True, classes=('wall', 'road', 'car'))),
    'other suffix': (lambda root: None, 'map-none', ["suffix '_L.png': 3 of '.png'"], dict(map_suffix='_L.png')),
    'other images': (lambda root: None, 'map-none', ["suffix '.png': 3 of '.jpg'"], dict(image_suffix='.png')),
    'palette by cv2': (lambda root: put(root, 1, labels_of(root, 1), 'P'), 'map-palette', ['pillow'], dict(by_pillow=False)),
    'jpeg': (lambda root: [put(root, k, labels_of(root, k), name=f'{k}.jpg') for k in range(3)], 'map-lossy', ['(3, first: town/0.jpg)'], dict(map_suffix='.jpg')),
}  # fmt: skip


@pytest.mark.parametrize('name', BENT)
def test_what_is_bent_is_found(maps, tmp_path, cache, name):
    bend, kind, words, *use = BENT[name]
    bend(tmp_path)
    found = Findings()
    check_maps(replace(maps, **(use[0] if use else {})), found, cache)
    groups = {group.kind: group for group in found}
    assert kind in groups, [group.line() for group in found]
    assert groups[kind].outcome == LABEL_MAPS[kind].outcome
    for word in words:
        assert word in groups[kind].line()
    follows = {'map-class-empty', 'map-values'}
    assert set(groups) - follows - {kind} == set()


def test_every_kind_is_tried():
    assert {bent[1] for bent in BENT.values()} == set(LABEL_MAPS)


@pytest.mark.parametrize('form', ['plain', 'palette', '16 bits', 'listed', 'reduced'])
def test_nothing_is_said_of_clean_maps(maps, tmp_path, cache, form):
    use = maps
    for k in range(3):
        labels = labels_of(tmp_path, k)
        if form == 'palette':
            put(tmp_path, k, labels, 'P')
        if form == '16 bits':
            put(tmp_path, k, labels.astype(np.uint16))
        if form == 'reduced':
            put(tmp_path, k, np.where(labels < 9, labels + 1, 0).astype(np.uint8))
    if form == 'listed':
        use = replace(maps, names=('town/0', 'town/2'))
    if form == 'reduced':
        use = replace(maps, reduce_zero=True)
    found = Findings()
    known = check_maps(use, found, cache)
    assert not len(found), [group.line() for group in found]
    assert known.summary.images == (2 if form == 'listed' else 3)
    if form != 'listed':
        assert known.summary.classes == dict(background=600, road=600, car=600)


def test_palettes_of_two_programs_may_differ(maps, tmp_path, cache):
    """Numbers are right; colours are what a program shows them by."""
    ramp = [value for value in range(256) for _ in range(3)]
    for k, colours in enumerate(([0, 0, 0, 128, 0, 0, 0, 128, 0, *[0] * 759], ramp)):
        image = Image.fromarray(labels_of(tmp_path, k))
        image.putpalette(colours)
        image.save(tmp_path / 'maps' / 'town' / f'{k}.png')
    found = Findings()
    check_maps(maps, found, cache)
    assert not len(found), [group.line() for group in found]


def test_whole_numbers_in_floating_point_are_read(maps, tmp_path, cache):
    for k in range(3):
        put(tmp_path, k, labels_of(tmp_path, k).astype(np.float32), name=f'{k}.tif')
    found = Findings()
    known = check_maps(replace(maps, map_suffix='.tif'), found, cache)
    assert not len(found) and known.summary.classes == dict.fromkeys(CLASSES, 600)


def test_a_turned_picture_is_compared_as_it_is_read(maps, tmp_path, cache):
    tags = Image.Exif()
    tags[0x0112] = 6
    path = tmp_path / 'images' / 'town' / '1.jpg'
    Image.open(path).save(path, exif=tags)
    found = Findings()
    check_maps(maps, found, cache)
    assert found.kinds() == {'map-size'}
    assert 'its image 21 x 30 once turned by its EXIF' in found.lines('error')[0]


def test_a_damaged_map_is_named(maps, tmp_path, cache):
    (tmp_path / 'maps' / 'town' / '1.png').write_text('none')
    found = Findings()
    check_maps(maps, found, cache)
    assert found.kinds() == {'picture-broken'}
    assert 'town/1.png' in found.lines('error')[0]
