"""What else of a config follows its backbone: weights, pixels, the optimizer."""

import pytest
import torch
from mmengine.config import Config

from mmmsmlp.errors import BadInput
from mmmsmlp.swap import settings
from mmmsmlp.swap.fit import assign, assign_loosely
from mmmsmlp.swap.places import candidates
from mmmsmlp.swap.probe import Output, reachable

NEW = ['backbone.stages.0.blocks.0.gamma', 'backbone.norm0.weight', 'head.weight']
OLD = ['backbone.pos_embed', 'backbone.layers.0.norm.weight']


def optimizer(**rules):
    return Config(
        dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.02), **rules))
    )


def test_names_of_the_old_backbone_go():
    keys = {'pos_embed': dict(decay_mult=0.0), 'head': dict(lr_mult=2.0)}
    cfg = optimizer(paramwise_cfg=dict(custom_keys=keys))
    notes = settings.fit_optimizer(cfg, OLD, NEW)
    assert cfg.optim_wrapper.paramwise_cfg == dict(
        norm_decay_mult=0.0, bias_decay_mult=0.0,
        custom_keys=dict(head=dict(lr_mult=2.0), gamma=dict(decay_mult=0.0)),
    )  # fmt: skip
    assert len(notes) == 1 and "such as 'pos_embed'" in notes[0]


def test_a_rule_for_the_whole_backbone_is_told():
    cfg = optimizer(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}))
    (note,) = settings.fit_optimizer(cfg, OLD, NEW)
    assert "'backbone' decides on the weight decay" in note


def test_layer_decay_is_our_own():
    cfg = optimizer(
        constructor='LearningRateDecayOptimizerConstructor',
        paramwise_cfg=dict(decay_rate=0.7, decay_type='layer_wise', num_layers=6),
    )
    settings.fit_optimizer(cfg, OLD, NEW)
    wrapper = cfg.optim_wrapper
    assert wrapper.constructor == 'mmmsmlp.LayerDecayOptimWrapperConstructor'
    assert wrapper.paramwise_cfg.layer_decay_rate == 0.7
    assert not {'decay_rate', 'decay_type', 'num_layers'} & wrapper.paramwise_cfg.keys()


@pytest.mark.parametrize(
    ('scope', 'base', 'rate'), [('mmdet', 64, 4e-4), ('mmseg', 16, 6e-5)]
)
def test_the_recipe_follows_the_batch(scope, base, rate):
    cfg = optimizer()
    cfg.merge_from_dict(
        dict(default_scope=scope, auto_scale_lr=dict(base_batch_size=base))
    )
    settings.use_recipe(cfg)
    assert cfg.optim_wrapper.optimizer.type == 'AdamW'
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(rate)


def test_a_recipe_needs_an_optimizer():
    with pytest.raises(BadInput, match='no optim_wrapper.optimizer to replace'):
        settings.use_recipe(Config(dict(model={})))


def test_caffes_pixels_become_imagenets():
    cfg = Config(
        dict(
            model=dict(
                data_preprocessor=dict(
                    type='DetDataPreprocessor', mean=[103.53, 116.28, 123.675],
                    std=[1.0, 1.0, 1.0], bgr_to_rgb=False, pad_size_divisor=32,
                )
            )
        )
    )  # fmt: skip
    assert len(settings.set_pixels(cfg)) == 1
    assert cfg.model.data_preprocessor == dict(
        type='DetDataPreprocessor', mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375], bgr_to_rgb=True, pad_size_divisor=32,
    )  # fmt: skip
    assert settings.set_pixels(cfg) == []


def test_old_weights_go_and_a_heads_own_stay():
    model = dict(
        init_cfg=dict(type='Pretrained', checkpoint='coco.pth'),
        pretrained='resnet.pth',
        backbone=dict(type='A'),
        head=dict(init_cfg=dict(type='Normal', std=0.01)),
    )
    cfg = Config(dict(model=model, load_from='whole.pth'))
    notes = settings.drop_weights(cfg, ('backbone',))
    assert cfg.model == dict(backbone=dict(type='A'), head=model['head'])
    assert cfg.load_from is None and len(notes) == 3


PYRAMID = [Output(96 * 2**i, 4 * 2**i) for i in range(4)]


@pytest.mark.parametrize(
    ('old', 'kept', 'stages'),
    [
        ([(256, 4), (512, 8), (1024, 16), (2048, 32)], [1, 2, 3], [1, 2, 3]),
        ([(512, 8), (1024, 16)], [0, 1], [1, 2]),
        ([(256, 4), (512, 8), (1024, 8), (2048, 8)], [0, 3], [0, 3]),  # dilated
        ([(2048, 16)], [0], [2]),
        ([(384, 0)], [0], [3]),  # a vector
        ([(256, 4), (256, 4)], [0, 1], []),  # an hourglass
        ([(64, 2), (64, 4)], [0], []),
        ([(512, 32), (256, 16)], [0, 1], []),
    ],
)
def test_the_stage_for_an_output(old, kept, stages):
    given = assign([Output(*pair) for pair in old], kept, PYRAMID)
    assert given == dict(zip(kept, stages, strict=False))


@pytest.mark.parametrize(
    ('strides', 'stages'),
    [
        ([8, 32, 8], {0: 1, 1: 3, 2: 1}),  # FastSCNN
        ([2, 4, 8], {0: 1, 1: 2, 2: 3}),  # LR-ASPP
        ([7], {0: 3}),  # ConvMixer
        ([1] * 5, {}),
        ([0, 0], {}),
    ],
)
def test_the_stage_for_strides_that_do_not_fit(strides, stages):
    old = [Output(64, stride) for stride in strides]
    assert assign_loosely(old, range(len(old)), PYRAMID) == stages


def test_numbers_that_may_be_an_outputs():
    model = dict(
        backbone=dict(out_channels=512),
        head=dict(channels=256, in_channels=2048, in_index=3, num_levels=3),
        neck=dict(in_channels=[256, 512, 1024, 2048], start_level=1),
        train_cfg=dict(num=512),
    )
    widths, index = [256, 512, 1024, 2048], {1: 0, 2: 1, 3: 2}
    found = candidates(model, [('backbone',)], widths, index, [192, 384, 768])
    assert list(found.items()) == [
        (('head', 'in_channels'), [768]),
        (('neck', 'in_channels'), [[192, 384, 768]]),
        (('head', 'in_index'), [2]),
        (('neck', 'start_level'), [0]),
    ]


def test_a_number_that_counts_an_output_and_others():
    model = dict(ffm=dict(in_channels=384))
    found = candidates(model, [], [256, 512], {0: 0}, [192], {384: 0})
    assert found == {('ffm', 'in_channels'): [320]}


def test_outputs_of_one_width_or_one_stage():
    """Two of width 64, the first two on one stage; counted from the end, too."""
    model = dict(a=dict(in_channels=64, in_index=-1), b=dict(in_index=[1, 2]))
    found = candidates(model, [], [64, 32, 64], {0: 0, 1: 0, 2: 1}, [96, 192])
    assert found == {
        ('a', 'in_channels'): [96, 192], ('b', 'in_index'): [[0, 1]]
    }  # fmt: skip
    model = dict(in_index=-3)
    found = candidates(model, [], [64, 32, 64], {0: 0, 1: 0, 2: 1}, [96, 192])
    assert found == {('in_index',): [-2]}


def test_what_a_loss_depends_on():
    used, also, unused = (torch.rand(2, requires_grad=True) for _ in range(3))
    loss = (used * 2).sum() + also.exp().sum() + unused.detach().sum()
    assert reachable(loss) == {id(used), id(also)}
