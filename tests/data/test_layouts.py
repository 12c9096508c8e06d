"""Is a data set understood as it lies there, whatever tool exported it?"""

import json
import os
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from mmmsmlp.data.own import Source
from mmmsmlp.errors import BadInput
from tests.helpers import layouts
from tests.helpers.layouts import draw_classes, read

SHAPES = ['circle', 'square', 'triangle', 'star']


def boxes_of(data):
    """Boxes by the image's stem and the class's name, in order."""
    stems = {i['id']: Path(i['file_name'].replace('\\', '/')).stem.split('_')[-1]
             for i in data['images']}  # fmt: skip
    names = {c['id']: c['name'] for c in data['categories']}
    result = defaultdict(list)
    for row in data['annotations']:
        key = stems[row['image_id']], names[row['category_id']]
        result[key].append(tuple(row['bbox']))
    return {key: sorted(boxes) for key, boxes in result.items()}


def original(root, split):
    return json.loads((root / 'annotations' / f'{split}.json').read_text())


def assert_near(found, expected, slack):
    assert found.keys() == expected.keys()
    for key, boxes in found.items():
        assert np.allclose(boxes, expected[key], atol=slack), key


@pytest.mark.parametrize('name', ['coco', 'roboflow', 'yolo', 'voc'])
def test_layouts_with_splits_hold_the_same_boxes(name, demo, own, tmp_path):
    layouts.BOXES[name](demo, tmp_path / 'set')
    result = own(tmp_path / 'set')
    assert sorted(result.classes) == sorted(SHAPES)
    assert len(result.palette) == 4 and len(set(map(tuple, result.palette))) == 4
    for split, count in (('train', 10), ('val', 4)):
        source = result.sources[split]
        assert source.count == count
        data = read(source)
        assert_near(boxes_of(data), boxes_of(original(demo, split)), 0.01)
        for image in data['images']:
            assert (Path(source.images) / image['file_name']).is_file()
            assert (image['width'], image['height']) == (96, 96)
    assert result.sources['test'] == result.sources['val']
    assert len(result.lines) == 4 and 'train 10 images' in result.lines[1]
    # Nothing is written where the data lie.
    assert not list((tmp_path / 'set').rglob('*.part'))
    written = {path.name for path in (tmp_path / 'run').rglob('*.json')}
    assert written == ({'train.json', 'val.json'} if name in ('yolo', 'voc') else set())


@pytest.mark.parametrize('name', ['cvat', 'label_studio', 'labelme'])
def test_one_file_is_split_by_image_and_always_alike(name, demo, own, tmp_path):
    layouts.BOXES[name](demo, tmp_path / 'set')
    result = own(tmp_path / 'set', share=0.3)
    both = [read(result.sources[split]) for split in ('train', 'val')]
    names = [{image['file_name'] for image in data['images']} for data in both]
    assert [len(part) for part in names] == [7, 3] and not names[0] & names[1]
    merged = {**boxes_of(both[0]), **boxes_of(both[1])}
    assert merged == boxes_of(original(demo, 'train'))
    assert 'for there is no val' in result.lines[3]
    again = own(tmp_path / 'set', share=0.3)
    assert read(again.sources['val']) == both[1]
    whole = own(tmp_path / 'set', loops=('test',), share=1)
    assert whole.sources['test'].count == 10


def test_a_folder_that_an_archive_was_unpacked_into(demo, own, tmp_path):
    layouts.coco(demo, tmp_path / 'set' / 'shapes v3')
    (tmp_path / 'set' / '__MACOSX').mkdir()
    assert own(tmp_path / 'set').sources['train'].count == 10


def test_labels_follow_names_where_a_split_lacks_a_class(demo, own, tmp_path):
    layouts.coco(demo, tmp_path / 'set')
    file = tmp_path / 'set' / 'annotations' / 'instances_val2017.json'
    data = json.loads(file.read_text())
    truth = boxes_of(data)
    data['categories'] = [
        dict(id=c['id'] + 40, name=c['name'])
        for c in data['categories'][::-1]
        if c['name'] != 'square'
    ]
    data['annotations'] = [
        dict(a, category_id=a['category_id'] + 40)
        for a in data['annotations']
        if a['category_id'] != 2
    ]
    file.write_text(json.dumps(data))
    result = own(tmp_path / 'set')
    found = read(result.sources['val'])
    assert result.classes == SHAPES == [c['name'] for c in found['categories']]
    assert boxes_of(found) == {k: v for k, v in truth.items() if k[1] != 'square'}


