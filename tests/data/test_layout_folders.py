"""Are folders of classes understood as they lie there?"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmmsmlp.errors import BadInput
from tests.helpers import layouts
from tests.helpers.layouts import draw_classes

SHAPES = ['circle', 'square', 'triangle', 'star']


@pytest.mark.parametrize(
    ('train', 'val'),
    [('training_set', 'val_set'), ('TrainImages', 'ValImages'), ('training', 'eval'),
     ('seg_train/seg_train', 'seg_dev/seg_dev'), ('Train', 'evaluation')],
)  # fmt: skip
def test_class_folders_in_splits_of_other_names(train, val, own, tmp_path):
    for split in (train, val, 'extra'):
        draw_classes(tmp_path / 'set', f'{split}/cat', f'{split}/dog')
    result = own(tmp_path / 'set', 'folders')
    assert result.classes == ['cat', 'dog']
    found = [Path(result.sources[s].images) for s in ('train', 'val')]
    assert found == [tmp_path / 'set' / train, tmp_path / 'set' / val]
    assert 'extra is not read' in result.lines[3]


def test_a_class_whose_name_has_the_word_of_a_split(own, tmp_path):
    draw_classes(tmp_path / 'set', 'test tube', 'flask')
    assert own(tmp_path / 'set', 'folders').classes == ['flask', 'test tube']


@pytest.mark.posix
def test_class_folders_that_differ_in_case_alone_are_two(own, tmp_path):
    for name in ('Cat', 'cat', 'dog'):
        (tmp_path / 'set' / name).mkdir(parents=True)
        for i in range(3):
            pixels = np.zeros((4, 4, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / 'set' / name / f'{i}.jpg')
    result = own(tmp_path / 'set', 'folders', share=0.34)
    assert result.classes == ['Cat', 'cat', 'dog']
    assert sum(result.sources[split].count for split in ('train', 'val')) == 9


def test_class_folders(demo, own, tmp_path):
    layouts.class_folders(demo, tmp_path / 'set')
    result = own(tmp_path / 'set', 'folders')
    assert result.classes == sorted(SHAPES)
    assert {source.listed for source in result.sources.values()} == {''}
    # What is hidden is no class, though mmpretrain would number it.
    (tmp_path / 'set' / 'val' / '.ipynb_checkpoints').mkdir()
    shutil.rmtree(tmp_path / 'set' / 'val' / 'square')
    names = {name: name.upper() for name in SHAPES}
    (tmp_path / 'set' / 'classes.json').write_text(json.dumps(names))
    result = own(tmp_path / 'set', 'folders')
    assert result.classes == ['CIRCLE', 'SQUARE', 'STAR', 'TRIANGLE']
    lines = Path(result.sources['val'].listed).read_text().splitlines()
    pairs = {(line.split('/')[0], line.rsplit(' ', 1)[1]) for line in lines}
    assert pairs <= {('circle', '0'), ('star', '2'), ('triangle', '3')} and pairs
    assert result.sources['train'].listed == ''
    del names['star']
    (tmp_path / 'set' / 'classes.json').write_text(json.dumps(names))
    result = own(tmp_path / 'set', 'folders')
    assert result.classes == sorted(SHAPES)
    assert 'classes.json does not name star' in result.lines[3]


def test_class_folders_without_splits_are_divided_class_by_class(own, tmp_path):
    for name, count in (('rare', 1), ('two', 2), ('many', 20)):
        (tmp_path / 'set' / name).mkdir(parents=True)
        for i in range(count):
            pixels = np.full((4, 4, 3), i, np.uint8)
            Image.fromarray(pixels).save(tmp_path / 'set' / name / f'{i} a.png')
    result = own(tmp_path / 'set', 'folders', share=0.25)
    counts = []
    for split in ('train', 'val'):
        lines = Path(result.sources[split].listed).read_text().splitlines()
        labels = [line.rsplit(' ', 1)[1] for line in lines]
        counts.append([labels.count(str(i)) for i in range(3)])
    assert result.classes == ['many', 'rare', 'two']
    assert counts == [[15, 1, 1], [5, 0, 1]]


def test_folders_spelled_otherwise_in_another_split(demo, own, tmp_path):
    """Two classes of one split are meant, however alike."""
    picture = next((demo / 'train').glob('*.*'))
    for folder in ('train/Cat', 'train/cat', 'val/Cat', 'val/cat', 'train/dog'):
        (tmp_path / 'set' / folder).mkdir(parents=True)
        shutil.copy(picture, tmp_path / 'set' / folder)
    assert set(own(tmp_path / 'set', task='folders').classes) == {'Cat', 'cat', 'dog'}
    shutil.copytree(tmp_path / 'set/train/dog', tmp_path / 'set/val/Dog')
    with pytest.raises(BadInput, match="'dog' of train is 'Dog' in val"):
        own(tmp_path / 'set', task='folders')


@pytest.mark.parametrize(
    'classes',
    [
        ('mask', 'no_mask'),
        ('label', 'plain'),
        ('images', 'texts'),
        ('bus', 'car', 'train'),
    ],
)
@pytest.mark.parametrize('split', [False, True])
def test_classes_called_as_other_folders_are(classes, split, demo, own, tmp_path):
    picture = next((demo / 'train').glob('*.*'))
    for place in ('train', 'val') if split else ('',):
        for name in classes:
            (tmp_path / 'set' / place / name).mkdir(parents=True)
            for k in range(5):
                copy = tmp_path / 'set' / place / name / f'{k}{picture.suffix}'
                shutil.copy(picture, copy)
    result = own(tmp_path / 'set', task='folders')
    assert result.classes == sorted(classes)
    assert result.sources['train'].count == (5 if split else 4) * len(classes)


def test_pictures_beside_maps_are_no_classes(demo, own, tmp_path):
    for name in ('images', 'labels'):
        shutil.copytree(demo / 'train', tmp_path / 'set' / name)
    with pytest.raises(BadInput, match='folders of images and label maps'):
        own(tmp_path / 'set', task='folders')


def test_what_a_mac_leaves_beside_pictures_is_left_out(demo, own, tmp_path):
    """mmpretrain would read it, and end in a traceback."""
    picture = next((demo / 'train').glob('*.*'))
    for place in ('train/cat', 'train/dog', 'val/cat', 'val/dog'):
        (tmp_path / 'set' / place).mkdir(parents=True)
        shutil.copy(picture, tmp_path / 'set' / place / '1.jpg')
    (tmp_path / 'set/train/cat/._1.jpg').write_bytes(b'Mac OS X')
    result = own(tmp_path / 'set', task='folders')
    train = result.sources['train']
    listed = Path(train.listed).read_text().splitlines()
    assert listed == ['cat/1.jpg 0', 'dog/1.jpg 1'] and train.count == 2
    assert '1 hidden pictures of train are left out' in result.lines[3]
    assert not result.sources['val'].listed


def pictures_at(root, places, picture):
    for place in places:
        (root / place).mkdir(parents=True)
        for k in range(3):
            shutil.copy(picture, root / place / f'{place.replace("/", "-")}{k}.jpg')


def test_splits_of_pictures_without_classes_are_no_classes(demo, own, tmp_path):
    picture = next((demo / 'train').glob('*.*'))
    pictures_at(tmp_path / 'set', ['train_images', 'val_images'], picture)
    with pytest.raises(BadInput, match='train_images, val_images hold pictures and no'):
        own(tmp_path / 'set', task='folders')
    (tmp_path / 'set' / 'labels.csv').write_text('id,breed\n')
    with pytest.raises(BadInput, match='val/CLASS/; .*labels.csv is a table of labels'):
        own(tmp_path / 'set', task='folders')


def test_splits_within_class_folders(demo, own, tmp_path):
    """They would be mixed, and val be trained on."""
    picture = next((demo / 'train').glob('*.*'))
    places = [
        f'{name}/{split}' for name in ('cat', 'dog') for split in ('train', 'val')
    ]
    pictures_at(tmp_path / 'set', places, picture)
    result = own(tmp_path / 'set', task='folders')
    assert result.classes == ['cat', 'dog']
    for split in ('train', 'val'):
        lines = Path(result.sources[split].listed).read_text().splitlines()
        assert lines == [
            f'{name}/{split}/{name}-{split}{k}.jpg {number}'
            for number, name in enumerate(('cat', 'dog'))
            for k in range(3)
        ]


def test_each_checkpoint_has_its_own_list(own, tmp_path):
    """A training's list would number other classes once a test has run."""
    draw_classes(tmp_path / 'set', 'val/cat', 'val/dog')
    asked = dict(task='folders', loops=('test',))
    texts = []
    for learned in (['moon', 'cat', 'dog'], ['dog', 'cat', 'moon']):
        source = own(tmp_path / 'set', learned=learned, **asked).sources['test']
        texts.append((source.listed, Path(source.listed).read_text()))
    assert 'cat/0.png 1\n' in texts[0][1] and 'dog/0.png 0\n' in texts[1][1]
    assert Path(texts[0][0]).read_text() == texts[0][1]


