"""``--data PATH``: does the config follow the data, in every task and to the end?"""

import json
from pathlib import Path

import cv2
import pytest
import torch
from mmengine.config import Config

from mmmsmlp.data.cache import Cache
from mmmsmlp.data.own import OwnData, Source
from mmmsmlp.demo.dataset import make_demo_data
from mmmsmlp.errors import BadInput
from mmmsmlp.run.own_data import apply, set_counts, use_data
from mmmsmlp.run.preflight import count_in
from mmmsmlp.run.vet import vet
from tests.helpers import layouts
from tests.helpers.commands import ROOT, assert_fails

LOOPS = ('train', 'val', 'test')
SHAPES = ('circle', 'square', 'triangle', 'star')
WRITERS = dict(
    boxes=layouts.roboflow, maps=layouts.mmseg, folders=layouts.class_folders
)


@pytest.fixture(scope='module')
def sets(tmp_path_factory):
    """The demo shapes for each task, by its name."""
    root = tmp_path_factory.mktemp('shapes')
    make_demo_data(root / 'demo', train=5, val=3, size=96, semantic=True)
    for task, write in WRITERS.items():
        write(root / 'demo', root / task)
    (root / 'maps' / 'classes.txt').write_text('\n'.join(SHAPES))
    return root


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, data_cache):
    monkeypatch.setenv('XDG_CACHE_HOME', str(data_cache))


def load(name, tmp_path):
    cfg = Config.fromfile(ROOT / 'configs' / name)
    cfg.work_dir, cfg.launcher = str(tmp_path / 'run'), 'none'
    return cfg


def counts(node):
    """Every num_classes but that of a head which tells objects from background."""
    if isinstance(node, (list, tuple)):
        return [n for child in node for n in counts(child)]
    if not isinstance(node, dict) or 'RPN' in str(node.get('type')):
        return []
    own = [node['num_classes']] if 'num_classes' in node else []
    return own + [n for child in node.values() for n in counts(child)]


CONFIGS = {
    'retinanet_msmlp_t_1x.py': ('boxes', 1, 4),
    'mask-rcnn_msmlp-swin_t_3x.py': ('boxes', 2, 4),
    'cascade-mask-rcnn_msmlp_t_3x.py': ('boxes', 4, 4),
    'upernet_msmlp_t_160k.py': ('maps', 2, 5),
    'upernet_msmlp_t_camvid.py': ('maps', 2, 5),
    'msmlp_t_300e.py': ('folders', 1, 4),
    'demo/imagenet-10_msmlp_demo.py': ('folders', 2, 4),
}


@pytest.mark.parametrize('name', CONFIGS)
def test_the_configs_of_the_package_follow_the_data(name, sets, tmp_path):
    task, places, count = CONFIGS[name]
    cfg = load(name, tmp_path)
    before = {loop: cfg[f'{loop}_dataloader'].dataset.pipeline for loop in LOOPS}
    lines = []
    use_data(cfg, str(sets / task), None, LOOPS, lines.append)
    assert len(lines) == 5 and all(line.startswith('data: ') for line in lines)
    assert counts(cfg.model) == [count] * places
    classes = dict(boxes=SHAPES, maps=('background', *SHAPES),
                   folders=tuple(sorted(SHAPES)))[task]  # fmt: skip
    for loop in LOOPS:
        dataset = cfg[f'{loop}_dataloader'].dataset
        assert tuple(dataset.metainfo.classes) == classes
        assert dataset.pipeline == before[loop]
    found = vet(cfg, ('train', 'val'), Cache(tmp_path / 'c.sqlite3')).found
    assert found.kinds('error') == found.kinds('repair') == set()
    if task == 'boxes':
        file = cfg.val_dataloader.dataset.ann_file
        assert cfg.val_evaluator.ann_file == cfg.test_evaluator.ann_file == file
        assert Path(file) == sets / 'boxes' / 'valid' / '_annotations.coco.json'
    if task == 'folders':
        assert cfg.val_evaluator.topk == (1,) and cfg.test_evaluator.topk == (1,)
        assert cfg.get('data_preprocessor', dict(num_classes=4))['num_classes'] == 4