def test_a_checkpoint_numbers_the_classes(demo, own, tmp_path):
    layouts.coco(demo, tmp_path / 'set')
    learned = ['moon', *SHAPES[::-1]]
    result = own(tmp_path / 'set', loops=('test',), learned=learned)
    assert result.classes == learned and set(result.sources) == {'test'}
    found = read(result.sources['test'])
    assert [c['name'] for c in found['categories']] == learned
    assert boxes_of(found) == boxes_of(original(demo, 'val'))
    with pytest.raises(BadInput, match='does not know: circle; it knows square'):
        own(tmp_path / 'set', loops=('test',), learned=SHAPES[1:])


@pytest.mark.posix
def test_names_that_are_no_utf8_are_refused(own, tmp_path):
    draw_classes(tmp_path / 'set', 'cat', 'dog')
    name = os.fsdecode(b'gr\xf6n.png')
    os.rename(tmp_path / 'set/cat/0.png', tmp_path / 'set/cat' / name)
    with pytest.raises(BadInput, match=r'gr\\xf6n.png .* is no UTF-8'):
        own(tmp_path / 'set', 'folders')
    os.rename(tmp_path / 'set/dog', tmp_path / 'set' / name)
    with pytest.raises(BadInput, match=r'the name gr\\xf6n.png is no UTF-8'):
        own(tmp_path / 'set', 'folders')


def test_one_image_is_trained_on_and_evaluated(demo, own, tmp_path):
    layouts.cvat(demo, tmp_path / 'set')
    file = tmp_path / 'set' / 'annotations' / 'instances_default.json'
    data = json.loads(file.read_text())
    file.write_text(json.dumps(dict(data, images=data['images'][:1])))
    result = own(tmp_path / 'set')
    assert [result.sources[s].count for s in ('train', 'val', 'test')] == [1] * 3
    assert 'too few images to split' in result.lines[3]


def test_a_share_of_what_has_splits_is_refused(demo, own, tmp_path):
    layouts.coco(demo, tmp_path / 'set')
    with pytest.raises(BadInput, match='--val-split 0.5 .* a split val of 4 images'):
        own(tmp_path / 'set', share=0.5)


def test_a_test_split_is_what_is_tested(demo, own, tmp_path):
    layouts.class_folders(demo, tmp_path / 'set')
    (tmp_path / 'set' / 'val').rename(tmp_path / 'set' / 'test')
    result = own(tmp_path / 'set', 'folders')
    assert result.sources['test'].images.endswith('test')
    assert result.sources['val'].images.endswith('train')
    only = own(tmp_path / 'set', 'folders', loops=('test',), share=0.5)
    assert 'split test is evaluated, no share of 0.5' in only.lines[3]
    assert only.sources == dict(test=result.sources['test'])
    assert isinstance(only.sources['test'], Source)
    shutil.rmtree(tmp_path / 'set' / 'train')
    with pytest.raises(BadInput, match='no images to train on, only test'):
        own(tmp_path / 'set', 'folders')


@pytest.mark.parametrize(
    'name, task, words',
    [
        ('roboflow', 'maps', 'a Roboflow COCO export, for a detector, and the config'),
        ('mmseg', 'boxes', "mmsegmentation's folders of label maps, for a segmentor"),
        ('mmseg', 'folders', "mmsegmentation's folders of label maps, for a segmentor"),
        ('class_folders', 'boxes', "ImageNet's class folders, for a classifier"),
    ],
)
def test_data_of_another_task(name, task, words, demo, own, tmp_path):
    getattr(layouts, name)(demo, tmp_path / 'set')
    with pytest.raises(BadInput, match=words):
        own(tmp_path / 'set', task)