def test_imagenet_and_a_checkpoint_that_has_its_names(own, tmp_path):
    folders = [f'n{number:08d}' for number in range(1000)]
    for name in folders:
        (tmp_path / 'set' / 'val' / name).mkdir(parents=True)
        Image.new('RGB', (4, 4)).save(tmp_path / 'set' / 'val' / name / '0.png')
    learned = [f'name {number}' for number in range(1000)]
    asked = dict(task='folders', loops=('test',))
    assert own(tmp_path / 'set', learned=learned, **asked).classes == folders
    with pytest.raises(BadInput, match='does not know'):
        own(tmp_path / 'set', learned=learned[:999], **asked)


def test_evaluation_within_class_folders_is_the_test_split(own, tmp_path):
    places = [f'{n}/{s}' for n in ('cat', 'dog') for s in ('train', 'val', 'eval')]
    draw_classes(tmp_path / 'set', *places)
    sources = own(tmp_path / 'set', 'folders').sources
    for loop, folder in (('train', 'train'), ('val', 'val'), ('test', 'eval')):
        assert f'cat/{folder}/0.png 0' in Path(sources[loop].listed).read_text()
        assert sources[loop].count == 6


def test_a_stray_picture_does_not_mix_the_splits_within(own, tmp_path):
    """The pictures of val would be trained on."""
    places = [
        f'{name}/{split}' for name in ('cat', 'dog') for split in ('train', 'val')
    ]
    draw_classes(tmp_path / 'set', *places)
    for k in range(3):
        Image.new('RGB', (4, 4)).save(tmp_path / 'set' / 'cat' / f'{k}.png')
    result = own(tmp_path / 'set', 'folders')
    assert [result.sources[split].count for split in ('train', 'val')] == [6, 6]
    assert (
        '3 pictures in no train, val are left out, such as cat/0.png'
        in (result.lines[3])
    )


