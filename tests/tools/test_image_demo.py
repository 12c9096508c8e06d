"""tools/image_demo.py on real checkpoints of tiny models."""

import json
import shutil

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from PIL import Image

from tests.helpers.commands import assert_fails


def drawn(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_drawn(run_tool, tiny_config, tiny_data, trained, tmp_path):
    code, out, err = run_tool(
        'image_demo.py', tiny_data / 'images', tiny_config, trained / 'epoch_1.pth',
        '--out-dir', 'out', '--score-thr', '0',
    )  # fmt: skip
    assert code == 0, err
    lines = [line for line in out.splitlines() if line.endswith(' boxes')]
    assert lines == [f'{tiny_data}/images/{i}.png: 20 boxes' for i in (1, 2, 3)]
    assert drawn(tmp_path / 'out/vis') == ['1.png', '2.png', '3.png']
    before = np.asarray(Image.open(tiny_data / 'images/1.png'))
    after = np.asarray(Image.open(tmp_path / 'out/vis/1.png').convert('RGB'))
    assert before.shape == after.shape and (before != after).any()
    found = json.loads((tmp_path / 'out/preds/1.json').read_text())
    assert len(found['bboxes']) == len(found['scores']) == 20


def test_a_glob_without_predictions(
    run_tool, tiny_config, tiny_data, trained, tmp_path
):
    code, out, err = run_tool(
        'image_demo.py', tiny_data / 'images/[12].png', tiny_config,
        trained / 'epoch_1.pth', '--out-dir', 'out', '--no-save-pred',
        '--score-thr', '1', '--device', 'cpu',
    )  # fmt: skip
    assert code == 0, err
    assert [line.split()[-2] for line in out.splitlines() if 'boxes' in line] == [
        '0'
    ] * 2
    assert drawn(tmp_path / 'out/vis') == ['1.png', '2.png']
    assert not (tmp_path / 'out/preds').exists()


@pytest.mark.parametrize('other', ['b/same.png', 'a/same.jpg'])
def test_images_that_would_overwrite_each_other(run_tool, tiny_config, tmp_path, other):
    for name in ('a/same.png', other):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new('RGB', (8, 8)).save(tmp_path / name)
    code, out, err = run_tool('image_demo.py', '*/*', tiny_config, 'none.pth')
    assert code == 2 and 'a/same.png' in err and other in err and 'one name' in err


@pytest.mark.parametrize(
    ('option', 'value', 'words'),
    [
        ('--device', 'gpu', "'gpu' is not there"),
        ('--device', 'cuda:77', 'choose one of'),
        ('--score-thr', '-3', 'must be from 0 to 1, got -3'),
        ('--score-thr', 'high', 'high'),
    ],
)
def test_options_are_checked(run_tool, tiny_config, option, value, words):
    code, _, err = run_tool('image_demo.py', 'x.png', tiny_config, 'w', option, value)
    assert code == 2 and words in err and 'Traceback' not in err


def test_nothing_to_draw_says_what_is_looked_for(run_tool, tiny_config, tmp_path):
    (tmp_path / 'empty').mkdir()
    code, _, err = run_tool('image_demo.py', tmp_path / 'empty', tiny_config, 'w.pth')
    assert code == 2 and 'no image at' in err and '.webp' in err


BACKBONE = """
custom_imports = dict(imports=['mmmsmlp'], allow_failed_imports=False)
backbone = dict(
    type='mmmsmlp.MSMLP', shift_dist=(0, 1), out_indices={outputs},
    arch=dict(embed_dims=8, depths=[1, 1, 1, 1], mix_sizes=[[1, 3]] * 4), {more})
"""
SEGMENTATION = (
    BACKBONE.format(outputs=(1,), more='')
    + """
default_scope = 'mmseg'
model = dict(
    type='EncoderDecoder', backbone=backbone,
    data_preprocessor=dict(type='SegDataPreProcessor', size_divisor=32),
    decode_head=dict(type='FCNHead', in_channels=16, in_index=0, channels=8,
                     num_convs=1, num_classes=3, norm_cfg=dict(type='SyncBN')),
    test_cfg=dict(mode='whole'))
test_dataloader = dict(dataset=dict(type='BaseSegDataset', pipeline=[
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')]))
visualizer = dict(type='SegLocalVisualizer', name='visualizer',
                  vis_backends=[dict(type='LocalVisBackend')])
"""
)
CLASSIFICATION = (
    BACKBONE.format(outputs=(3,), more='gap_before_final_norm=True')
    + """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier', backbone=backbone,
    data_preprocessor=dict(num_classes=3, mean=[0] * 3, std=[255] * 3),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=64,
              loss=dict(type='CrossEntropyLoss')))
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImageFromFile'), dict(type='PackInputs')]))
"""
)


@pytest.fixture
def untrained(tmp_path):
    """Write a config and a checkpoint of its randomly initialised model."""

    def write(text, **meta):
        (tmp_path / 'config.py').write_text(text)
        cfg = Config.fromfile(str(tmp_path / 'config.py'))
        init_default_scope(cfg.default_scope)
        model = MODELS.build(cfg.model)
        content = dict(state_dict=model.state_dict(), meta=meta)
        torch.save(content, tmp_path / 'weights.pth')

    return write


def test_segmentation(run_tool, untrained, tiny_data, tmp_path, reads):
    names = dict(
        classes=('sky', 'sea', 'land'), palette=[[0, 0, 9], [0, 9, 0], [9] * 3]
    )
    untrained(SEGMENTATION, dataset_meta=names)
    shutil.copytree(tiny_data / 'images', 'images')
    code, out, err = run_tool(
        'image_demo.py', 'images', 'config.py', 'weights.pth', '--out-dir', 'out'
    )
    assert code == 0, err
    assert reads == {'weights.pth': 1}
    line = next(line for line in out.splitlines() if line.startswith('images/1.png'))
    assert set(line.split('classes: ')[1].split(', ')) <= set(names['classes'])
    files = ['1.png', '2.png', '3.png']
    assert drawn(tmp_path / 'out/vis') == drawn(tmp_path / 'out/preds') == files
    labels = np.asarray(Image.open(tmp_path / 'out/preds/1.png'))
    assert labels.shape == (48, 64) and labels.max() < 3


def test_segmentation_needs_class_names(run_tool, untrained, tiny_data):
    untrained(SEGMENTATION)
    code, _, err = run_tool(
        'image_demo.py', tiny_data / 'images', 'config.py', 'weights.pth'
    )
    assert code == 2 and 'does not say which classes it knows' in err


def test_classification(run_tool, untrained, tiny_data, tmp_path, reads):
    untrained(CLASSIFICATION, dataset_meta=dict(classes=('cat', 'dog', 'cow')))
    code, out, err = run_tool(
        'image_demo.py', tiny_data / 'images/2.png', 'config.py', 'weights.pth',
        '--out-dir', 'out',
    )  # fmt: skip
    assert code == 0, err
    assert reads == {'weights.pth': 1}
    line = next(line for line in out.splitlines() if '2.png: ' in line)
    assert line.split('2.png: ')[1].split(' (')[0] in ('cat', 'dog', 'cow')
    assert drawn(tmp_path / 'out/vis') == ['2.png']


def save(path, pixels):
    Image.fromarray(pixels).save(path)


def test_a_folder_of_odd_files(run_tool, tiny_config, tiny_data, trained, tmp_path):
    folder = tmp_path / 'odd'
    shutil.copytree(tiny_data / 'images', folder)
    gray = np.asarray(Image.open(folder / '1.png').convert('L'))
    save(folder / 'gray8.png', gray)
    save(folder / 'gray12.png', gray.astype(np.uint16) * 16)
    save(folder / 'gray16.png', gray.astype(np.uint16) * 257)
    save(folder / 'unit.tif', gray.astype(np.float32) / 255)
    save(folder / 'thin.png', np.full((1, 60, 3), 90, np.uint8))
    save(folder / 'thinner.png', np.full((1, 200, 3), 90, np.uint8))
    save(folder / 'thread.png', np.full((1, 9000, 3), 90, np.uint8))
    (folder / 'zero.jpg').write_bytes(b'')
    (folder / 'text.png').write_text('not a picture')
    half = (folder / '2.png').read_bytes()
    (folder / 'half.png').write_bytes(half[: len(half) // 2])
    code, out, err = run_tool(
        'image_demo.py', folder, tiny_config, trained / 'epoch_1.pth',
        '--out-dir', 'out', '--score-thr', '0',
    )  # fmt: skip
    assert code == 0, out + err
    names = ['1', '2', '3', 'gray12', 'gray16', 'gray8', 'thin', 'unit']
    assert drawn(tmp_path / 'out/vis') == [f'{name}.png' for name in names]
    tail = out.splitlines()[-6:]
    assert tail[0] == '5 of 13 could not be drawn:'
    for line, words in zip(
        tail[1:],
        ['half.png breaks off', 'text.png is no image',
         'thinner.png (200 x 1 pixels) cannot be resized', 'thread.png is so thin',
         'zero.jpg is a file of no bytes'],
        strict=True,
    ):  # fmt: skip
        assert words in line
    found = {
        name: json.loads((tmp_path / f'out/preds/{name}.json').read_text())['scores']
        for name in ('gray8', 'gray12', 'gray16', 'unit')
    }
    assert found['gray12'] == found['gray16'] == found['unit'] == found['gray8']
    assert sum('read by their range' in line for line in out.splitlines()) == 2


def test_nothing_that_can_be_drawn(run_tool, tiny_config, trained, tmp_path):
    (tmp_path / 'bad').mkdir()
    for name in 'ab':
        (tmp_path / 'bad' / f'{name}.png').write_bytes(b'?')
    result = run_tool('image_demo.py', 'bad', tiny_config, trained / 'epoch_1.pth')
    assert_fails(result, 'nothing was drawn', 'a.png is no image', 'b.png is no image')
