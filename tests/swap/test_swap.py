"""Does any config take one of our backbones, by what is measured and no table?"""

import pytest
from mmengine.config import Config

import mmmsmlp
from mmmsmlp.errors import BadInput
from mmmsmlp.swap import backbone_places, diff, read_config, swap
from mmmsmlp.swap.exercise import exercise

SMALL = dict(
    embed_dims=24, depths=[1, 1, 1, 1], mix_sizes=[[1, 3, 3, 3, 5] for _ in range(4)]
)
RETINANET = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
HEAD = dict(
    type='ASPPHead', channels=256, num_classes=4, dilations=(1,),
    norm_cfg=dict(type='BN'), loss_decode=dict(type='CrossEntropyLoss'),
)  # fmt: skip


def segmentor(*heads, **backbone):
    """A small config of mmseg: ResNet-18 of widths 64 to 512, dilated to stride 8."""
    main, *others = [{**HEAD, **head} for head in heads]
    return Config(
        dict(
            default_scope='mmseg',
            model=dict(
                type='EncoderDecoder',
                data_preprocessor=dict(
                    type='SegDataPreProcessor', size=(512, 512), seg_pad_val=255,
                    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                    bgr_to_rgb=True,
                ),
                backbone={
                    **dict(type='ResNetV1c', depth=18, strides=(1, 2, 1, 1),
                           dilations=(1, 1, 2, 4), out_indices=(0, 1, 2, 3)),
                    **backbone,
                },
                decode_head=main,
                auxiliary_head=others,
                train_cfg={}, test_cfg=dict(mode='whole'),
            ),
        )
    )  # fmt: skip


def classifier(**backbone):
    return Config(
        dict(
            default_scope='mmpretrain',
            model=dict(
                type='ImageClassifier',
                backbone=backbone,
                neck=dict(type='GlobalAveragePooling'),
                head=dict(
                    type='LinearClsHead', in_channels=512, num_classes=10,
                    loss=dict(type='CrossEntropyLoss'),
                ),
            ),
            train_dataloader=dict(
                dataset=dict(
                    pipeline=[
                        dict(type='LoadImageFromFile'),
                        dict(type='Resize', scale=64),
                        dict(type='PackInputs'),
                    ]
                )
            ),
        )
    )  # fmt: skip


@pytest.fixture(scope='module')
def retinanet():
    return read_config(RETINANET)


@pytest.fixture(scope='module')
def swapped(retinanet):
    return swap(read_config(retinanet), 'MSMLP', 'tiny', False)


@pytest.mark.full
def test_a_neck_that_starts_at_stride_8(swapped):
    cfg, notes = swapped
    assert cfg.model.backbone == dict(
        type='mmmsmlp.MSMLP', arch='tiny', out_indices=(1, 2, 3)
    )
    assert cfg.model.neck.in_channels == [192, 384, 768]
    assert cfg.model.neck.start_level == 0 and cfg.model.neck.out_channels == 256
    assert cfg.custom_imports['imports'] == ['mmmsmlp']
    rules = cfg.optim_wrapper.paramwise_cfg
    assert rules['norm_decay_mult'] == 0 and rules['custom_keys']['gamma'] == {
        'decay_mult': 0.0
    }
    assert any('resnet50 is of the old backbone' in note for note in notes)
    assert any('frozen_stages=1 dropped' in note for note in notes)
    assert 'find_unused_parameters' not in cfg
    assert exercise(cfg) == ''


@pytest.mark.full
def test_nothing_but_the_backbone_and_its_numbers_changed(retinanet, swapped):
    lines = diff(retinanet, swapped[0]).splitlines()
    places = {line[2:].partition('=')[0].rpartition('.')[0] for line in lines}
    assert {place for place in places if not place.startswith('model.backbone')} == {
        'model.neck', 'custom_imports', 'optim_wrapper.paramwise_cfg',
        'optim_wrapper.paramwise_cfg.custom_keys.gamma',
    }  # fmt: skip
    assert '- model.neck.start_level=1' in lines
    assert '+ model.neck.start_level=0' in lines


@pytest.mark.full
def test_twice_is_once(swapped):
    again, notes = swap(read_config(swapped[0]), 'MSMLP', 'tiny', False)
    assert again.to_dict() == swapped[0].to_dict() and notes == []
    assert diff(swapped[0], again) == ''


