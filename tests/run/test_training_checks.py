"""Is what would end a run in its middle said before the first step?"""

import random
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook

from mmmsmlp.errors import BadInput
from mmmsmlp.run import training_checks
from mmmsmlp.run.metric_names import check_metric_names, metric_names
from mmmsmlp.run.settings import check_lengths, check_settings, unmatched_keys
from tests.helpers.commands import assert_fails

Usage = namedtuple('Usage', 'total used free')
UPERNET = dict(
    decode_head=dict(pool_scales=(1, 2, 3, 6), norm_cfg=dict(type='BN')),
    auxiliary_head=dict(norm_cfg=dict(type='BN')),
)


def test_workers_that_are_none_do_not_persist():
    loader = dict(num_workers=0, persistent_workers=True, prefetch_factor=4)
    kept = dict(num_workers=2, persistent_workers=True, prefetch_factor=4)
    cfg = Config(dict(train_dataloader=loader, val_dataloader=kept))
    notices = training_checks.fit_workers(cfg, ('train', 'val'))
    assert len(notices) == 2 and 'train_dataloader: persistent_workers' in notices[0]
    assert cfg.train_dataloader.persistent_workers is False
    assert cfg.train_dataloader.prefetch_factor is None
    assert cfg.val_dataloader == kept
    torch.utils.data.DataLoader([1], **cfg.train_dataloader)


@pytest.mark.parametrize('value', [0, -1, 'abc', 1.5])
@pytest.mark.parametrize('name', ['max_epochs', 'max_iters', 'val_interval'])
def test_lengths_that_are_none_are_refused(name, value):
    with pytest.raises(BadInput, match=f'train_cfg.{name}={value!r} must be a whole'):
        check_lengths(Config(dict(train_cfg={name: value})))
    check_lengths(Config(dict(train_cfg={name: 1})))


def outputs_of(widths, **parts):
    spaces = {name: SimpleNamespace(**part) for name, part in parts.items()}
    backbone = SimpleNamespace(out_channels=widths)
    return SimpleNamespace(model=SimpleNamespace(backbone=backbone, **spaces))


@pytest.mark.parametrize(
    ('widths', 'parts'),
    [
        ([8, 16, 32], dict(neck=dict(in_channels=[8, 16, 64]))),
        ([8, 16], dict(neck=dict(in_channels=[8, 16, 32]))),
        ([8, 16], dict(decode_head=dict(in_channels=[8, 32], in_index=[0, 1]))),
        ([8, 16], dict(auxiliary_head=dict(in_channels=8, in_index=1))),
    ],
)
def test_channels_that_do_not_fit_are_refused(widths, parts):
    (name,) = parts
    words = rf'model.{name}.in_channels=.* whose outputs have \[8, 16'
    with pytest.raises(BadInput, match=words):
        training_checks.check_channels(outputs_of(widths, **parts))


def test_channels_that_fit_pass():
    for parts in (
        dict(neck=dict(in_channels=[8, 16, 32])),
        dict(neck=dict(in_channels=(8, 16, 32)), decode_head=dict(in_channels=4)),
        dict(decode_head=dict(in_channels=[8, 32], in_index=[0, 2])),
        dict(neck=dict(), auxiliary_head=dict(in_channels=1)),
    ):
        training_checks.check_channels(outputs_of([8, 16, 32], **parts))


def test_an_empty_set_is_refused():
    full, empty = (SimpleNamespace(dataset=data) for data in ([1], []))
    loop = SimpleNamespace(dataloader=empty)
    run = SimpleNamespace(train_dataloader=full, val_loop=loop)
    with pytest.raises(BadInput, match='val_dataloader.dataset has no image'):
        training_checks.check_data_sets(run)
    run.val_loop = None
    training_checks.check_data_sets(run)


def loading(images, batch, drop_last=False, sampler='DefaultSampler'):
    kind = type(sampler, (), dict(__len__=lambda self: images))
    loader = SimpleNamespace(batch_size=batch, sampler=kind(), drop_last=drop_last)
    return SimpleNamespace(train_dataloader=loader, cfg=Config(dict(model=UPERNET)))


