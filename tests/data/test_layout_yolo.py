"""Are YOLO's labels read as they are meant?"""

import shutil

import numpy as np
import pytest
from PIL import Image

from mmmsmlp.errors import BadInput
from tests.helpers import layouts
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
    (root / 'data.yaml').write_text(
        (root / 'data.yaml').read_text().replace('path: /home/you/set', 'path: ~')
    )
    assert own(root / 'data.yaml').sources['train'].count == 1


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
        ('2 0.5 0.5 0.5 0.5', 'class 2; 0-1 are named; YOLO counts them from 0'),
        ('7 0.5 0.5 0.5 0.5', 'class 7; 0-1 are named'),
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


def test_yolo_names_and_counts_are_text(own, tmp_path):
    names = '[yes, no, on, 010, "null"]'
    result = own(yolo_set(tmp_path / 'set', names=names, nc="'5'", test='~'))
    assert result.classes == ['yes', 'no', 'on', '010', 'null']


def test_yolo_pictures_of_other_kinds(own, tmp_path):
    root = yolo_set(tmp_path / 'set')
    images, labels = root / 'train' / 'images', root / 'train' / 'labels'
    for name in ('c.jfif', 'd.jpe'):
        Image.open(images / 'a.PNG').save(images / name, format='JPEG')
        shutil.copy(labels / 'a.txt', labels / f'{name[0]}.txt')
    for name in ('e.gif', 'f.GIF', 'g.heic', 'h.xyz', 'a.json', 'Thumbs.db'):
        (images / name).write_bytes(b'?')
    shutil.copy(labels / 'a.txt', labels / 'h.txt')
    shutil.copy(labels / 'a.txt', labels / 'lost.txt')
    (labels / 'classes.txt').write_text('cup\nfork\n')
    result = own(root)
    assert (result.sources['train'].count, result.sources['train'].boxes) == (4, 3)
    told = result.lines[3]
    assert '4 pictures of train are of kinds that are not read' in told
    assert '2 .gif, 1 .heic, 1 .xyz' in told
    assert '1 label files without a picture' in told and 'lost.txt' in told


def test_yolo_folders_in_capitals(own, tmp_path):
    root = yolo_set(tmp_path / 'set')
    for kind in ('images', 'labels'):
        (root / kind.title()).mkdir()
        (root / 'train' / kind).rename(root / kind.title() / 'Train')
        (root / 'valid' / kind).rename(root / kind.title() / 'Val')
    (root / 'Labels' / 'Train').rename(root / 'Labels' / 'train')
    text = 'train: Images/Train\nval: Images/Val\nnames: [cup, fork]'
    (root / 'data.yaml').write_text(text)
    assert own(root).sources['train'].boxes == 1


BOX = '0 0.6 0.5 0.2 0.5'


@pytest.mark.parametrize(
    'lines, masks, told',
    [
        ([f'{BOX} 0.9'], 0, 'have 5 numbers'),
        ([f'{BOX} 0.9', f'{BOX} 0.8 12'], 0, 'have 5, 6 numbers'),
        ([f'{BOX} 0.8 7', BOX], 0, 'have 6 numbers'),
        ([f'{BOX} 0.9 0.{i:02}' for i in range(20)], 0, 'have 6 numbers'),
        ([f'{BOX} 0.6 0.5 0.6 0.{i:02}' for i in range(20)], 0, 'have 8 numbers'),
        ([f'{BOX} 0.6 0.5 2 0.7 0.5 1'], 0, 'have 10 numbers'),
        ([f'{BOX} 0.9 0.5'], 1, 'of 6 numbers behind the class are read as outlines'),
        (['0 0.9 0.5 0.95 0.5 0.95 0.9'] * 2, 1, 'none'),
        ([f'0 0.4 0.4 0.5 0.4 0.5 0.{i} 0.4 0.{i}' for i in range(50, 80)], 30,
         'read as outlines'),
    ],
)  # fmt: skip
def test_yolo_boxes_with_more_behind_them(lines, masks, told, own, tmp_path):
    result = own(yolo_set(tmp_path / 'set', lines='\n'.join(lines)))
    source = result.sources['train']
    assert (source.boxes, source.masks) == (len(set(lines)), masks)
    assert told in result.lines[3] or told == 'none'
    if not masks:
        assert read(source)['annotations'][0]['bbox'] == [20, 5, 8, 10]