def test_a_config_without_a_test_stays_without(sets, tmp_path):
    cfg = load('retinanet_msmlp_t_1x.py', tmp_path)
    for part in ('cfg', 'dataloader', 'evaluator'):
        cfg[f'test_{part}'] = None
    use_data(cfg, str(sets / 'boxes'), None, LOOPS, str)
    assert cfg.test_dataloader is cfg.test_evaluator is cfg.test_cfg is None
    assert cfg.val_dataloader.dataset.metainfo.classes == tuple(SHAPES)


@pytest.mark.parametrize(
    ('name', 'task', 'key', 'count'),
    [
        ('heads/mask2former_msmlp_t_50e.py', 'boxes', 'panoptic_head', 4),
        ('heads/mask2former-semantic_msmlp_t_160k.py', 'maps', 'decode_head', 5),
    ],
)
def test_mask2formers_things_and_weights(name, task, key, count, sets, tmp_path):
    """Of its weights one is of no class."""
    cfg = load(name, tmp_path)
    use_data(cfg, str(sets / task), None, LOOPS, str)
    head = cfg.model[key]
    assert count_in(head) == count and head.get('num_stuff_classes', 0) == 0
    assert head.loss_cls.class_weight == [1.0] * count + [0.1]
    if task == 'boxes':
        assert count_in(cfg.model.panoptic_fusion_head) == count


def test_only_the_dataset_says_whether_zero_is_a_class(sets, tmp_path):
    """mmseg's configs for ADE20K say it in the pipeline, too."""
    cfg = load('upernet_msmlp_t_160k.py', tmp_path)
    for loop in LOOPS:
        for step in cfg[f'{loop}_dataloader'].dataset.pipeline:
            if step.type == 'LoadAnnotations':
                step.reduce_zero_label = True
    use_data(cfg, str(sets / 'maps'), None, LOOPS, str)
    for loop in LOOPS:
        dataset = cfg[f'{loop}_dataloader'].dataset
        assert dataset.reduce_zero_label is False
        assert 'reduce_zero_label' not in str(dataset.pipeline)


def test_weights_of_other_classes_are_left_out(tmp_path):
    cfg = load('upernet_msmlp_t_camvid.py', tmp_path)
    loss = cfg.model.decode_head.loss_decode
    loss.class_weight = [0.5, *[1.0] * (cfg.model.decode_head.num_classes - 1)]
    assert set_counts(cfg, 3) == [
        'class_weight of a CrossEntropyLoss is left out: it is of other classes'
    ]
    assert loss.class_weight is None and cfg.model.auxiliary_head.num_classes == 3


def test_panoptic_maps_are_no_boxes(sets, tmp_path):
    cfg = load('heads/mask2former-panoptic_msmlp_t_50e.py', tmp_path)
    with pytest.raises(BadInput, match='trains on panoptic maps.*heads/mask2former_'):
        use_data(cfg, str(sets / 'boxes'), None, LOOPS, str)


def test_val_and_test_that_are_one_object_get_their_own_data(sets, tmp_path):
    cfg = load('retinanet_msmlp_t_1x.py', tmp_path)
    cfg.test_dataloader, cfg.test_evaluator = cfg.val_dataloader, cfg.val_evaluator
    sources = {loop: Source(f'/d/{loop}', f'/d/{loop}.json', count=9) for loop in LOOPS}
    apply(cfg, OwnData('boxes', ['a'], [[1, 2, 3]], sources, []))
    assert [cfg[f'{loop}_dataloader'].dataset.ann_file for loop in LOOPS] == [
        '/d/train.json', '/d/val.json', '/d/test.json'
    ]  # fmt: skip
    assert cfg.val_evaluator.ann_file == '/d/val.json'
    assert cfg.test_evaluator.ann_file == '/d/test.json'


def test_a_dataset_within_another_and_a_metric_of_another_kind(sets, tmp_path):
    cfg = load('mask-rcnn_msmlp_t_1x.py', tmp_path)
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=3, dataset=inner)
    cfg.val_evaluator = dict(type='VOCMetric')
    use_data(cfg, str(sets / 'boxes'), None, LOOPS, str)
    wrapper = cfg.train_dataloader.dataset
    assert wrapper.times == 3 and wrapper.dataset.metainfo.classes == SHAPES
    assert cfg.val_evaluator.type == 'CocoMetric'
    assert cfg.val_evaluator.metric == ['bbox', 'segm']
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[inner, inner])
    with pytest.raises(BadInput, match='train_dataloader of .* has several'):
        use_data(cfg, str(sets / 'boxes'), None, LOOPS, str)