def test_a_last_batch_of_one_is_refused():
    words = '5 images at .*batch_size=2 leave .*decode_head.*drop_last=True.*GN'
    with pytest.raises(BadInput, match=words):
        training_checks.check_last_batch(loading(5, 2))
    for fine in (
        loading(6, 2), loading(5, 2, drop_last=True), loading(5, 3), loading(5, None),
        loading(5, 2, sampler='InfiniteSampler'),
    ):  # fmt: skip
        training_checks.check_last_batch(fine)
    normed = loading(5, 2)
    normed.cfg.model.decode_head.norm_cfg.type = 'SyncBN'
    training_checks.check_last_batch(normed)


def config(batch, base=16, accumulated=1, enable=False):
    wrapper = dict(optimizer=dict(type='AdamW', lr=1e-4))
    return Config(
        dict(
            train_dataloader=dict(batch_size=batch),
            optim_wrapper=dict(wrapper, accumulative_counts=accumulated),
            auto_scale_lr=dict(base_batch_size=base, enable=enable),
        )
    )


def test_a_rate_of_another_batch_is_told():
    said = training_checks.judge_rate(config(2))
    assert '0.0001 was chosen for 16 images a step, and this run takes 2' in said
    assert '--auto-scale-lr scales it (to 1.25e-05)' in said
    assert 'takes 64' in training_checks.judge_rate(config(64))
    for fine in (
        config(16),
        config(12),
        config(2, accumulated=8),
        config(2, enable=True),
    ):
        assert training_checks.judge_rate(fine) is None
    still = config(16)
    still.optim_wrapper.optimizer.lr = 0
    assert 'lr=0: no weight will change' in training_checks.judge_rate(still)


def saving(tmp_path, **checkpoint):
    model = torch.nn.Linear(1000, 1000, bias=False)  # 4 MB, 12 with averages
    return SimpleNamespace(
        hooks=[CheckpointHook(**checkpoint)],
        model=model,
        optim_wrapper=SimpleNamespace(optimizer=torch.optim.AdamW(model.parameters())),
        train_loop=SimpleNamespace(max_epochs=12, max_iters=1000),
        work_dir=str(tmp_path),
    )


def test_checkpoints_that_do_not_fit(tmp_path, monkeypatch):
    free = [10**9]
    monkeypatch.setattr(
        training_checks.shutil, 'disk_usage', lambda _: Usage(0, 0, free[0])
    )
    every, some = saving(tmp_path, interval=1), saving(
        tmp_path, interval=1, max_keep_ckpts=3, save_best='auto'
    )  # fmt: skip
    assert training_checks.check_space(every) is None
    free[0] = 100 * 10**6  # 12 take 144
    assert 'keeps 12 of them' in training_checks.check_space(every)
    assert training_checks.check_space(some) is None
    free[0] = 39 * 10**6  # three take 36, and the best one 4, without the optimizer
    assert 'keeps 4 of them' in training_checks.check_space(some)
    free[0] = 10**7
    with pytest.raises(BadInput, match='about 0.01 GiB.*free some space'):
        training_checks.check_space(some)


class Drawing(torch.utils.data.Dataset):
    def __len__(self):
        return 9

    def __getitem__(self, index):
        torch.rand(3)
        return dict(inputs=torch.zeros(3, 512, 512, dtype=torch.uint8), other='text')


def test_shared_memory_that_is_too_small(tmp_path, monkeypatch):
    free = [64 * 2**20]
    monkeypatch.setattr(
        training_checks.shutil, 'disk_usage', lambda _: Usage(0, 0, free[0])
    )
    loader = torch.utils.data.DataLoader(Drawing(), batch_size=16, num_workers=4)
    run = SimpleNamespace(train_dataloader=loader)
    before = torch.get_rng_state()
    with pytest.raises(BadInput, match='8 batches of about 12 MiB .* 64 MiB.*shm-size'):
        training_checks.check_shared_memory(run, str(tmp_path))
    assert torch.equal(torch.get_rng_state(), before)
    free[0] = 97 * 2**20
    training_checks.check_shared_memory(run, str(tmp_path))


COCO = dict(type='CocoMetric', metric=['bbox', 'segm'])


