"""Does any torch read what train.py writes, and does a run resume from it as before?"""

import os
import subprocess
import sys
from collections import OrderedDict, deque
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer, MessageHub

from mmmsmlp.engine import hooks
from mmmsmlp.engine.hooks import PlainCheckpointHook, to_plain
from tests.helpers.features import FEATURES

EVERYTHING = """
_base_ = '{config}'
train_cfg = dict(max_epochs=2)
custom_hooks = [dict(type='EMAHook')]
optim_wrapper = dict(clip_grad=dict(max_norm=5.0))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2),
                   dict(type='MultiStepLR', milestones=[1], by_epoch=True)]
default_hooks = dict(checkpoint=dict(
    interval=1, save_best='coco/bbox_mAP', published_keys=['meta', 'state_dict',
                                                           'message_hub']))
"""
READ = """
import sys, torch
for file in sys.argv[1:]:
    torch.load(file, weights_only=True)
assert sys.modules.keys().isdisjoint(['mmengine', 'mmmsmlp'])
"""


def read_by_stock_torch(*files):
    # PyTorch 2.1 warns of its own storages, whatever it loads.
    warnings = ['-W', 'error', '-W', 'ignore:TypedStorage is deprecated']
    command = [sys.executable, *warnings, '-c', READ, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, env={})
    assert done.returncode == 0, done.stderr[-1000:]


@pytest.mark.full
def test_every_file_of_a_run(run_tool, tiny_config, tmp_path):
    """With the hooks that add to it: averages, the best one, published ones."""
    config = tmp_path / 'everything.py'
    config.write_text(EVERYTHING.format(config=tiny_config))
    code, _, err = run_tool('train.py', config, '--work-dir', 'run')
    assert code == 0, err
    files = sorted(Path('run').glob('*.pth'))
    names = [path.name[:10] for path in files]
    assert names.count('best_coco_') == 2  # and published
    assert len([name for name in names if name.startswith('epoch_2-')]) == 1
    read_by_stock_torch(*files)
    content = torch.load('run/epoch_2.pth', weights_only=True)
    assert {'ema_state_dict', 'optimizer', 'param_schedulers'} <= content.keys()
    info = content['message_hub']['runtime_info']
    assert type(info['best_score']) is float and type(info['eta']) is float
    logs = content['message_hub']['log_scalars']
    assert len(logs['train/loss']['_log_history']) == 6
    assert content['state_dict']._metadata['backbone'] == {'version': 1}
    code, out, err = run_tool(
        'train.py', config, '--work-dir', 'run', '--resume', '--cfg-options',
        'train_cfg.max_epochs=3',
    )  # fmt: skip
    assert code == 0, err
    content = torch.load('run/epoch_3.pth', weights_only=True)
    loss = content['message_hub']['log_scalars']['train/loss']['_log_history']
    assert len(loss) == 9 and torch.equal(loss[:6], logs['train/loss']['_log_history'])


def as_mmengine_wrote(file, target):
    """The file as it was before, with log buffers and numpy's scalars in it."""
    content = torch.load(file, weights_only=True)
    PlainCheckpointHook().after_load_checkpoint(None, content)
    info = content['message_hub']['runtime_info']
    info['eta'] = np.float64(info['eta'])
    torch.save(content, target)
    with pytest.raises(Exception, match='Weights only load failed'):
        torch.load(target, weights_only=True)


def test_older_files_resume_likewise(run_tool, tiny_config, trained, tmp_path):
    ends = {}
    for name in 'plain', 'older':
        file = trained / 'epoch_1.pth'
        if name == 'older':
            file = tmp_path / 'older.pth'
            as_mmengine_wrote(trained / 'epoch_1.pth', file)
        code, out, err = run_tool(
            'train.py', tiny_config, '--work-dir', name, '--resume', file,
            '--cfg-options', 'train_cfg.max_epochs=2',
        )  # fmt: skip
        assert code == 0, err
        assert 'just skip' not in out + err
        ends[name] = torch.load(f'{name}/epoch_2.pth', weights_only=True)
        code, _, err = run_tool('test.py', tiny_config, file)
        assert code == 0, err
    plain, older = ends['plain'], ends['older']
    for key, tensor in plain['state_dict'].items():
        assert torch.equal(older['state_dict'][key], tensor), key
    logs = plain['message_hub']['log_scalars']
    for name in 'train/loss', 'train/lr':
        expected = logs[name]
        assert len(expected['_log_history']) == 6
        for key in '_log_history', '_count_history':
            assert torch.equal(
                older['message_hub']['log_scalars'][name][key], expected[key]
            )


