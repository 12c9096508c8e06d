"""Data are vetted before a run: errors end it, repairs reach training and scoring."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmmsmlp.data.cache import Cache
from mmmsmlp.errors import BadInput
from mmmsmlp.run.class_order import follow_order
from mmmsmlp.run.vet import vet, vet_data
from tests.helpers.commands import ROOT, assert_fails

PLACES = (ROOT / 'data', ROOT.parent / 'shared' / 'data')
SETS = next((place for place in PLACES if (place / 'coco').is_dir()), None)
CLASSES = ('square', 'bar')


@pytest.fixture
def bent(tiny_data, tmp_path):
    """A copy of the tiny set, to be bent: its folder, and what its JSON holds."""
    folder = tmp_path / 'bent'
    shutil.copytree(tiny_data, folder)
    return folder, json.loads((folder / 'boxes.json').read_text())


@pytest.fixture
def config(tiny_config, bent):
    """A config on the bent copy; call it once the data are as they shall be."""
    folder, data = bent

    def write(**files):
        for name, content in (files or dict(boxes=data)).items():
            (folder / f'{name}.json').write_text(json.dumps(content))
        text = tiny_config.read_text().replace(str(tiny_config.parent), str(folder))
        path = folder / 'bent.py'
        path.write_text(text)
        return path

    return write


def spoil(data):
    """Everything that one file can have and that is mended."""
    boxes = data['annotations']
    data['categories'] = [dict(id=0, name='square'), *data['categories'][::-1]]
    for i, box in enumerate(boxes):
        box['id'] = i // 2
        del box['iscrowd'], box['area']
    boxes.append(dict(boxes[0], bbox=[float('nan'), 2, 3, 4]))
    boxes.append(dict(boxes[0], bbox=[9, 9, -4, 4]))
    for image in data['images']:
        image['file_name'] = f'images\\{image["file_name"]}'
        del image['width']


def metrics(folder):
    (log,) = folder.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if 'loss' in line or 'coco/bbox_mAP' in line]


@pytest.mark.full
def test_a_repaired_set_trains_and_scores_as_the_clean_one(
    run_tool, config, tiny_config, bent, tmp_path, trained
):
    folder, data = bent
    spoil(data)
    (folder / 'images').rename(folder / 'pictures')
    (folder / 'images').mkdir()
    (folder / 'pictures').rename(folder / 'images' / 'images')
    path = config()
    code, out, err = run_tool('train.py', path, '--work-dir', 'run')
    assert code == 0, out + err
    keys = ('loss', 'coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/bbox_mAP_s')
    ours, clean = (
        [[line.get(key) for key in keys] for line in metrics(where)]
        for where in (tmp_path / 'run', trained)
    )
    assert ours == clean and len(clean) == 4 and clean[-1][1] is not None
    for words in ('of which id 1 is kept', "have no 'iscrowd'", 'backslashes'):
        assert sum(words in line for line in out.splitlines()) == 1, words
    ran = Config.fromfile(tmp_path / 'run' / 'bent.py')
    copy = tmp_path / 'run' / 'data' / 'train_boxes.json'
    assert ran.train_dataloader.dataset.ann_file == str(copy)
    assert ran.val_dataloader.dataset.ann_file == ran.val_evaluator.ann_file
    assert json.loads((folder / 'boxes.json').read_text()).keys() == data.keys()
    # The config as it ran needs no repair.
    code, out, err = run_tool(
        'test.py', tmp_path / 'run' / 'bent.py', tmp_path / 'run' / 'epoch_1.pth'
    )
    assert code == 0 and 'data repaired' not in out + err, out + err


def test_all_errors_are_told_at_once_before_anything_is_built(
    run_tool, config, bent, tmp_path
):
    folder, data = bent
    (folder / 'images' / '2.png').write_bytes(b'')
    data['annotations'][0]['category_id'] = 9
    other = dict(data, categories=[dict(id=1, name='square')])
    path = config(boxes=data, val=other)
    options = ['val_dataloader.dataset.ann_file=val.json',
               f'val_evaluator.ann_file={folder}/val.json']  # fmt: skip
    result = run_tool('train.py', path, '--cfg-options', *options, '--work-dir', 'run')
    code, out, err = result
    assert code == 2 and 'Traceback' not in err
    assert err.startswith('error: 4 things in the data would end or spoil the run:')
    assert err.count('\n') == 5
    for words in ('annotation 1: category_id 9', '2.png: 0 bytes', "'bar', of which"):
        assert words in err
    assert [file.name for file in (tmp_path / 'run').iterdir()] == ['.run.lock']
    result = run_tool('test.py', path, 'no.pth')
    assert_fails(result, 'no.pth')


def test_off_looks_at_nothing(tiny_config, monkeypatch):
    monkeypatch.setattr('mmmsmlp.run.vet.vet', None)
    cfg = Config.fromfile(tiny_config)
    assert vet_data(cfg, ('train', 'val'), 'off') == []


def test_pictures_that_the_config_leaves_out_are_told(tiny_config, tmp_path):
    cfg = Config.fromfile(tiny_config)
    cfg.work_dir, cfg.launcher = str(tmp_path), 'none'
    cfg.train_dataloader.dataset.filter_cfg = dict(min_size=49)
    (line,) = (n for n in vet_data(cfg, ('train', 'val')) if 'min_size' in n)
    # of 64 x 48, 48 x 64 and 56 x 56
    assert '2 of 3 pictures are smaller than filter_cfg.min_size=49' in line
    cfg.train_dataloader.dataset.filter_cfg.min_size = 48
    assert not [n for n in vet_data(cfg, ('train', 'val')) if 'min_size' in n]


def test_training_reads_clean_data_as_before(tiny_config, tmp_path):
    """So that an epoch takes as long as without vetting."""
    cfg = Config.fromfile(tiny_config)
    cfg.work_dir, cfg.launcher = str(tmp_path), 'none'
    before = cfg.to_dict()
    vet_data(cfg, ('train', 'val'), 'full')
    assert cfg.to_dict() == before


@pytest.mark.full
def test_a_picture_that_only_decoding_shows_is_found_by_full(run_tool, config, bent):
    folder, _ = bent
    path = folder / 'images' / '2.png'
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    result = run_tool('train.py', config(), '--data-check', 'full')
    assert_fails(result, '2.png', 'break off')


def vetted(path, tmp_path, loops=('train', 'val'), **options):
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options)
    cfg.work_dir = str(tmp_path / 'run')
    return cfg, vet(cfg, loops, Cache(tmp_path / 'cache.sqlite3'))


def labels_of(dataset, root):
    """Names of the boxes of a dataset as mmdet builds it, by image and place."""
    from mmdet.datasets import CocoDataset

    options = {
        k: v for k, v in dataset.items() if k not in ('type', 'pipeline', '_scope_')
    }
    built = CocoDataset(**options, pipeline=[])
    names = built.metainfo['classes']
    return {
        (info['img_id'], *map(int, box['bbox'][:2])): names[box['bbox_label']]
        for info in map(built.get_data_info, range(len(built)))
        for box in info['instances']
    }


def test_labels_follow_names_in_any_order(config, bent, tmp_path, monkeypatch):
    folder, data = bent
    turned = dict(data, categories=data['categories'][::-1])
    path = config(boxes=data, turned=turned)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    cfg = Config.fromfile(path)
    cfg.work_dir = str(tmp_path / 'run')
    cfg.val_dataloader.dataset.ann_file = 'turned.json'
    cfg.val_evaluator.ann_file = f'{folder}/turned.json'
    truth = labels_of(cfg.train_dataloader.dataset, folder)
    assert set(truth.values()) == set(CLASSES)
    assert labels_of(cfg.val_dataloader.dataset, folder) != truth
    cfg.launcher = 'none'
    (notice, *_) = vet_data(cfg, ('train', 'val'))
    assert 'bar, square; the classes are square, bar' in notice
    assert labels_of(cfg.val_dataloader.dataset, folder) == truth
    assert cfg.val_evaluator.ann_file == cfg.val_dataloader.dataset.ann_file
    # The other way round: classes in another order than the file.
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo.classes = CLASSES[::-1]
    vet_data(cfg, ('train', 'val'))
    assert labels_of(cfg.train_dataloader.dataset, folder) == truth
    assert labels_of(cfg.val_dataloader.dataset, folder) == truth


@pytest.mark.parametrize('wrapper', ['ConcatDataset', 'RepeatDataset'])
def test_datasets_within_datasets(config, bent, tmp_path, wrapper):
    folder, data = bent
    del data['info'], data['annotations'][0]['area']
    cfg = Config.fromfile(config())
    cfg.work_dir = str(tmp_path / 'run')
    one = cfg.train_dataloader.dataset
    wrapped = dict(type=wrapper, dataset=one, times=2)
    if wrapper == 'ConcatDataset':
        wrapped = dict(type=wrapper, datasets=[one, wrapped])
    cfg.train_dataloader.dataset = wrapped
    found = vet(cfg, ('train',), Cache(tmp_path / 'c.sqlite3')).found
    assert {'area', 'info-missing'} == found.kinds('repair')


def test_a_metric_that_names_another_file(config, bent, tmp_path):
    folder, data = bent
    other = dict(data, images=data['images'][:1], annotations=data['annotations'][:2])
    path = config(boxes=data, other=other)
    name = {'val_evaluator.ann_file': f'{folder}/other.json'}
    _, known = vetted(path, tmp_path, ('val',), **name)
    assert known.found.kinds('error') == {'score-file'}
    (line,) = known.found.lines('error')
    assert 'other.json' in line and '(2, first: 2.png' in line
    turned = dict(data, categories=data['categories'][::-1])
    path = config(boxes=data, other=turned)
    _, known = vetted(path, tmp_path, ('val',), **name)
    assert known.found.kinds() == {'class-order'}
    assert [Path(c).name for c in known.changes['val'].values()] == ['val_other.json']


def test_pictures_that_exif_turns(config, bent, tmp_path):
    folder, data = bent
    tags = Image.Exif()
    tags[0x0112] = 6
    path = folder / 'images' / '1.png'
    Image.open(path).save(path.with_suffix('.jpg'), exif=tags)
    data['images'][0]['file_name'] = '1.jpg'
    path = config()
    _, known = vetted(path, tmp_path)
    assert known.found.kinds('error') == {'size-rotated'}
    as_stored = dict(type='LoadImageFromFile', color_type='color_ignore_orientation')
    cfg = Config.fromfile(path)
    cfg.train_dataloader.dataset.pipeline[0] = as_stored
    cfg.work_dir = str(tmp_path)
    assert not vet(cfg, ('train',), Cache(tmp_path / 'c.sqlite3')).found.kinds('error')
    data['images'][0].update(width=48, height=64)
    assert not vetted(config(), tmp_path)[1].found.kinds('error')


def test_pictures_that_exif_turns_to_the_same_size(config, bent, tmp_path):
    folder, data = bent
    tags = Image.Exif()
    tags[0x0112] = 3  # upside down
    Image.open(folder / 'images' / '1.png').save(folder / 'images' / '1.jpg', exif=tags)
    data['images'][0]['file_name'] = '1.jpg'
    _, known = vetted(config(), tmp_path, ('train',))
    (line,) = (one for one in known.found.lines('warning') if 'EXIF' in one)
    assert '1.jpg: orientation 3' in line and 'color_ignore_orientation' in line


def test_pictures_in_both_splits(config, bent, tmp_path):
    folder, data = bent
    _, known = vetted(config(), tmp_path)
    assert known.found.kinds() == {'splits-share'}
    shutil.copytree(folder / 'images', folder / 'more')
    options = {'val_dataloader.dataset.data_prefix.img': 'more/'}
    _, known = vetted(config(), tmp_path, **options)
    assert known.found.kinds() == {'twins'}


def test_a_set_without_annotations(config, bent, tmp_path):
    folder, data = bent
    bare = {key: data[key] for key in ('images', 'categories', 'annotations')}
    del bare['annotations']
    path = config(boxes=data, bare=bare)
    options = {'val_dataloader.dataset.ann_file': 'bare.json',
               'val_evaluator.ann_file': f'{folder}/bare.json'}  # fmt: skip
    _, known = vetted(path, tmp_path, **options)
    assert known.found.kinds('error') == {'no-annotations'}
    options['val_evaluator.format_only'] = True
    assert not vetted(path, tmp_path, **options)[1].found.kinds('error')


def seg_config(tmp_path, high):
    """A config of label maps whose largest value is ``high``; 3 classes."""
    rng = np.random.default_rng(0)
    for kind in ('images', 'maps'):
        (tmp_path / 'seg' / kind).mkdir(parents=True, exist_ok=True)
    for k in range(2):
        pixels = rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'seg' / 'images' / f'{k}.jpg')
        labels = (np.arange(600).reshape(20, 30) % (high + 1)).astype(np.uint8)
        Image.fromarray(labels).save(tmp_path / 'seg' / 'maps' / f'{k}.png')
    data = dict(
        type='BaseSegDataset', data_root=str(tmp_path / 'seg'),
        metainfo=dict(classes=('a', 'b', 'c')),
        data_prefix=dict(img_path='images', seg_map_path='maps'),
    )  # fmt: skip
    loader = dict(dataset=data)
    return Config(dict(default_scope='mmseg', train_dataloader=loader, train_cfg={},
                       work_dir=str(tmp_path), model={}))  # fmt: skip


def test_label_maps_by_a_config(tmp_path):
    cache = Cache(tmp_path / 'c.sqlite3')
    assert not len(vet(seg_config(tmp_path, 2), ('train',), cache).found)
    found = vet(seg_config(tmp_path, 3), ('train',), cache).found
    assert found.kinds() == {'map-values'}


def test_class_folders_by_a_config(tmp_path):
    for split in ('train', 'val'):
        for name in ('a', 'b'):
            (tmp_path / split / name).mkdir(parents=True)
            pixels = np.random.default_rng(ord(name) + len(split)).random((9, 9, 3))
            picture = Image.fromarray((255 * pixels).astype(np.uint8))
            picture.save(tmp_path / split / name / '0.jpg')
    data = dict(type='ImageNet', data_root=str(tmp_path), metainfo=dict(classes='ab'))
    cfg = Config(
        dict(
            default_scope='mmpretrain', work_dir=str(tmp_path), train_cfg={},
            train_dataloader=dict(dataset=dict(data, split='train')), val_cfg={},
            val_dataloader=dict(dataset=dict(data, split='val')),
            model=dict(head=dict(num_classes=2)),
        )
    )  # fmt: skip
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.metainfo.classes = ('a', 'b')
    cache = Cache(tmp_path / 'c.sqlite3')
    assert not len(vet(cfg, ('train', 'val'), cache).found)
    (tmp_path / 'val' / 'b').rename(tmp_path / 'val' / 'c')
    found = vet(cfg, ('train', 'val'), cache).found
    assert found.kinds('error') == {'folder-one-split'}


def checkpoint(tmp_path, classes):
    path = tmp_path / 'some.pth'
    meta = dict(dataset_meta=dict(classes=classes))
    torch.save(dict(meta=meta, state_dict=dict(x=torch.ones(1))), path)
    return str(path)


def test_evaluation_numbers_classes_as_the_checkpoint_does(config, bent, tmp_path):
    path = config()
    cfg = Config.fromfile(path)
    truth = labels_of(cfg.test_dataloader.dataset, bent[0])
    assert follow_order(cfg, ('test',), checkpoint(tmp_path, CLASSES)) == []
    turned = checkpoint(tmp_path, CLASSES[::-1])
    (line,) = follow_order(cfg, ('test',), turned)
    assert 'bar, square; test_dataloader has square, bar' in line
    cfg.work_dir, cfg.launcher = str(tmp_path / 'run'), 'none'
    notices = vet_data(cfg, ('test',), checkpoint=turned)
    assert 'lists its categories in another order' in notices[0]
    assert cfg.test_dataloader.dataset.metainfo.classes == CLASSES[::-1]
    assert labels_of(cfg.test_dataloader.dataset, bent[0]) == truth
    cfg = Config.fromfile(path)
    (line,) = follow_order(cfg, ('test',), checkpoint(tmp_path, ('cat', 'bar')))
    assert 'warning' in line and 'cat, bar; test_dataloader has square, bar' in line
    assert cfg.test_dataloader.dataset.metainfo.classes == CLASSES


def test_old_checkpoints_name_their_classes_in_capitals(config, tmp_path):
    file = tmp_path / 'old.pth'
    for meta in (
        dict(CLASSES=CLASSES[::-1]),
        dict(dataset_meta=dict(CLASSES=CLASSES[::-1])),
    ):
        torch.save(dict(meta=meta, state_dict=dict(x=torch.ones(1))), file)
        cfg = Config.fromfile(config())
        (line,) = follow_order(cfg, ('test',), str(file))
        assert 'bar, square; test_dataloader has square, bar' in line
    torch.save(dict(meta={}, state_dict=dict(x=torch.ones(1))), file)
    (line,) = follow_order(Config.fromfile(config()), ('test',), str(file))
    assert 'does not name its classes; they are taken for square, bar' in line


def test_all_data_follow_the_order_of_the_first(config, bent, tmp_path):
    """Of two members with one file, and of the evaluation with another order."""
    cfg = Config.fromfile(config())
    leaf = cfg.train_dataloader.dataset
    other = dict(leaf, metainfo=dict(classes=CLASSES[::-1]))
    cfg.train_dataloader.dataset = dict(
        type='ConcatDataset', datasets=[dict(leaf), other]
    )
    cfg.val_dataloader.dataset.metainfo = dict(classes=CLASSES[::-1])
    cfg.work_dir, cfg.launcher = str(tmp_path / 'run'), 'none'
    truth = labels_of(leaf, bent[0])
    notices = vet_data(cfg, ('train', 'val'))
    assert sum('in the order of train_dataloader' in line for line in notices) == 2
    members = [*cfg.train_dataloader.dataset.datasets, cfg.val_dataloader.dataset]
    assert [labels_of(member, bent[0]) for member in members] == [truth] * 3
    assert all(tuple(m.metainfo.classes) == CLASSES for m in members)


def test_maps_numbered_otherwise_than_the_checkpoint(tmp_path):
    cfg = seg_config(tmp_path, 2)
    cfg.test_dataloader, cfg.test_cfg = cfg.train_dataloader, {}
    with pytest.raises(
        BadInput, match='another order, c, b, a; test_dataloader has a, b, c'
    ):
        follow_order(cfg, ('test',), checkpoint(tmp_path, ('c', 'b', 'a')))


REAL = {
    'retinanet_msmlp_t_1x.py': 'coco',
    'mask-rcnn_msmlp_t_1x.py': 'coco',
    'upernet_msmlp_t_160k.py': 'ade',
    'upernet_msmlp_t_camvid.py': 'camvid',
    'demo/imagenet-10_msmlp_demo.py': 'imagenet',
}


@pytest.mark.skipif(SETS is None, reason='no real data are linked at data/')
@pytest.mark.parametrize('name', REAL)
@pytest.mark.full
def test_nothing_is_wrong_with_the_real_sets(name, tmp_path, monkeypatch):
    (tmp_path / 'data').symlink_to(SETS)
    monkeypatch.chdir(tmp_path)
    cfg = Config.fromfile(ROOT / 'configs' / name)
    cfg.work_dir = 'run'
    known = vet(cfg, ('train', 'val'), Cache(tmp_path / 'c.sqlite3'), full=True)
    assert len(known.sets) == 2 and known.changes == {}
    assert known.found.lines('error') == known.found.lines('repair') == []


@pytest.mark.full
def test_an_error_is_told_once_by_two_processes(config, bent, run_shell, tmp_path):
    folder, data = bent
    (folder / 'images' / '2.png').unlink()
    done = run_shell(
        'dist_train.sh', config(), 2, '--work-dir', tmp_path / 'run',
        XDG_CACHE_HOME=str(tmp_path / 'xdg'),
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count('2.png') == 1 and 'Traceback' not in done.stderr


@pytest.mark.full
def test_two_processes_read_one_repaired_copy(config, bent, run_shell, tmp_path):
    _, data = bent
    spoil(data)
    for image in data['images']:
        image['file_name'] = image['file_name'].replace('images\\', '')
    done = run_shell(
        'dist_train.sh', config(), 2, '--work-dir', tmp_path / 'run',
        XDG_CACHE_HOME=str(tmp_path / 'xdg'),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count("have no 'iscrowd'") <= 2
    copies = sorted(path.name for path in (tmp_path / 'run' / 'data').iterdir())
    assert copies == ['train_boxes.json', 'val_boxes.json']