def samples(*sides, long=200, **known):
    """As a pipeline makes them of pictures twice as long as high."""
    shape = (long // 2, long)
    return [
        dict(
            data_samples=SimpleNamespace(
                metainfo=dict(ori_shape=shape, scale_factor=(side / long,) * 2) | known
            )
        )
        for side in sides
    ]


def compared(train, val, *steps):
    """What is said of these samples, by pipelines of these steps."""
    pipeline = [dict(type=step) for step in steps]
    table = dict(dataset=dict(pipeline=pipeline))
    runner = SimpleNamespace(
        cfg=Config(dict(train_dataloader=table, val_dataloader=table)),
        train_dataloader=SimpleNamespace(dataset=train),
        val_loop=SimpleNamespace(dataloader=SimpleNamespace(dataset=val)),
    )
    return training_checks.compare_sizes(runner)


@pytest.mark.parametrize(
    ('train', 'val', 'words'),
    [
        (samples(320, 320), samples(1333), '320 pixels long in training and 1333 in'),
        (samples(640, 400, 900), samples(200, 200), '400 to 900 pixels long in tr'),
        (samples(480, 800), samples(800), None),
        (samples(130, 2600), samples(1333), None),  # random, about the same
        (samples(512, long=512), samples(4000, long=4000), None),  # tiles of the whole
        (samples(320, long=4000), samples(320, long=400), None),  # made alike
    ],
)
def test_pictures_evaluated_at_another_size_are_told(train, val, words):
    for one, other in (train, val), (val, train):
        line = compared(one, other, 'Resize')
        assert (line is None) == (words is None)
    if words:
        line = compared(train, val, 'Resize')
        assert words in line and "give 'Resize' of both pipelines one scale" in line


def test_sizes_that_samples_do_not_tell_are_not_compared():
    train, val = samples(320), samples(1333)
    assert compared(train, val, 'Resize')
    assert compared(train, val, 'Resize', 'Mosaic') is None
    assert compared(train, val, 'RandomResize', 'Resize') is None
    for odd in (
        samples(320, scale_factor=1.6),
        samples(320, scale_factor=None),
        samples(320, ori_shape=[(100, 200), (100, 200)]),  # of several images
        [dict(data_samples=SimpleNamespace(metainfo={}))],  # a video's
        [dict(data_samples=dict(sup=[]))],  # of branches
        [dict(inputs=1)],
        [(1, 2)],
    ):
        assert compared(odd, val, 'Resize') is None
        assert compared(train, odd, 'Resize') is None
    plain = samples(200, scale_factor=None)
    for sample in plain:
        del sample['data_samples'].metainfo['scale_factor']
    assert compared(plain, samples(50), 'RandomFlip')  # 1, where nothing resizes
    assert compared(plain, samples(50), 'RandomResizedCrop') is None


def test_a_run_says_that_its_pictures_have_two_sizes(run_tool, tiny_config):
    option = 'val_dataloader.dataset.pipeline.2.scale=(256,256)'
    code, out, err = run_tool('train.py', tiny_config, '--cfg-options', option)
    assert code == 0, err
    assert 'pictures are 64 pixels long in training and 256 in evaluation' in out + err


def test_looking_at_samples_draws_nothing():
    def drawn():
        return random.random(), np.random.rand(), torch.rand(1).item()

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = drawn()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])
    with training_checks.drawing_nothing():
        drawn()
    assert drawn() == expected


def test_the_names_of_metrics():
    assert metric_names(dict(type='mmdet.CocoMetric'))[:2] == [
        'coco/bbox_mAP', 'coco/bbox_mAP_50',
    ]  # fmt: skip
    assert 'coco/segm_mAP_l' in metric_names(COCO)
    assert metric_names(dict(type='IoUMetric', iou_metrics=['mIoU', 'mDice'])) == [
        'aAcc', 'mIoU', 'mAcc', 'mDice',
    ]  # fmt: skip
    assert metric_names(dict(type='Accuracy', topk=(1, 5))) == [
        'accuracy/top1', 'accuracy/top5',
    ]  # fmt: skip
    assert metric_names([COCO, dict(type='Own')]) is None