@pytest.mark.full
def test_the_recipe_comes_later_too(swapped):
    cfg, notes = swap(read_config(swapped[0]), 'MSMLP', 'tiny', True)
    assert (cfg.optim_wrapper.optimizer.type, cfg.model.backbone.drop_path_rate) == (
        'AdamW', 0.2
    )  # fmt: skip
    assert notes == ['--recipe: SGD became AdamW, lr 0.0001']
    assert any('SGD stays' in note for note in swapped[1])


@pytest.mark.full
def test_the_written_file_needs_no_swap(swapped, tmp_path):
    file = tmp_path / 'my.py'
    swapped[0].dump(str(file))
    assert Config.fromfile(str(file)).to_dict() == swapped[0].to_dict()
    assert 'StandIn' not in file.read_text() and 'swap' not in file.read_text()


@pytest.mark.full
def test_another_depth_of_the_same_backbone_freezes_no_random_stage(retinanet):
    """ResNet's outputs carry no norm, so that one left unused harms nobody."""
    cfg, notes = swap(read_config(retinanet), 'ResNet', 'tiny', False, depth=101)
    lines = diff(retinanet, cfg).splitlines()
    assert [line for line in lines if 'init_cfg' not in line] == [
        '- model.backbone.depth=50', '+ model.backbone.depth=101',
        '- model.backbone.frozen_stages=1',
    ]  # fmt: skip
    assert any('frozen_stages=1 dropped' in note for note in notes)


def test_a_backbone_for_itself(retinanet):
    before = retinanet.to_dict()
    cfg = mmmsmlp.with_backbone(retinanet, **retinanet.model.backbone)
    assert cfg.to_dict() == before == retinanet.to_dict()


@pytest.mark.full
def test_channels_wherever_they_are_spelled():
    """512 and 64 by two names; 256 is the width of an output and of a head alike."""
    cfg = segmentor(
        dict(in_channels=512, in_index=3,
             dilations=(1, 12), c1_in_channels=64, c1_channels=48,
             type='DepthwiseSeparableASPPHead'),
        dict(in_channels=256, in_index=2),
    )  # fmt: skip
    cfg, notes = swap(cfg, 'MSMLPSwin', 'tiny', False)
    head, (other,) = cfg.model.decode_head, cfg.model.auxiliary_head
    assert cfg.model.backbone.out_indices == (0, 2, 3)
    assert (head.in_channels, head.in_index, head.c1_in_channels) == (768, 2, 96)
    assert (head.c1_channels, head.channels) == (48, 256)
    assert (other.in_channels, other.in_index, other.channels) == (384, 1, 256)
    assert notes == [
        'model.backbone: output 2 was at stride 8 and is at stride 16',
        'model.backbone: output 3 was at stride 8 and is at stride 32',
    ]
    assert exercise(cfg) == ''


@pytest.mark.full
def test_outputs_that_are_joined():
    cfg = segmentor(
        dict(in_channels=[64, 128, 256, 512], in_index=[0, 1, 2, 3],
             input_transform='resize_concat'),
        strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1),
    )  # fmt: skip
    cfg, notes = swap(cfg, 'MSMLP', 'tiny', False)
    assert notes == []
    assert cfg.model.decode_head.in_channels == [96, 192, 384, 768]
    assert cfg.model.backbone.out_indices == (0, 1, 2, 3)


@pytest.mark.full
def test_a_classifier_of_maps_and_one_of_vectors():
    cfg, _ = swap(classifier(type='ResNet', depth=18), 'MSMLP', SMALL, False)
    assert cfg.model.head.in_channels == 192
    assert cfg.model.backbone.out_indices == (3,)
    tokens = classifier(
        type='VisionTransformer', img_size=64, patch_size=16,
        arch=dict(embed_dims=512, num_layers=1, num_heads=4, feedforward_channels=8),
    )  # fmt: skip
    tokens.model.neck = None
    cfg, _ = swap(tokens, 'MSMLP', SMALL, False)
    assert cfg.model.head.in_channels == 192
    assert cfg.model.backbone.gap_before_final_norm is True
    assert exercise(cfg) == ''


