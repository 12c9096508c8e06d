"""Is the image folder of a COCO file the one of its split?"""

import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmmsmlp.data.image_folder import image_folder
from mmmsmlp.data.layouts import split_of
from mmmsmlp.errors import BadInput

NAMES = ['0.jpg', '1.jpg']


def draw(folder, value=0, names=NAMES):
    """Pictures of one grey, so that those of two folders differ."""
    folder.mkdir(parents=True)
    for name in names:
        Image.fromarray(np.full((8, 8), value, np.uint8)).save(folder / name)


def write(root, file):
    """A COCO file of the two names; its path."""
    images = [dict(id=i, file_name=n, width=8, height=8) for i, n in enumerate(NAMES)]
    box = dict(id=1, image_id=0, category_id=1, bbox=[1, 1, 4, 4], area=16, iscrowd=0)
    categories = [dict(id=1, name='cup')]
    data = dict(images=images, annotations=[box], categories=categories)
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(data))
    return str(root / file)


@pytest.mark.parametrize(
    ('train', 'val'),
    [
        ('train2017', 'val2017'),
        ('Train', 'Val'),
        ('train_images', 'val_images'),
        ('TrainSet', 'ValSet'),
        ('images/training', 'images/validation'),
        ('train/images', 'valid/images'),
        ('JPEGImages/train', 'JPEGImages/val'),
        ('training-imgs', 'evaluation-imgs'),
    ],
)
@pytest.mark.parametrize(
    'files',
    [('annotations/instances_train.json', 'annotations/instances_val.json'),
     ('train.json', 'valid.json'), ('labels/training.json', 'labels/dev.json')],
)  # fmt: skip
def test_splits_that_number_their_images_alike(train, val, files, own, tmp_path):
    root = tmp_path / 'test set'  # its own name says nothing of what it holds
    for value, (folder, file) in enumerate(zip((train, val), files, strict=True)):
        draw(root / folder, value)
        write(root, file)
    sources = own(root).sources
    assert Path(sources['train'].images) == root / train
    assert Path(sources['val'].images) == root / val
    for folder, file in zip((train, val), files, strict=True):
        assert Path(image_folder(str(root / file), NAMES)) == root / folder


def test_the_folder_of_another_split_comes_last(tmp_path):
    draw(tmp_path / 'pictures')
    draw(tmp_path / 'train', 1)
    file = write(tmp_path, 'val.json')
    assert Path(image_folder(file, NAMES)) == tmp_path / 'pictures'
    shutil.rmtree(tmp_path / 'pictures')
    notes = []
    assert Path(image_folder(file, NAMES, notes=notes)) == tmp_path / 'train'
    assert notes == [f'the images of val.json were found in {tmp_path / "train"} only']
    # The split's own folder may lack one, which is said later.
    many = [f'{i}.jpg' for i in range(20)]
    shutil.rmtree(tmp_path / 'train')
    draw(tmp_path / 'train', 1, many)
    draw(tmp_path / 'val', 2, many[1:])
    assert Path(image_folder(file, many)) == tmp_path / 'val'


def test_what_was_taken_of_several_folders_is_said(tmp_path):
    draw(tmp_path / 'images')
    draw(tmp_path / 'copies')
    draw(tmp_path / 'drawn', 1)
    notes = []
    folder = image_folder(write(tmp_path, 'all.json'), NAMES, notes=notes)
    assert Path(folder) == tmp_path / 'images'
    (note,) = notes
    assert note.endswith(f'images, not of {tmp_path / "drawn"}')


def test_folders_of_splits_for_a_file_that_says_none(tmp_path):
    draw(tmp_path / 'train')
    draw(tmp_path / 'val', 1)
    file = write(tmp_path, 'instances_default.json')
    with pytest.raises(BadInput, match='train, .*val, and they differ.*train.json'):
        image_folder(file, NAMES)
    shutil.rmtree(tmp_path / 'val')
    assert Path(image_folder(file, NAMES)) == tmp_path / 'train'


def test_validation_and_evaluation_are_val_and_test(own, tmp_path):
    splits = ('training', 'validation', 'evaluation')
    for value, split in enumerate(splits):
        draw(tmp_path / 'set' / split, value)
        write(tmp_path / 'set', f'annotations/instances_{split}.json')
    sources = own(tmp_path / 'set').sources
    assert tuple(Path(source.images).name for source in sources.values()) == splits


@pytest.mark.parametrize(
    ('name', 'split'),
    [('instances_train2017', 'train'), ('valSet', 'val'), ('Test images', 'test'),
     ('trainval', None), ('restraint', None), ('contest', None), ('set', None)],
)  # fmt: skip
def test_which_names_say_a_split(name, split):
    assert split_of(name) == split


@pytest.mark.parametrize(
    ('there', 'named'),
    [
        ('{}.JPG', '{}.jpg'),
        ('{}.jpg', '{}.jpeg'),
        ('my pic {}.jpg', 'my%20pic%20{}.jpg'),
        (unicodedata.normalize('NFD', 'größe{}.jpg'), 'größe{}.jpg'),
    ],
)
@pytest.mark.posix
def test_names_as_another_system_spells_them(coco, own, there, named):
    for i, image in enumerate(coco.data['images']):
        (coco.images / f'{i}.jpg').rename(coco.images / there.format(i))
        image['file_name'] = named.format(i)
    assert Path(image_folder(str(coco.file), [named.format(1)])) == coco.images
    found, known = coco.check()
    assert found.kinds() == {'path-moved'}
    assert known.plan.names == {named.format(i): there.format(i) for i in range(6)}


@pytest.mark.posix
def test_two_files_of_near_names_are_not_chosen_between(coco):
    for name in ('0.JPG', '0.JPEG'):
        shutil.copy(coco.images / '0.jpg', coco.images / name)
    (coco.images / '0.jpg').unlink()
    assert coco.check()[0].kinds() == {'picture-missing'}


@pytest.mark.parametrize('end', ['', '/', '/.'])
def test_a_path_may_end_in_a_slash(end, own, tmp_path):
    """What lies beside the set is none of its pictures."""
    draw(tmp_path / 'pics', 9)
    Image.new('L', (8, 8)).save(tmp_path / '1.jpg')
    Image.new('L', (8, 8)).save(tmp_path / '0.jpg')
    draw(tmp_path / 'birds' / 'pics')
    write(tmp_path, 'birds/train.json')
    source = own(f'{tmp_path / "birds"}{end}').sources['train']
    assert Path(source.images).resolve() == tmp_path / 'birds' / 'pics'
