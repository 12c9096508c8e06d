"""Are VOC's annotations read as they are meant?"""

import numpy as np
import pytest
from PIL import Image

from mmmsmlp.errors import BadInput
from tests.helpers import layouts
from tests.helpers.layouts import read


def voc_file(path, box=(1, 1, 10, 10), name='cup', extra='', size='', image='x.jpg'):
    keys = ('xmin', 'ymin', 'xmax', 'ymax')
    corners = ''.join(f'<{k}>{v}</{k}>' for k, v in zip(keys, box, strict=True))
    path.write_text(
        f'<annotation><filename>{image}</filename>{size}<object><name> {name} </name>'
        f'{extra}<part><bndbox/></part><bndbox>{corners}</bndbox></object></annotation>'
    )
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(path.with_suffix('.jpg'))


def test_voc_beside_its_pictures(own, tmp_path):
    for split in ('train', 'valid'):
        (tmp_path / 'set' / split).mkdir(parents=True)
    hard = '<difficult>1</difficult>'
    train, valid = tmp_path / 'set' / 'train', tmp_path / 'set' / 'valid'
    voc_file(train / 'a.xml', extra=hard)
    voc_file(train / 'b.xml', name='fork', box=(1, 2, 11, 7))
    zero = '<size><width>0</width><height>0</height></size>'
    voc_file(valid / 'a.xml', size=zero, image='C:\\photos\\IMG_1.jpg')
    result = own(tmp_path / 'set')
    data = read(result.sources['train'])
    assert [image['file_name'] for image in data['images']] == ['a.jpg', 'b.jpg']
    assert [(row['bbox'], row['iscrowd']) for row in data['annotations']] == [
        ([0, 0, 10, 10], 1), ([0, 1, 11, 6], 0)
    ]  # fmt: skip
    (image,) = read(result.sources['val'])['images']
    assert (image['file_name'], image['width'], image['height']) == ('a.jpg', 40, 20)
    assert '1 difficult' in result.lines[3] and 'from 1' in result.lines[3]
    # A box at 0, or of fractions: whoever wrote these counts from 0.
    voc_file(valid / 'a.xml', box=(0, 2.5, 10, 10))
    result = own(tmp_path / 'set')
    assert read(result.sources['val'])['annotations'][0]['bbox'] == [0, 2.5, 10, 7.5]
    assert read(result.sources['train'])['annotations'][1]['bbox'] == [1, 2, 10, 5]


def test_voc_lists_names_with_spaces(own, demo, tmp_path):
    layouts.voc(demo, tmp_path / 'set')
    root = tmp_path / 'set'
    listed = root / 'ImageSets' / 'Main' / 'val.txt'
    old = listed.read_text().split()[0]
    for file in [*root.rglob(f'{old}.xml'), *root.rglob(f'{old}.jpg')]:
        file.rename(file.with_stem('photo 1 of 2'))
    for end in '', ' -1':
        listed.write_text(f'photo 1 of 2{end}\n')
        (image,) = read(own(root).sources['val'])['images']
        assert image['file_name'] == 'photo 1 of 2.jpg'


def test_voc_that_is_wrong(own, demo, tmp_path):
    layouts.voc(demo, tmp_path / 'set')
    listed = tmp_path / 'set' / 'ImageSets' / 'Main' / 'val.txt'
    listed.write_text(listed.read_text() + '\nlost 1\n')
    with pytest.raises(BadInput, match="val.txt names 1 images .* 'lost'"):
        own(tmp_path / 'set')
    listed.unlink()
    file = next((tmp_path / 'set' / 'Annotations').glob('train_*.xml'))
    text = file.read_text()
    file.write_text(text.replace('<xmin>', '<left>').replace('</xmin>', '</left>'))
    with pytest.raises(BadInput, match='object 1 needs a name and a bndbox of xmin'):
        own(tmp_path / 'set')
    file.write_text(text[:-5])
    with pytest.raises(BadInput, match=f'{file.name} is no XML'):
        own(tmp_path / 'set')