def test_yolo_keypoints_that_are_none(own, tmp_path):
    lines = '\n'.join(f'{BOX} 0.9 0.{i:02}' for i in range(20))
    result = own(yolo_set(tmp_path / 'set', lines=lines, kpt_shape='[0, 0]'))
    assert result.sources['train'].masks == 20


def beside(demo, root):
    """labelImg's: the demo set with labels beside its pictures."""
    layouts.yolo(demo, root)
    for file in root.rglob('labels/*/*.txt'):
        file.rename(root / 'images' / file.parent.name / file.name)
    shutil.rmtree(root / 'labels')
    (root / 'data.yaml').unlink()
    return root / 'images'


def test_yolo_labels_beside_the_pictures(demo, own, tmp_path):
    images = beside(demo, tmp_path / 'set')
    (images / 'train' / 'classes.txt').write_text('circle\nsquare\ntriangle\nstar\n')
    for root in (images, tmp_path / 'set'):
        result = own(root)
        assert [result.sources[s].count for s in ('train', 'val')] == [10, 4]
        assert result.classes == ['circle', 'square', 'triangle', 'star']
        assert 'no picture' not in result.lines[3]
    shutil.copy(demo / 'train' / '00000.jpg', images / 'stray.jpg')
    assert '1 pictures are in no split and are left out' in own(images).lines[3]
    shutil.rmtree(images / 'val')
    shutil.move(images / 'train', tmp_path / 'flat')
    result = own(tmp_path / 'flat')
    assert [result.sources[s].count for s in ('train', 'val')] == [8, 2]


def test_voc_beside_the_pictures_goes_before_yolo(demo, own, tmp_path):
    images = beside(demo, tmp_path / 'set') / 'train'
    (images / 'classes.txt').write_text('circle\nsquare\ntriangle\nstar\n')
    layouts.voc(demo, tmp_path / 'voc')
    for file in (tmp_path / 'voc' / 'Annotations').glob('train_*.xml'):
        shutil.copy(file, images / file.name.removeprefix('train_'))
    assert 'is VOC XML' in own(images).lines[0]


@pytest.mark.parametrize('above', ['data', '/home/you/darknet/build', 'C:\\sets'])
def test_yolo_as_cvat_writes_it(above, demo, own, tmp_path):
    images, root = beside(demo, tmp_path / 'set'), tmp_path / 'darknet'
    root.mkdir()
    for split, theirs in (('train', 'train'), ('val', 'valid')):
        shutil.copytree(images / split, root / f'obj_{theirs}_data')
        files = sorted((images / split).glob('*.jpg'))
        lines = [f'{above}/obj_{theirs}_data/{file.name}' for file in files]
        (root / f'{theirs}.txt').write_text('\n'.join(lines))
    (root / 'obj.names').write_text('circle\nsquare\ntriangle\nstar\n')
    (root / 'obj.data').write_text(
        'classes = 4\ntrain = data/train.txt\nvalid = data/valid.txt\n'
        'names = data/obj.names\nbackup = backup/\n'
    )
    result = own(root)
    assert 'YOLO text labels (obj.data)' in result.lines[0]
    assert [result.sources[s].count for s in ('train', 'val')] == [10, 4]
    whole = layouts.load(demo, 'train')[0]['annotations']
    assert result.sources['train'].boxes == len(whole)
    (root / 'obj.names').write_text('\n')
    with pytest.raises(BadInput, match='names = data/obj.names is not there or empty'):
        own(root)