def test_few_images(sets, tmp_path):
    cfg = load('retinanet_msmlp_t_1x.py', tmp_path)
    cfg.train_dataloader.batch_size = 16
    batch, warm = use_data(cfg, str(sets / 'boxes'), None, LOOPS, str)
    assert cfg.train_dataloader.batch_size == 5
    assert 'batch_size became 5' in batch and 'the config has 16' in batch
    assert 'takes 500 steps and the training 12' in warm
    assert '--cfg-options param_scheduler.0.end=2' in warm  # a fifth of 12
    cfg = load('upernet_msmlp_t_160k.py', tmp_path)
    cfg.train_dataloader.batch_size = 16
    assert use_data(cfg, str(sets / 'maps'), None, LOOPS, str) == []
    assert cfg.train_dataloader.batch_size == 16  # drawn again and again


def test_evaluation_goes_by_the_classes_of_the_checkpoint(sets, tmp_path):
    path = tmp_path / 'some.pth'
    learned = ('moon', *SHAPES[::-1])
    meta = dict(dataset_meta=dict(classes=learned))
    torch.save(dict(meta=meta, state_dict=dict(x=torch.ones(1))), path)
    for name, task in (
        ('retinanet_msmlp_t_1x.py', 'boxes'),
        ('msmlp_t_300e.py', 'folders'),
    ):
        cfg = load(name, tmp_path)
        use_data(cfg, str(sets / task), None, ('test',), str, str(path))
        assert cfg.test_dataloader.dataset.metainfo.classes == learned
        assert counts(cfg.model)[0] == 5
        assert not vet(cfg, ('test',), Cache(tmp_path / 'c.sqlite3')).found.kinds(
            'error'
        )
    listed = Path(cfg.test_dataloader.dataset.ann_file).read_text().splitlines()
    assert {(row.split('/')[0], row[-1]) for row in listed} <= {
        ('star', '1'), ('triangle', '2'), ('square', '3'), ('circle', '4')
    }  # fmt: skip
    meta = dict(dataset_meta=dict(classes=('moon',)))
    torch.save(dict(meta=meta, state_dict=dict(x=torch.ones(1))), path)
    with pytest.raises(
        BadInput, match='does not know: circle, square.*; it knows moon'
    ):
        use_data(cfg, str(sets / 'folders'), None, ('test',), str, str(path))


def test_evaluation_leaves_the_trainings_record(sets, tmp_path):
    cfg = load('retinanet_msmlp_t_1x.py', tmp_path)
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'retinanet_msmlp_t_1x.py').write_text('')
    lines = []
    use_data(cfg, str(sets / 'boxes'), None, ('test',), lines.append)
    assert Path(cfg.filename).name == 'retinanet_msmlp_t_1x.ran.py'
    assert lines[-1].split()[5].endswith('retinanet_msmlp_t_1x.ran.py,')


@pytest.mark.full
def test_what_is_refused(sets, tiny_config, run_tool, tmp_path):
    run = ('train.py', tiny_config, '--work-dir', 'run')
    assert_fails(run_tool(*run, '--data', 'lost'), 'lost does not exist')
    result = run_tool(*run, '--data', sets / 'maps')
    assert_fails(result, 'for a segmentor, and the config trains a detector')
    assert_fails(run_tool(*run, '--val-split', '0.2'), 'that --data PATH names')
    result = run_tool(*run, '--data', sets / 'boxes', '--val-split', '1')
    assert_fails(result, 'leaves no image to train on')
    for option in 'model.bbox_head.num_classes=5', 'val_evaluator.ann_file=a.json':
        result = run_tool(*run, '--data', sets / 'boxes', '--cfg-options', option)
        assert_fails(result, f'{option.split("=")[0]} is without effect')
    code, _, err = run_tool(*run, '--data', sets / 'boxes', '--val-split', '2')
    assert code == 2 and 'takes a share over 0 up to 1' in err
    cfg = load('retinanet_msmlp_t_1x.py', tmp_path)
    cfg.default_scope = 'mmpose'
    with pytest.raises(BadInput, match="default_scope of .* is 'mmpose'"):
        use_data(cfg, str(sets / 'boxes'), None, LOOPS, str)


