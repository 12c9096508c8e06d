"""Is a data set understood as it lies there, whatever tool exported it?"""

import json
import os
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmmsmlp.data.own import Source
from mmmsmlp.errors import BadInput
from tests.helpers import layouts
from tests.helpers.layouts import read

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


def draw_classes(root, *folders, ending='png'):
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for i in range(3):
            Image.new('RGB', (4, 4)).save(root / folder / f'{i}.{ending}')


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
def test_names_that_are_no_utf8_are_refused(own, tmp_path):
    draw_classes(tmp_path / 'set', 'cat', 'dog')
    name = os.fsdecode(b'gr\xf6n.png')
    os.rename(tmp_path / 'set/cat/0.png', tmp_path / 'set/cat' / name)
    with pytest.raises(BadInput, match=r'gr\\xf6n.png .* is no UTF-8'):
        own(tmp_path / 'set', 'folders')
    os.rename(tmp_path / 'set/dog', tmp_path / 'set' / name)
    with pytest.raises(BadInput, match=r'the name gr\\xf6n.png is no UTF-8'):
        own(tmp_path / 'set', 'folders')


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


def test_a_yaml_beside_the_data_that_is_none_of_theirs(demo, own, tmp_path):
    layouts.coco(demo, tmp_path / 'set')
    (tmp_path / 'set' / 'notes.yml').write_bytes('café'.encode('latin1'))
    assert own(tmp_path / 'set').sources['train'].count == 10
