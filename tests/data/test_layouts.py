"""Is a data set understood as it lies there, whatever tool exported it?"""

import json
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmmsmlp.data.own import Request, Source, prepare
from mmmsmlp.demo.dataset import make_demo_data
from mmmsmlp.errors import BadInput
from tests.helpers import layouts

ALL = ('train', 'val', 'test')
SHAPES = ['circle', 'square', 'triangle', 'star']


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    root = tmp_path_factory.mktemp('shapes') / 'demo'
    make_demo_data(root, train=10, val=4, size=96, semantic=True)
    return root


@pytest.fixture
def own(tmp_path, cache):
    """Prepare a path under the working folder; ``own(path, task='boxes', ...)``."""

    def run(path, task='boxes', loops=ALL, **asked):
        wanted = Request(task, loops, **asked)
        return prepare(str(path), wanted, str(tmp_path / 'run'), cache)

    return run


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


def read(source):
    return json.loads(Path(source.labels).read_text())


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


def test_a_file_that_is_named_itself(demo, own, tmp_path):
    layouts.coco(demo, tmp_path / 'set')
    path = tmp_path / 'set' / 'annotations' / 'instances_val2017.json'
    result = own(path)
    assert result.sources['train'].images.endswith('val2017')
    assert (result.sources['train'].count, result.sources['val'].count) == (3, 1)


def test_a_folder_that_an_archive_was_unpacked_into(demo, own, tmp_path):
    layouts.coco(demo, tmp_path / 'set' / 'shapes v3')
    (tmp_path / 'set' / '__MACOSX').mkdir()
    assert own(tmp_path / 'set').sources['train'].count == 10


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
        ('2 0.5 0.5 0.5 0.5', 'class 2; 0-1 are named'),
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


def map_set(root, image='{}.jpg', label='{}.png', values=(0, 1), count=5):
    for kind in ('images', 'masks'):
        (root / kind).mkdir(parents=True)
    for i in range(count):
        pixels = np.full((8, 12, 3), i, np.uint8)
        Image.fromarray(pixels).save(root / 'images' / image.format(f'p{i}'))
        labels = np.resize(np.array(values, np.uint8), (8, 12))
        Image.fromarray(labels).save(root / 'masks' / label.format(f'p{i}'))
    return root


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


def test_one_image_is_trained_on_and_evaluated(demo, own, tmp_path):
    layouts.cvat(demo, tmp_path / 'set')
    file = tmp_path / 'set' / 'annotations' / 'instances_default.json'
    data = json.loads(file.read_text())
    file.write_text(json.dumps(dict(data, images=data['images'][:1])))
    result = own(tmp_path / 'set')
    assert [result.sources[s].count for s in ALL] == [1, 1, 1]
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
    only = own(tmp_path / 'set', 'folders', loops=('test',))
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
