"""Classes that the data or the model do not have are refused before a run starts."""

import pytest
from mmengine.config import Config

from mmmsmlp.errors import BadInput
from mmmsmlp.run.config import load_config
from mmmsmlp.run.preflight import check_labels
from tests.helpers.commands import assert_fails

CLASSES = 'train_dataloader.dataset.metainfo.classes'


def test_a_class_that_no_annotation_has(run_tool, tiny_config):
    result = run_tool('train.py', tiny_config, '--cfg-options', f'{CLASSES}=square,bra')
    assert_fails(result, CLASSES, "'bra', of which", 'boxes.json', "'square', 'bar'")


def test_a_single_class_without_its_comma(run_tool, tiny_config):
    result = run_tool('train.py', tiny_config, '--cfg-options', f'{CLASSES}=square')
    assert_fails(result, f"{CLASSES} = 'square' is one text", "('square',)")


def test_a_class_that_is_named_twice(run_tool, tiny_config):
    option = f'{CLASSES}=square,bar,square'
    result = run_tool('train.py', tiny_config, '--cfg-options', option)
    assert_fails(result, f"{CLASSES} has 'square' twice")


@pytest.mark.parametrize(
    ('text', 'fragment'),
    [
        ('{"categories": [', 'line 1 column 17: the file ends before'),
        ('{}', "lacks a list of COCO: 'images', 'annotations', or 'categories'"),
        ('{"images": [], "categories": [{}]}', 'categories[0]: {}'),
    ],
)
def test_a_file_that_holds_no_annotations(
    run_tool, tiny_config, tmp_path, text, fragment
):
    (tmp_path / 'bad.json').write_text(text)
    option = f'train_dataloader.dataset.ann_file={tmp_path / "bad.json"}'
    result = run_tool('train.py', tiny_config, '--cfg-options', option)
    assert_fails(result, f'{tmp_path / "bad.json"}: ', fragment)


def test_heads_of_another_size(run_tool, tiny_config):
    options = ['--cfg-options', 'model.bbox_head.num_classes=3']
    result = run_tool('train.py', tiny_config, *options)
    assert_fails(result, 'classes has 2 entries', 'num_classes=3', 'RetinaHead')
    result = run_tool('test.py', tiny_config, 'no.pth', *options)
    assert_fails(result, 'test_dataloader.dataset.metainfo.classes has 2 entries')


@pytest.mark.parametrize(
    'option, cure',
    [
        ('trian_cfg.max_epochs=1', "knows 'trian_cfg'; did you mean 'train_cfg'"),
        ('nothing_at_all=1', 'knows'),
        ('data_root=/data', 'made from it: train_dataloader.dataset.data_root, '),
    ],
)
def test_an_option_that_nothing_reads(run_tool, tiny_config, option, cure):
    result = run_tool('train.py', tiny_config, '--cfg-options', option)
    assert_fails(result, f'--cfg-options {option.split("=")[0]}', cure)


def test_a_variable_of_the_file_that_is_only_used_under_other_names(tmp_path):
    for options, place in (
        ({'size': (64, 64)}, 'train_dataloader.dataset.pipeline.2.scale'),
        ({'train_pipeline.2.scale': (64, 64)}, ': train_dataloader.dataset.pipeline'),
    ):
        with pytest.raises(BadInput, match=f'which nothing reads any more.*{place}'):
            load_config('demo/retinanet_msmlp_photos', options)
    with pytest.warns(UserWarning, match='also at param_scheduler.1.end, train_cfg.m'):
        cfg = load_config('demo/upernet_msmlp_demo', {'iterations': 5})
    assert cfg.train_cfg.max_iters != 5


@pytest.mark.full
@pytest.mark.parametrize(
    'option',
    [
        'train_cfg.max_epoch=1',
        'train_dataloader.batchsize=2',
        'val_evaluator.metrik=bbox',
    ],
)
def test_an_option_that_its_table_does_not_take(run_tool, tiny_config, option):
    result = run_tool('train.py', tiny_config, '--cfg-options', option)
    assert_fails(result, option.split('=')[0].split('.')[1])


@pytest.mark.full
def test_options_of_the_runner_that_the_config_lacks(run_tool, tiny_config, tmp_path):
    options = ['custom_hooks=[]', 'train_cfg.val_interval=9']
    code, out, err = run_tool(
        'train.py', tiny_config, '--work-dir', 'run', '--cfg-options', *options
    )
    assert code == 0, err
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()


def unlabelled(scope, metric=(), **dataset):
    evaluator = dict(type='Metric', **dict(metric))
    return Config(
        dict(default_scope=scope, test_cfg={}, test_evaluator=evaluator,
             test_dataloader=dict(dataset=dataset))
    )  # fmt: skip


@pytest.mark.parametrize(
    ('scope', 'dataset', 'words'),
    [
        ('mmseg', dict(data_prefix=dict(img_path='i')), 'format_only=True'),
        (
            'mmseg',
            dict(data_prefix=dict(img_path='i', seg_map_path=None)),
            'output_dir',
        ),
        ('mmpretrain', dict(type='CustomDataset', with_label=False), 'image_demo'),
        ('mmpretrain', dict(type='ImageNet', split='test'), 'no labels'),
    ],
)
def test_data_without_labels_are_not_scored(scope, dataset, words):
    with pytest.raises(BadInput, match=words):
        check_labels(unlabelled(scope, **dataset), ('test',))
    check_labels(unlabelled(scope, dict(format_only=True), **dataset), ('test',))
    check_labels(unlabelled(scope, **dataset), ('val',))


@pytest.mark.parametrize(
    ('scope', 'dataset'),
    [
        ('mmseg', dict(data_prefix=dict(img_path='i', seg_map_path=''))),
        ('mmseg', dict(type='BaseSegDataset')),
        ('mmpretrain', dict(type='CIFAR10', split='test')),
        ('mmpretrain', dict(type='ImageNet', split='val')),
        ('mmdet', dict(data_prefix=dict(img='i'))),
    ],
)
def test_data_with_labels_are_scored(scope, dataset):
    check_labels(unlabelled(scope, **dataset), ('test',))