@pytest.mark.parametrize('task', ['boxes', 'maps', 'folders'])
def test_no_known_layout(task, own, tmp_path):
    (tmp_path / 'set' / 'stuff').mkdir(parents=True)
    (tmp_path / 'set' / 'notes.md').write_text('')
    with pytest.raises(BadInput, match='there is notes.md, stuff; looked for'):
        own(tmp_path / 'set', task)
    with pytest.raises(BadInput, match='a file that holds no COCO tables'):
        own(tmp_path / 'set' / 'notes.md', task)
    with pytest.raises(BadInput, match='lost does not exist'):
        own(tmp_path / 'lost', task)


@pytest.mark.parametrize(
    'theirs',
    ['Circle', ' circle', 'circ\u200ble', 'cafe\u0301 bar', 'café-bar'],
    ids=['case', 'blank', 'zero width', 'accent', 'hyphen'],
)
@pytest.mark.parametrize('name', ['coco', 'voc'])
def test_a_class_spelled_otherwise_in_another_split(name, theirs, demo, own, tmp_path):
    """It would be a class that nobody trains beside one that nobody evaluates."""
    ours = 'café bar' if 'caf' in theirs else 'circle'
    layouts.BOXES[name](demo, tmp_path / 'set')
    for file in filter(Path.is_file, (tmp_path / 'set').rglob('*')):
        if file.suffix in ('.json', '.xml'):
            of_val = 'val' in file.name or file.stem in _stems(demo, 'val')
            spelled = theirs if of_val else ours
            if name == 'coco':
                spelled = json.dumps(spelled)[1:-1]
            text = file.read_text().replace('circle', spelled)
            file.write_text(text)
    if name == 'voc' and theirs == ' circle':
        assert 'circle' in own(tmp_path / 'set').classes  # XML's blanks mean nothing
        return
    with pytest.raises(BadInput, match='spell it alike') as error:
        own(tmp_path / 'set')
    assert ascii(ours) in str(error.value) and ascii(theirs) in str(error.value)


def _stems(root, split):
    return {Path(row['file_name']).stem for row in original(root, split)['images']}


def test_several_sets_in_one_folder(demo, own, tmp_path):
    for year in ('VOC2007', 'VOC2012'):
        layouts.voc(demo, tmp_path / 'kit' / 'VOCdevkit' / year)
    with pytest.raises(BadInput, match='several data sets, VOC2007, VOC2012: name one'):
        own(tmp_path / 'kit' / 'VOCdevkit')
    shutil.rmtree(tmp_path / 'kit' / 'VOCdevkit' / 'VOC2007')
    for place in ('kit', 'kit/VOCdevkit'):
        assert own(tmp_path / place).sources['train'].count == 10


def test_labels_of_yolo_without_names(demo, own, tmp_path):
    layouts.yolo(demo, tmp_path / 'set')
    (tmp_path / 'set' / 'data.yaml').unlink()
    with pytest.raises(BadInput, match=r'write .*set/classes.txt, one name a line'):
        own(tmp_path / 'set')
    (tmp_path / 'set' / 'classes.txt').write_text('\n'.join(SHAPES))
    assert own(tmp_path / 'set').classes == SHAPES


def test_a_yaml_beside_the_data_that_is_none_of_theirs(demo, own, tmp_path):
    layouts.coco(demo, tmp_path / 'set')
    (tmp_path / 'set' / 'notes.yml').write_bytes('café'.encode('latin1'))
    assert own(tmp_path / 'set').sources['train'].count == 10


def test_the_share_is_the_same_wherever_the_pictures_lie(demo, own, tmp_path):
    """Else a test would meet pictures that were trained on."""
    chosen = []
    for prefix in ('', 'C:\\me\\set\\', 'images/'):
        root = tmp_path / str(len(chosen))
        layouts.one_file(demo, root, 'result.json', 'images', prefix)
        data = read(own(root, share=0.3).sources['val'])
        names = (image['file_name'].removeprefix(prefix) for image in data['images'])
        chosen.append(sorted(names))
    assert len(chosen[0]) == 3 and chosen[0] == chosen[1] == chosen[2]