def test_the_message_hub_comes_back(tmp_path):
    hub = MessageHub('before')
    for step in range(30):
        hub.update_scalar('train/loss', step * 0.1, count=step + 1)
        hub.update_scalar('train/count', step)
    hub.log_scalars['train/lr'] = HistoryBuffer([0.5], [1], max_length=7)
    hub._resumed_keys['train/lr'] = True
    hub.update_info('best_score', np.float32(0.25))
    hub.update_info('keep_ckpt_ids', [1, 2])
    hub.update_info('passing', 3, resumed=False)
    checkpoint = {'message_hub': hub.state_dict()}
    PlainCheckpointHook().before_save_checkpoint(None, checkpoint)
    torch.save(checkpoint, tmp_path / 'a.pth')
    checkpoint = torch.load(tmp_path / 'a.pth', weights_only=True)
    PlainCheckpointHook().after_load_checkpoint(None, checkpoint)
    again = MessageHub('after')
    again.load_state_dict(checkpoint['message_hub'])
    assert list(again.log_scalars) == list(hub.log_scalars)
    for name, buffer in hub.log_scalars.items():
        got = again.log_scalars[name]
        assert type(got) is HistoryBuffer and got.max_length == buffer.max_length
        for actual, expected in zip(got.data, buffer.data, strict=True):
            assert actual.dtype == expected.dtype and (actual == expected).all()
        assert got.statistics('mean', 10) == buffer.statistics('mean', 10)
    again.update_scalar('train/loss', 5.0)
    assert again.log_scalars['train/loss'].current() == 5.0
    assert again.runtime_info == {'best_score': 0.25, 'keep_ckpt_ids': [1, 2]}
    assert again._resumed_keys['train/loss'] is True


def test_what_becomes_plain(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(hooks, 'print_log', lambda line, **_: told.append(line))
    state = torch.nn.BatchNorm1d(2).state_dict()
    values = dict(
        state=state,
        palette=np.array([[1, 2], [3, 4]], dtype=np.uint8),
        classes=('a', np.str_('b')),
        config=ConfigDict(a=dict(b=[np.int64(3)])),
        queue=deque([1, 2]),
        path=Path('a/b'),
        flags={'x'},
        kept=[None, True, 2, 3.0, 'four', b'five', torch.Size([6]), torch.float16],
        ordered=OrderedDict([(np.int64(2), 'b'), (1, 'a')]),
    )
    plain = to_plain(deepcopy(values))
    # What the stock loader of an older PyTorch reads has no sets nor bytes in it.
    known = FEATURES['builtins'].here()
    stored = plain if known else dict(plain, flags=None, kept=None)
    torch.save(stored, tmp_path / 'plain.pth')
    read_by_stock_torch(tmp_path / 'plain.pth')
    assert plain['state'].keys() == state.keys()
    assert plain['state']._metadata == state._metadata
    assert plain['palette'] == [[1, 2], [3, 4]]
    assert plain['classes'] == ('a', 'b')
    assert plain['config'] == {'a': {'b': [3]}} and type(plain['config']) is dict
    assert plain['queue'] == [1, 2] and plain['path'] == os.path.join('a', 'b')
    assert plain['kept'] == values['kept'] and plain['flags'] == {'x'}
    assert list(plain['ordered'].items()) == [(2, 'b'), (1, 'a')]
    # A schedule's way to its next value, which OneCycleLR keeps as a function.
    assert to_plain([dict(step=1, a=told.append, b=to_plain)]) == [dict(step=1)]
    assert told == []
    odd = slice(3)
    for _ in range(2):
        assert to_plain({'meta': {'range': odd}}, 'checkpoint')['meta']['range'] is odd
    (line,) = told
    assert 'a slice at checkpoint.meta.range' in line


STOCK = """
import sys, warnings
from mmdet.apis import DetInferencer
inferencer = DetInferencer(weights=sys.argv[1], device='cpu', show_progress=False)
print(len(inferencer(sys.argv[2])['predictions'][0]['scores']))
"""


@pytest.mark.slow
def test_a_stock_inferencer_does_not_fall_back(trained, tiny_data, tmp_path):
    """Without our tools; mmengine says so where it loads unsafely."""
    command = [sys.executable, '-c', STOCK, trained / 'epoch_1.pth',
               tiny_data / 'images' / '1.png']  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'Could not safely load' not in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == '20'