def test_folders_without_pictures_are_no_classes(own, tmp_path):
    for split in ('train', 'val'):
        draw_classes(tmp_path / 'set' / split, 'cat', 'dog')
    (tmp_path / 'set' / 'train' / 'results').mkdir()
    (tmp_path / 'set' / 'train' / 'results' / 'log.csv').write_text('1')
    result = own(tmp_path / 'set', 'folders')
    assert result.classes == ['cat', 'dog']
    assert 'results has no pictures and is no class' in result.lines[3]
    assert {line[-1] for line in read_list(result, 'train')} == {'0', '1'}


def read_list(result, split):
    return Path(result.sources[split].listed).read_text().splitlines()


def test_the_root_of_imagenet_names_where_the_classes_are(own, tmp_path):
    draw_classes(tmp_path / 'set' / 'Data' / 'CLS' / 'train', 'n01', 'n02')
    for name in ('Annotations', 'ImageSets'):
        (tmp_path / 'set' / name).mkdir()
    with pytest.raises(BadInput, match=r'one class folder \(Data\).* name it'):
        own(tmp_path / 'set', 'folders')


def test_a_flat_val_is_left_out_and_train_is_read(own, tmp_path):
    """As in Tiny ImageNet, whose val says its classes in a table."""
    draw_classes(tmp_path / 'set' / 'train', 'n01/images', 'n02/images')
    draw_classes(tmp_path / 'set', 'val/images')
    result = own(tmp_path / 'set', 'folders')
    assert result.classes == ['n01', 'n02']
    assert 'val has no class folders with pictures' in result.lines[3]
    assert result.sources['val'].images.endswith('train')


def test_classes_below_images_are_named(own, tmp_path):
    """As in Food-101 and CUB."""
    draw_classes(tmp_path / 'set' / 'images', 'pie', 'soup')
    (tmp_path / 'set' / 'meta').mkdir()
    with pytest.raises(BadInput, match=r'in images alone: name .*set/images$'):
        own(tmp_path / 'set', 'folders')


def test_pictures_of_kinds_that_are_not_read_are_told(own, tmp_path):
    draw_classes(tmp_path / 'set', 'cat', 'dog')
    for k in range(2):
        Image.new('RGB', (4, 4)).save(tmp_path / 'set' / 'cat' / f'{k}.gif')
    result = own(tmp_path / 'set', 'folders')
    assert (
        '2 pictures are of kinds that are not read, and left out (2 .gif)'
        in (result.lines[3])
    )


def test_trainval_is_trained_on(own, tmp_path):
    for split in ('trainval', 'test'):
        draw_classes(tmp_path / 'set' / split, 'cat', 'dog')
    result = own(tmp_path / 'set', 'folders', loops=('train', 'test'))
    assert result.sources['train'].count < 6
    assert result.sources['train'].images.endswith('trainval')
    assert result.sources['test'].images.endswith('test')


def test_a_misspelt_class_of_val(own, tmp_path):
    for split, names in dict(train=('church', 'n01'), val=('chruch', 'n02')).items():
        draw_classes(tmp_path / 'set' / split, *names)
    with pytest.raises(BadInput, match="'chruch', and train has none; did .* 'church'"):
        own(tmp_path / 'set', 'folders')
    (tmp_path / 'set' / 'val' / 'chruch').rename(tmp_path / 'set' / 'val' / 'church')
    assert own(tmp_path / 'set', 'folders').classes == ['church', 'n01', 'n02']


def test_a_folder_of_data_sets_is_no_set_of_classes(demo, own, tmp_path):
    draw_classes(tmp_path / 'sets' / 'mine' / 'train', 'cat', 'dog')
    layouts.cvat(demo, tmp_path / 'sets' / 'boxes')
    shutil.copy(demo / 'annotations' / 'train.json', tmp_path / 'sets' / 'boxes')
    with pytest.raises(BadInput, match='boxes is a data set and no class'):
        own(tmp_path / 'sets', 'folders')
