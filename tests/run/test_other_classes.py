"""One's own checkpoint beside other classes: load_from, --resume and evaluation."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.helpers.commands import assert_fails

pytestmark = pytest.mark.full
CLASSES = """
_base_ = '{config}'
classes = dict(metainfo=dict(classes={classes}), {data})
train_dataloader = dict(dataset=classes)
val_dataloader = dict(dataset=classes)
test_dataloader = val_dataloader
model = dict(bbox_head=dict(num_classes={count}))
{more}
"""


def config_of(config, classes, data='', more=''):
    path = Path('classes.py').absolute()
    text = CLASSES.format(
        config=config, classes=classes, data=data, count=len(classes), more=more
    )
    path.write_text(text)
    return path


def test_load_from_says_which_tensors_stay_random(run_tool, tiny_config, trained):
    config = config_of(tiny_config, ('square',), more='optim_wrapper = dict('
                       'optimizer=dict(lr=0))')  # fmt: skip
    file = trained / 'epoch_1.pth'
    code, out, err = run_tool(
        'train.py', config, '--work-dir', 'run', '--cfg-options', f'load_from={file}'
    )
    assert code == 0, err
    (line,) = [line for line in (out + err).splitlines() if 'tensors of Retina' in line]
    assert 'another shape for 2: bbox_head.retina_cls.weight is (18, 16, 3, 3)' in line
    assert 'in the file and (9, 16, 3, 3) in the model' in line and 'WARNING' in line
    old, new = (
        torch.load(path, weights_only=True)['state_dict']
        for path in (file, 'run/epoch_1.pth')
    )
    same = [key for key in old if torch.equal(old[key], new[key])]
    assert len(same) == len(old) - 2


def test_resume_and_evaluation_name_the_tensors(run_tool, tiny_config, trained):
    config = config_of(tiny_config, ('square',))
    file = trained / 'epoch_1.pth'
    words = (
        'bbox_head.retina_cls.weight is (18, 16, 3, 3) in the file and (9, 16, 3, 3)'
    )
    resumed = run_tool('train.py', config, '--work-dir', 'run', '--resume', file)
    assert_fails(resumed, words, f'load_from={file}')
    assert_fails(run_tool('test.py', config, file, '--work-dir', 'test'), words)


def test_classes_at_other_places_are_refused(run_tool, tiny_config, trained, tiny_data):
    content = json.loads((tiny_data / 'boxes.json').read_text())
    config = config_of(tiny_config, ('bar', 'other'))
    result = run_tool('test.py', config, trained / 'epoch_1.pth')
    assert_fails(result, 'and bar would be taken for another class')
    content['categories'][0]['name'] = 'quadrangle'
    Path('renamed.json').write_text(json.dumps(content))
    shutil.copytree(tiny_data / 'images', 'images')
    file = str(Path('renamed.json').absolute())
    config = config_of(
        tiny_config, ('quadrangle', 'bar'),
        data=f"data_root={str(Path.cwd())!r}, ann_file='renamed.json'",
        more=f'test_evaluator = dict(ann_file={file!r})',
    )  # fmt: skip
    code, out, err = run_tool('test.py', config, trained / 'epoch_1.pth')
    assert code == 0, err
    assert 'has the classes square, bar; test_dataloader has quadrangle' in out + err


def test_a_checkpoint_of_nan_is_neither_evaluated_nor_resumed(
    run_tool, tiny_config, trained
):
    content = torch.load(trained / 'epoch_1.pth', weights_only=True)
    content['state_dict']['bbox_head.retina_cls.bias'][0] = torch.nan
    torch.save(content, 'nan.pth')
    words = 'nan.pth holds NaN or infinity in 1 of', 'bbox_head.retina_cls.bias'
    assert_fails(run_tool('test.py', tiny_config, 'nan.pth'), *words)
    resumed = run_tool(
        'train.py', tiny_config, '--work-dir', 'a', '--resume', 'nan.pth'
    )
    assert_fails(resumed, *words)