def lists_of(root, **names):
    """Write the lists of a set anew: train2 are the first two of train."""
    folder = root / 'ImageSets' / 'Main'
    old = {s: (folder / f'{s}.txt').read_text().split() for s in ('train', 'val')}
    for file in folder.iterdir():
        file.unlink()
    for name, given in names.items():
        (folder / f'{name}.txt').write_text('\n'.join(given(**old)))
    return folder


def test_voc_trainval_is_what_is_trained_on(own, demo, tmp_path):
    root = tmp_path / 'set'
    layouts.voc(demo, root)
    lists_of(root, trainval=lambda train, val: train)
    result = own(root)
    both = [read(result.sources[s])['images'] for s in ('train', 'val')]
    assert [len(images) for images in both] == [8, 2]
    assert all(i['file_name'].startswith('train') for part in both for i in part)
    assert '4 of 14 images are in no list' in result.lines[3]
    assert 'trainval is the training data' in result.lines[3]


def test_voc_as_of_2007(own, demo, tmp_path):
    root = tmp_path / 'set'
    layouts.voc(demo, root)
    folder = lists_of(root, trainval=lambda train, val: train + val[:1],
                      test=lambda train, val: val)  # fmt: skip
    result = own(root)
    counts = [result.sources[s].count for s in ('train', 'val', 'test')]
    assert counts == [8, 2, 4]
    # Lists beside the folders, of both files, as PaddleDetection has them.
    for split, name in (('trainval', 'train'), ('test', 'valid')):
        stems = (folder / f'{split}.txt').read_text().split()
        lines = [f'./JPEGImages/{s}.jpg ./Annotations/{s}.xml' for s in stems]
        (root / f'{name}.txt').write_text('\n'.join(lines[:4]))
        (folder / f'{split}.txt').unlink()
    (root / 'test.txt').write_text('a note')
    result = own(root)
    assert [result.sources[s].count for s in ('train', 'val')] == [4, 4]


@pytest.mark.parametrize(
    'named, written, word',
    [
        ('gbk', 'gbk', '图片'),
        ('GB2312', 'gbk', '鎔'),
        ('Shift_JIS', 'cp932', '画①'),
        ('euc-kr', 'euc-kr', '그림'),
        ('Big5', 'big5', '圖'),
        ('utf-16', 'utf-8', 'é'),
        ('ansi', 'ascii', 'e'),
    ],
)
def test_voc_in_other_encodings(named, written, word, own, tmp_path):
    file = tmp_path / 'set' / 'a.xml'
    file.parent.mkdir()
    for name in 'ab':
        voc_file(file.with_stem(name), name=word)
        text = f'<?xml version="1.0" encoding="{named}"?>{{}}'.format(
            file.with_stem(name).read_text()
        )
        file.with_stem(name).write_bytes(text.encode(written))
    assert own(file.parent).classes == [word]


@pytest.mark.parametrize('head', ['', '<?xml version="1.0" encoding="utf-8"?>'])
def test_voc_in_an_encoding_that_is_not_named(head, own, tmp_path):
    voc_file(tmp_path / 'a.xml', name='画面')
    text = (tmp_path / 'a.xml').read_text()
    (tmp_path / 'a.xml').write_bytes((head + text).encode('gbk'))
    with pytest.raises(BadInput, match='a.xml is no text in utf-8.* encoding="gbk"'):
        own(tmp_path)


@pytest.mark.parametrize('side', ['nan', 'inf', '-1', '0.5', 'wide', '1e999'])
def test_voc_sizes_that_are_none(side, own, tmp_path):
    size = f'<size><width>{side}</width><height>20</height></size>'
    (tmp_path / 'set').mkdir()
    for name in 'ab':
        voc_file(tmp_path / 'set' / f'{name}.xml', size=size)
    (image,) = read(own(tmp_path / 'set').sources['val'])['images']
    assert (image['width'], image['height']) == (40, 20)