@pytest.mark.parametrize(
    ('hooks', 'words'),
    [
        (dict(checkpoint=dict(save_best='bbox_mAP')), "save_best='bbox_mAP' is none"),
        (dict(checkpoint=dict(save_best=['coco/bbox_mAP', 'mIoU'])), "'mIoU'"),
        (dict(stop=dict(type='EarlyStoppingHook', monitor='map')), "Hook='map'"),
        (dict(checkpoint=dict(save_best='auto')), None),
        (dict(checkpoint=dict(save_best='coco/segm_mAP')), None),
        (dict(checkpoint=dict(type='CheckpointHook')), None),
    ],
)
def test_metrics_that_nobody_gives_are_refused(hooks, words):
    cfg = Config(dict(default_hooks=hooks, val_evaluator=COCO, val_cfg=dict(a=1)))
    if words is None:
        check_metric_names(cfg)
    else:
        with pytest.raises(BadInput, match=words) as refused:
            check_metric_names(cfg)
        assert "'coco/bbox_mAP_50'" in str(refused.value)


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (dict(randomness=dict(seed='abc')), "seed='abc' must be a whole number"),
        (dict(custom_hooks=['EMAHook']), r"\['EMAHook'\] must be a list of tables"),
        (dict(custom_hooks=dict(type='EMAHook')), 'must be a list of tables'),
        (dict(default_hooks=dict(checkpont=dict(interval=1))), "mean 'checkpoint'"),
        (dict(default_hooks=dict(chekpoint=None)), "no such hook.* mean 'checkpoint'"),
        (dict(model=dict(data_preprocessor=dict(std=[1, 0, 1]))), 'std=.* divides by'),
        (dict(optim_wrapper=dict(type='AmpOptimWrapper')), '--amp bf16'),
        (dict(optim_wrapper=dict(paramwise_cfg=dict(custom_key=1))), "'custom_keys'"),
    ],
)
def test_settings_that_do_nothing_or_fail_late(settings, words, monkeypatch):
    monkeypatch.setattr('mmmsmlp.run.settings.get_device', lambda: 'cpu')
    good = dict(
        train_cfg=dict(max_epochs=1),
        randomness=dict(seed=0),
        custom_hooks=[dict(type='EMAHook')],
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook'), timer=None, visualization=None
        ),
        optim_wrapper=dict(paramwise_cfg=dict(custom_keys=dict(gamma={}))),
    )
    cfg = Config(good)
    check_settings(cfg)
    # mmengine asserts of any name but its own that it is not None.
    assert set(cfg.default_hooks) == {'checkpoint', 'timer'}
    with pytest.raises(BadInput, match=words):
        check_settings(Config(dict(good, **settings)))


def test_custom_keys_that_match_no_parameter():
    keys = dict(backbone={}, bakbone={}, relative_position_bias_table={})
    cfg = Config(dict(optim_wrapper=dict(paramwise_cfg=dict(custom_keys=keys))))
    model = torch.nn.ModuleDict(dict(backbone=torch.nn.Linear(1, 1)))
    line = unmatched_keys(SimpleNamespace(cfg=cfg, model=model))
    assert 'keys.bakbone does' in line and line.endswith("; did you mean 'backbone'?")
    del keys['bakbone']
    cfg = Config(dict(optim_wrapper=dict(paramwise_cfg=dict(custom_keys=keys))))
    assert unmatched_keys(SimpleNamespace(cfg=cfg, model=model)) is None


@pytest.mark.full
@pytest.mark.parametrize(
    ('option', 'words'),
    [
        ('optim_wrapper.optimizer.lr=1e-3x', "'1e-3x' is no number, and the config"),
        ('optim_wrapper.optimizer.lr=-1', 'Invalid learning rate'),
        ('optim_wrapper.optimizer.type=AdamV', "'AdamV' names no optimizer; did you"),
        ('model.backbone.geometri=paper', "did you mean 'geometry'?"),
        ('train_cfg.max_epoch=3', "did you mean 'max_epochs'?"),
        ('param_scheduler.0.power=x', 'param_scheduler'),
        ('train_dataloader.batchsize=4', "did you mean 'batch_size'?"),
        ('train_dataloader.dataset.pipelin=4', "did you mean 'pipeline'?"),
        ('default_hooks.checkpoint.save_best=bbox_mAP', 'coco/bbox_mAP'),
    ],
)
def test_what_cannot_be_built_is_one_line(run_tool, tiny_config, option, words):
    result = run_tool('train.py', tiny_config, '--cfg-options', option)
    assert_fails(result, words)