@pytest.mark.full
def test_what_means_the_same_is_kept():
    cfg = segmentor(dict(in_channels=512, in_index=3), with_cp=True, frozen_stages=1)
    weights = dict(type='Pretrained', checkpoint='none.pth')
    cfg, notes = swap(cfg, 'MSMLP', 'tiny', False, init_cfg=weights)
    assert cfg.model.backbone == dict(
        type='mmmsmlp.MSMLP', with_cp=True, frozen_stages=1, arch='tiny',
        init_cfg=weights, out_indices=(3,),
    )  # fmt: skip
    assert notes == ['model.backbone: output 3 was at stride 8 and is at stride 32']


def test_where_backbones_are():
    model = dict(
        backbone=dict(type='A', backbone_cfg=dict(type='B')),
        teacher_backbone=dict(type='C'),
        detector=dict(backbone=dict(type='D'), neck=dict(num_backbones=1)),
        heads=[dict(backbone='E')],
    )
    assert backbone_places(model) == [
        ('backbone', 'backbone_cfg'), ('teacher_backbone',), ('detector', 'backbone')
    ]  # fmt: skip


UNET = dict(type='UNet', base_channels=16, norm_cfg=dict(type='BN'))
TOKENS = dict(
    type='VisionTransformer', img_size=64, patch_size=16, out_type='featmap',
    arch=dict(embed_dims=64, num_layers=1, num_heads=4, feedforward_channels=8),
)  # fmt: skip


@pytest.mark.parametrize(
    ('config', 'backbone', 'words'),
    [
        (
            'mmdet::atss/atss_r50_1x.py',
            'MSMLP',
            "did you mean 'atss_r50_fpn_1x_coco.py'",
        ),
        ('nobody::a.py', 'MSMLP', "there is no toolbox 'nobody' here"),
        ('::a.py', 'MSMLP', "there is no toolbox '' here"),
        (Config(dict(a=1)), 'MSMLP', 'this config has no model'),
        (Config(dict(model=dict(type='X'))), 'MSMLP', 'names no backbone'),
        (classifier(type='ResNet', depth=18), 'Nothing', "no backbone 'Nothing'"),
        (
            classifier(**{**TOKENS, 'out_type': 'raw'}),
            'MSMLP',
            r'no map \(N, C, H, W\) as our backbones give it, but shape \(2, 65, 64\)',
        ),
    ],
)
def test_what_cannot_be_is_refused(config, backbone, words):
    with pytest.raises(BadInput, match=words):
        swap(read_config(config), backbone, 'tiny', False)


@pytest.mark.full
def test_strides_that_no_stage_has():
    """U-Net's last two outputs: the last two stages."""
    cfg = segmentor(
        dict(in_channels=16, in_index=4), dict(in_channels=32, in_index=-2)
    )  # fmt: skip
    cfg.model.backbone = UNET
    cfg, notes = swap(cfg, 'MSMLP', 'tiny', False)
    head, (other,) = cfg.model.decode_head, cfg.model.auxiliary_head
    assert cfg.model.backbone.out_indices == (2, 3)
    assert (head.in_channels, head.in_index) == (768, 1)
    assert (other.in_channels, other.in_index) == (384, -2)
    assert notes == [
        'model.backbone: output 3 was at stride 2 and is at stride 16',
        'model.backbone: output 4 was at stride 1 and is at stride 32',
    ]


@pytest.mark.full
def test_a_neck_that_wants_equal_maps_is_refused():
    cfg = segmentor(
        dict(in_channels=[64] * 4, in_index=[0, 1, 2, 3],
             input_transform='resize_concat'),
    )  # fmt: skip
    cfg.model.backbone = dict(
        type='VisionTransformer', img_size=(128, 128), patch_size=16, embed_dims=64,
        num_layers=4, num_heads=4, mlp_ratio=1, out_indices=(0, 1, 2, 3),
    )  # fmt: skip
    cfg.model.neck = dict(
        type='Feature2Pyramid', embed_dim=64, rescales=[4, 2, 1, 0.5],
        norm_cfg=dict(type='BN'),
    )  # fmt: skip
    words = r'its consumers take maps at strides \[16, 16, 16, 16\]'
    with pytest.raises(BadInput, match=words):
        swap(cfg, 'MSMLP', 'tiny', False)