@pytest.mark.full
def test_one_command_trains_evaluates_and_draws(sets, tiny_config, run_tool, tmp_path):
    for task in ('yolo', 'voc'):  # what is converted, and what has two classes more
        getattr(layouts, task)(sets / 'demo', tmp_path / task)
    code, out, err = run_tool(
        'train.py', tiny_config, '--data', tmp_path / 'yolo', '--work-dir', 'run'
    )
    assert code == 0, out + err
    told = [line for line in out.splitlines() if line.startswith('data: ')]
    assert len(told) == 5 and 'YOLO text labels (data.yaml), for a detector' in told[0]
    assert (
        told[1]
        == (
            'data: train 5 images with 26 boxes in images/train; '
            'val 3 images with 15 boxes in images/val'
        )
        or 'boxes in images/train; val 3 images' in told[1]
    )
    run = tmp_path / 'run'
    code, first, err = run_tool('test.py', run / 'tiny.py', run / 'epoch_1.pth')
    assert code == 0, first + err
    # The other layout has the same boxes, its classes in another order.
    code, out, err = run_tool(
        'test.py', tiny_config, run / 'epoch_1.pth', '--data', tmp_path / 'voc',
        '--metrics', 'other.json', '--work-dir', 'other',
    )  # fmt: skip
    assert code == 0, out + err
    assert 'classes (4): circle, square, triangle, star' in out
    metrics = json.loads((tmp_path / 'other.json').read_text())
    assert f'coco/bbox_mAP: {metrics["coco/bbox_mAP"]:.4f}' in first
    from mmdet.apis import DetInferencer

    inferencer = DetInferencer(weights=str(run / 'epoch_1.pth'), device='cpu')
    assert tuple(inferencer.model.dataset_meta['classes']) == SHAPES
    picture = next((tmp_path / 'voc' / 'JPEGImages').glob('val_*.jpg'))
    drawn = inferencer(str(picture), out_dir=str(tmp_path / 'drawn'))
    labels = drawn['predictions'][0]['labels']
    assert labels and max(labels) <= 3
    written = cv2.imread(str(tmp_path / 'drawn' / 'vis' / picture.name))
    assert (written != cv2.imread(str(picture))).any()
    # The run's own config trains on: the same data, each hook once.
    code, out, err = run_tool(
        'train.py',
        run / 'tiny.py',
        '--cfg-options',
        'train_cfg.max_epochs=2',
        '--resume',
    )
    assert code == 0, out + err
    hooks = [hook['type'] for hook in Config.fromfile(run / 'tiny.ran.py').custom_hooks]
    assert len(hooks) == len(set(hooks)) and (run / 'epoch_2.pth').exists()


@pytest.mark.slow
def test_two_processes_read_what_the_first_prepared(
    sets, run_shell, tiny_config, tmp_path
):
    layouts.cvat(sets / 'demo', tmp_path / 'cvat')
    done = run_shell(
        'dist_train.sh', tiny_config, 2, '--data', tmp_path / 'cvat',
        '--work-dir', tmp_path / 'run', XDG_CACHE_HOME=str(tmp_path / 'xdg'),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith('data: ')]
    assert len(told) == 5 and 'a CVAT COCO export' in told[0]


@pytest.mark.parametrize(
    ('name', 'task', 'unit'),
    [
        ('demo/retinanet_msmlp_demo.py', 'boxes', 'max_epochs'),
        ('demo/upernet_msmlp_demo.py', 'maps', 'max_iters'),
    ],
)
def test_a_warm_up_longer_than_the_training_is_told(sets, tmp_path, name, task, unit):
    for length, told in (1000, False), (1, True):
        cfg = load(name, tmp_path)
        cfg.train_cfg[unit] = length
        notices = ' '.join(use_data(cfg, str(sets / task), None, LOOPS, print))
        assert ('the warm-up takes' in notices) == told
        assert (f'(train_cfg.{unit})' in notices) == told
