"""tools/convert_checkpoint.py: what it refuses, in one line and without a file."""

import os
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import _independent
from mmmsmlp import SwinTransformer
from mmmsmlp.run import convert
from tests.helpers.golden import load_golden
from tests.helpers.hostile import Runs
from tests.helpers.hosts import official_names

TOOL = 'convert_checkpoint.py'
SWIN = dict(embed_dims=24, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8], window_size=7)


def test_a_name_that_promises_another_format(run_tool):
    write(golden_weights())
    code, out, err = run_tool(TOOL, 'src.pth', 'dst.safetensors')
    assert code == 2 and 'name it .pth' in err and not Path('dst.safetensors').exists()


def test_a_geometry_that_the_file_contradicts(run_tool, tmp_path):
    write(golden_weights())
    assert run_tool(TOOL, 'src.pth', 'marked.pth')[0] == 0
    code, out, err = run_tool(TOOL, 'marked.pth', 'dst.pth', '--geometry', 'paper')
    assert code == 2 and 'leave out --geometry' in err and 'config' not in err


def test_code_in_a_pickle_leaves_no_trace(run_tool, tmp_path):
    weights = load_golden('msmlp_released_64x64').weights
    hostile = Runs(os.system, f'touch {tmp_path}/ran')
    for content in (hostile, {'model': weights, 'config': hostile}):
        torch.save(content, 'src.pth')
        check_refused(run_tool, ['system', 'no code in a checkpoint is run'])
    assert not (tmp_path / 'ran').exists()


def check_refused(run_tool, words, *options):
    before = set(os.listdir())
    code, out, err = run_tool(TOOL, 'src.pth', 'dst.pth', *options)
    assert code == 2 and err.startswith('error: ') and 'Traceback' not in out + err
    for word in words:
        assert word in err
    assert set(os.listdir()) == before


FOREIGN = {'stem.conv.weight': torch.ones(2, 2), 'fc.weight': torch.ones(2, 2)}


def golden_weights(**changes):
    weights = {**load_golden('msmlp_released_64x64').weights, **changes}
    return {key: tensor for key, tensor in weights.items() if tensor is not None}


def write(weights):
    torch.save({'model': weights}, 'src.pth')


def cut(weights):
    write(weights)
    file = Path('src.pth')
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


GAMMA, NORM = 'layers.2.blocks.0.gamma', 'layers.1.blocks.0.norm.bias'
BAD = {
    'missing': (lambda: None, ['src.pth does not exist']),
    'text': (lambda: Path('src.pth').write_text('404: not found'), ['a text file']),
    'truncated': (lambda: cut(golden_weights()), ['truncated']),
    'foreign': (lambda: write(FOREIGN), ['stem.conv', 'no layout']),
    'unknown': (
        lambda: write(golden_weights(**{'layers.0.x': torch.ones(1)})),
        ['layers.0.x', 'variant'],
    ),
    'incomplete': (
        lambda: write(golden_weights(**{GAMMA: None})),
        ['stages.2.blocks.0.gamma', 'whole MSMLP'],
    ),
    'shape': (
        lambda: write(golden_weights(**{NORM: torch.ones(5)})),
        ['stages.1.blocks.0.norm.bias is (5,)', '(48,) in the model'],
    ),
}


@pytest.mark.parametrize('kind', BAD)
def test_a_file_that_is_none(run_tool, kind):
    make, words = BAD[kind]
    make()
    check_refused(run_tool, words)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--family', 'swin'], ['msmlp layout', '--family swin']),
        (['--geometry', 'paper', '--shift-dist', '-1', '0'], ['from 0 up', '[-1, 0]']),
        (['--shift-dist', '0', '1'], ['describes no model', '2']),
    ],
)
def test_options_that_do_not_fit(run_tool, options, words):
    torch.save(golden_weights(), 'src.pth')
    check_refused(run_tool, words, *options)


def test_a_target_that_cannot_be_written(run_tool):
    torch.save(golden_weights(), 'src.pth')
    code, _, err = run_tool(TOOL, 'src.pth', 'src.pth')
    assert code == 2 and 'src.pth is the file that is read' in err
    code, _, err = run_tool(TOOL, 'src.pth', '.')
    assert code == 2 and 'is a folder' in err
    code, _, err = run_tool(TOOL, 'src.pth', 'src.pth/dst.pth')
    assert code == 2 and 'src.pth/dst.pth cannot be written' in err
    assert os.listdir() == ['src.pth']


def test_a_host_has_no_geometry_and_a_backbone_no_classes(run_tool):
    net = SwinTransformer(SWIN, out_indices=(3,))
    torch.save(official_names(net.state_dict()), 'src.pth')
    check_refused(run_tool, ['no mix-shift blocks'], '--geometry', 'released')
    check_refused(run_tool, ['holds no classifier'], '--task', 'cls')


def test_the_file_appears_whole_or_not_at_all(run_tool, monkeypatch):
    torch.save(golden_weights(), 'src.pth')
    Path('dst.pth').write_text('older')
    save = torch.save

    def full_disk(content, path):
        save(content, path)
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(convert.torch, 'save', full_disk)
    check_refused(run_tool, ['dst.pth cannot be written', 'No space left'])
    assert Path('dst.pth').read_text() == 'older'


def test_verify_fails_where_the_numbers_differ(run_tool, monkeypatch):
    torch.save(golden_weights(), 'src.pth')

    @contextmanager
    def wrong(net):
        scale = net.register_forward_hook(lambda *args: (args[-1][0] * 1.001,))
        with right(net), scale:
            yield net

    right = _independent.independent
    monkeypatch.setattr(_independent, 'independent', wrong)
    check_refused(run_tool, ['--verify', 'differ', 'no file was written'], '--verify')


def test_distances_of_the_files_own_config_are_named_as_such(run_tool):
    config = {'MODEL': {'SHIFT_DIST': [-2, -1, 0, 1, 2]}}
    torch.save({'model': golden_weights(), 'config': config}, 'src.pth')
    words = ['from 0 up', "SHIFT_DIST of the file's own config", '--shift-dist']
    check_refused(run_tool, words, '--geometry', 'paper')


@pytest.mark.parametrize('options', [(), ('--verify',)])
def test_weights_that_are_no_numbers(run_tool, options):
    torch.save(golden_weights(**{GAMMA: torch.full((96,), torch.nan)}), 'src.pth')
    said = 'src.pth holds NaN or infinity in 1 of '
    check_refused(run_tool, [said, 'stages.2.blocks.0.gamma. '], *options)
