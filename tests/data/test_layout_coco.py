"""Are the COCO files of a folder found, whatever tool put them there?"""

import json
import shutil

import pytest

from mmmsmlp.errors import BadInput
from tests.helpers import layouts
from tests.helpers.layouts import read

SHAPES = ['circle', 'square', 'triangle', 'star']


@pytest.mark.parametrize(
    'bend',
    [
        lambda data: data['images'].append(None),
        lambda data: data['annotations'].append(None),
        lambda data: data.update(annotations={'1': {}}),
        lambda data: data.update(categories=['circle']),
    ],
)
def test_one_file_with_an_entry_that_is_no_table(bend, demo, own, tmp_path):
    layouts.cvat(demo, tmp_path / 'set')
    file = tmp_path / 'set' / 'annotations' / 'instances_default.json'
    data = json.loads(file.read_text())
    data['categories'][0]['supercategory'] = ['shape']
    file.write_text(json.dumps(data))
    assert own(tmp_path / 'set').classes == SHAPES
    bend(data)
    file.write_text(json.dumps(data))
    with pytest.raises(BadInput, match='instances_default.json: lacks a list of COCO'):
        own(tmp_path / 'set')


def test_images_without_a_name(demo, own, tmp_path):
    layouts.coco(demo, tmp_path / 'set')
    file = tmp_path / 'set' / 'annotations' / 'instances_train2017.json'
    data = json.loads(file.read_text())
    del data['images'][1]['file_name']
    file.write_text(json.dumps(data))
    with pytest.raises(BadInput, match="1 of its images have no 'file_name'"):
        own(tmp_path / 'set')


def test_images_that_are_not_there(demo, own, tmp_path):
    layouts.cvat(demo, tmp_path / 'set')
    shutil.rmtree(tmp_path / 'set' / 'images')
    with pytest.raises(BadInput, match="none of the images .* '00000.jpg'; looked in"):
        own(tmp_path / 'set')


def test_several_files_none_of_which_says_what_it_is_for(demo, own, tmp_path):
    layouts.labelme(demo, tmp_path / 'set')
    (tmp_path / 'set' / 'more.json').write_text(
        (tmp_path / 'set' / 'annotations.json').read_text()
    )
    with pytest.raises(BadInput, match='annotations.json, more.json'):
        own(tmp_path / 'set')


def test_a_broken_file_is_named(own, tmp_path):
    (tmp_path / 'set').mkdir()
    (tmp_path / 'set' / 'train.json').write_text('{"images": [1, ]}')
    with pytest.raises(BadInput, match='train.json: no JSON .*line 1 column'):
        own(tmp_path / 'set')


@pytest.mark.parametrize(
    ('change', 'lacks'),
    [
        (lambda data: data['annotations'], 'its top level is a list'),
        (lambda data: {**data, 'categories': None}, "it has no list 'categories'"),
        (lambda data: {**data, 'images': {}}, "it has no list 'images'"),
        (lambda data: {**data, 'categories': []}, "list 'categories' is empty"),
    ],
)
def test_a_file_that_is_no_coco_is_named(demo, own, tmp_path, change, lacks):
    layouts.coco(demo, tmp_path / 'set')
    file = tmp_path / 'set' / 'annotations' / 'instances_train2017.json'
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    for path in tmp_path / 'set', file:
        with pytest.raises(BadInput, match=f'train2017.json holds .*{lacks}'):
            own(path)


def test_roboflows_project_is_no_class_and_its_copies_stay_together(
    demo, own, tmp_path
):
    layouts.roboflow(demo, tmp_path / 'set')
    result = own(tmp_path / 'set')
    assert result.classes == SHAPES and "'shapes' only groups" in result.lines[3]
    # An empty valid/: the copies that were made of one picture go to one side.
    for name in ('valid', 'test'):
        folder = tmp_path / 'set' / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        empty = dict(images=[], annotations=[], categories=[dict(id=1, name='star')])
        (folder / '_annotations.coco.json').write_text(json.dumps(empty))
    folder = tmp_path / 'set' / 'train'
    file = folder / '_annotations.coco.json'
    data = json.loads(file.read_text())
    for i, image in enumerate(data['images']):
        new = f'photo{i // 2}_jpg.rf.{i:04d}.jpg'
        (folder / image['file_name']).rename(folder / new)
        image['file_name'] = new
    file.write_text(json.dumps(data))
    result = own(tmp_path / 'set', share=0.4)
    train, val = (
        {
            image['file_name'].split('.rf.')[0]
            for image in read(result.sources[s])['images']
        }
        for s in ('train', 'val')
    )
    assert (len(train), len(val)) == (3, 2) and not train & val
    assert 'lists no images' in result.lines[3]


def test_a_file_that_is_named_itself(demo, own, tmp_path):
    layouts.coco(demo, tmp_path / 'set')
    path = tmp_path / 'set' / 'annotations' / 'instances_val2017.json'
    result = own(path)
    assert result.sources['train'].images.endswith('val2017')
    assert (result.sources['train'].count, result.sources['val'].count) == (3, 1)


def places(demo, root, train, val):
    """A set whose files lie where they are told, and images in train and val."""
    for split, place in (('train', train), ('val', val)):
        shutil.copytree(demo / split, root / split)
        if place:
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(demo / 'annotations' / f'{split}.json', root / place)
    return root


@pytest.mark.parametrize(
    ('train', 'val'),
    [
        ('train/train.json', 'val.json'),
        ('train.json', 'annotations/val.json'),
        ('train/annotations/instances.json', 'val/annotations/instances.json'),
        ('annotations/trainval.json', 'annotations/val.json'),
        ('annotations.json', 'val.json'),
    ],
)
def test_files_of_splits_in_places_of_their_own(train, val, demo, own, tmp_path):
    result = own(places(demo, tmp_path / 'set', train, val))
    for split, place in (('train', train), ('val', val)):
        source = result.sources[split]
        assert source.labels == str(tmp_path / 'set' / place)
        assert source.images == str(tmp_path / 'set' / split)
    unsaid = train in ('annotations/trainval.json', 'annotations.json')
    assert ('is for training' in result.lines[3]) == unsaid


def test_a_broken_json_beside_good_ones_is_told(demo, own, tmp_path):
    root = places(demo, tmp_path / 'set', 'train.json', 'val.json')
    (root / 'metadata.json').write_text('{"a": 1}\n{"a": 2}\n')
    result = own(root)
    assert result.sources['train'].count == 10 and 'metadata.json' in result.lines[3]
    with pytest.raises(BadInput, match='metadata.json'):
        own(root / 'metadata.json')


def test_a_file_whose_categories_come_in_another_order_is_rewritten(
    demo, own, tmp_path
):
    """mmdet numbers classes in the order of the file."""
    root = places(demo, tmp_path / 'set', 'train.json', 'val.json')
    data = json.loads((root / 'val.json').read_text())
    data['categories'].reverse()
    (root / 'val.json').write_text(json.dumps(data))
    result = own(root)
    train, val = (read(result.sources[split]) for split in ('train', 'val'))
    for tables in (train, val):
        assert [c['name'] for c in tables['categories']] == result.classes
    assert result.sources['train'].labels == str(root / 'train.json')
    assert {c['name']: c['id'] for c in val['categories']} == {
        c['name']: c['id'] for c in data['categories']
    }
