"""Does gpu-check find what is wrong, keep what it has, and run in small on a CPU?"""

import json
import subprocess
import sys
import time

import pytest
import torch

from tests.helpers.commands import TOOLS, assert_fails
from tests.helpers.features import needs, needs_triton


@pytest.fixture(autouse=True)
def tools_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))


@pytest.fixture
def parts():
    from benchmarks import gpu_parts

    return gpu_parts


@pytest.fixture
def small():
    from benchmarks.gpu_scale import SMALL

    return SMALL


def result(device='cuda', **parts):
    """A result whose parts are (status, rows)."""
    found = {
        name: dict(status=status, seconds=1.0, rows=rows)
        for name, (status, rows) in parts.items()
    }
    return dict(device=device, parts=found)


def row(ok, bar=None, what='it'):
    return dict(what=what, result='0.5', ok=ok, value=0.5, bar=bar)


def every_bar(ok=True):
    bars = ['auto takes', 'of a copy']
    for section in 'inference', 'training':
        bars += [f'{section}, times as fast as {peer}' for peer in ('swin', 'convnext')]
    return [row(ok, 0.6, bar) for bar in bars]


RIGHT = dict(gate=('ok', [row(True)]), backbone=('ok', [row(True)]))


@pytest.mark.parametrize(
    ('found', 'starts', 'says'),
    [
        (
            result(**RIGHT, speed=('ok', every_bar())),
            'green',
            'the numbers are right; every bar of speed is reached',
        ),
        (
            result(**RIGHT, speed=('ok', every_bar()[:-1])),
            'green',
            'are right; not measured: training, times as fast as convnext',
        ),
        (
            result(**RIGHT, speed=('ok', every_bar(False))),
            'green',
            'are right; below its bar: auto takes, 0.5; of a copy, 0.5; ',
        ),
        (
            result(speed=('ok', [])),
            'green',
            'nothing wrong in speed; not run: path, gate, backbone, training, ',
        ),
        (
            result(**RIGHT | dict(gate=('ok', [row(None)]))),
            'green',
            'nothing wrong in backbone; not run: path, gate, speed, ',
        ),
        (
            result(**RIGHT, path=('left out: no time was left', [])),
            'amber',
            'the numbers are right; did not end: path left out: no time',
        ),
        (
            result(gate=('stopped after 3 s: no time was left', [row(True)])),
            'amber',
            'nothing was proved; not run: path, backbone, speed, ',
        ),
        (result(gate=('ok', [row(True), row(False)])), 'red', 'gate: it, 0.5'),
        (result(compile=('ok', [row(False)])), 'red', 'compile: it, 0.5'),
        (result(gate=('stopped after 9 s', [row(True)])), 'red', 'gate stopped'),
        (result(compile=('stopped after 9 s', [])), 'amber', 'compile'),
        (
            result(speed=('ok', every_bar(False)), compile=('stopped after 9 s', [])),
            'amber',
            'did not end: compile stopped after 9 s; below its bar: auto takes, 0.5; ',
        ),
        (
            result('cpu', gate=('stopped after 9 s: no time was left', [])),
            'amber',
            'no time was left; it says nothing about a GPU',
        ),
        (result('cpu', gate=('ok', [row(True)])), 'green', 'nothing about a GPU'),
    ],
)
def test_the_verdict(parts, found, starts, says):
    verdict = parts.verdict(found)
    assert verdict.startswith(f'{starts}: ') and says in verdict
    lines = parts.table(found).splitlines()
    rows = sum(len(part['rows']) for part in found['parts'].values())
    broken = sum(part['status'] != 'ok' for part in found['parts'].values())
    assert len(lines) == 2 + rows + broken


def test_a_part_at_its_limit_is_stopped_and_the_next_left_out():
    import gpu_check

    start = time.monotonic()
    part = gpu_check.supervise('backbone', 'cpu', start + 0.5)
    assert time.monotonic() - start < 30
    assert part['status'] == 'stopped after 0 s: no time was left'
    assert part['rows'] == [] and isinstance(part['log'], list)
    assert gpu_check.supervise('gate', 'cpu', start)['status'].startswith('left out')


def test_the_file_is_json_where_a_number_is_none(monkeypatch, tmp_path):
    import gpu_check

    nan = dict(status='ok', seconds=1.0, rows=[row(False) | dict(value=float('nan'))])
    monkeypatch.setattr(gpu_check, 'supervise', lambda *_: nan)
    monkeypatch.setattr(
        sys, 'argv', ['gpu_check', '--parts', 'gate', '--out', 'f.json']
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        gpu_check.main()
    assert ended.value.code == 1
    text = (tmp_path / 'f.json').read_text()
    assert 'NaN' not in text and json.loads(text)['verdict'].startswith('red')


@pytest.mark.full
@needs('half')
def test_wrong_numbers_make_red_rows(monkeypatch, small):
    """By the eager path in the kernels' place, which is right, and then is not."""
    from benchmarks import gpu_correct
    from mmmsmlp.ops.mixshift import eager

    used = gpu_correct.use_backend
    monkeypatch.setattr(
        gpu_correct, 'use_backend', lambda n: used('eager' if n == 'triton' else n)
    )
    (left_out,) = gpu_correct.gate(small)  # no kernels, no verdict on them
    assert 'left out: it needs a CUDA device' in left_out['result']
    monkeypatch.setattr(gpu_correct, '_why_no_kernels', lambda scale: None)
    assert all(row['ok'] for row in gpu_correct.gate(small))
    forward = eager.forward
    monkeypatch.setattr(eager, 'forward', lambda *a: forward(*a).roll(1, 2))
    rows = list(gpu_correct.gate(small))
    assert [row['ok'] for row in rows] == [False] * 6 + [True]  # twice the same, too
    assert all(row['ok'] is False for row in gpu_correct.backbone(small))


def test_a_peer_that_is_missing_is_a_row(monkeypatch, small):
    from benchmarks import gpu_speed

    def build(keys, *_):
        if keys == ['convnext']:
            raise ImportError('no mmpretrain')
        return []

    monkeypatch.setattr(gpu_speed, 'build_models', build)
    monkeypatch.setattr(gpu_speed, 'time_operator', lambda *_: [])
    monkeypatch.setattr(gpu_speed, 'time_backbones', lambda *_: [])
    monkeypatch.setattr(gpu_speed, 'weigh_backbones', lambda *_: [])
    for part in gpu_speed.inference, gpu_speed.training:
        (missing,) = part(small)
        told = missing['what'], missing['result'], missing['ok']
        assert told == ('convnext', 'left out: no mmpretrain', None)


def test_every_bar_is_known_to_the_verdict(parts, monkeypatch, small):
    """What the parts say of a bar is what the verdict looks for."""
    from benchmarks import gpu_correct, gpu_speed

    over = dict(swin=9.0, convnext=9.0)
    timed = dict(key='msmlp', label='it', shape='', layout='', images_per_s=1.0)
    copied = dict(key='msmlp', label='it', copy_share=0.9, stage_ms=[1.0])
    gpu = small._replace(device='cuda')
    monkeypatch.setattr(gpu_speed, '_subjects', lambda *_: ([], []))
    monkeypatch.setattr(gpu_speed, 'time_operator', lambda *_: [copied])
    monkeypatch.setattr(
        gpu_speed, 'time_backbones', lambda *_: [dict(timed, over=over)]
    )
    monkeypatch.setattr(gpu_speed, 'weigh_backbones', lambda *_: [])
    monkeypatch.setattr(gpu_correct, '_chosen', lambda *_: 'triton')
    path = [*gpu_correct.path(small)][:1]
    rows = [dict(path[0], ok=True), *gpu_speed.inference(gpu), *gpu_speed.training(gpu)]
    verdict = parts.verdict(result(**RIGHT, speed=('ok', rows)))
    assert verdict == 'green: the numbers are right; every bar of speed is reached'


@pytest.mark.full
@needs('whole_graph')
def test_speed_training_and_compiling_in_small(monkeypatch, small):
    from benchmarks import gpu_speed

    monkeypatch.setattr(gpu_speed, 'MODELS', ['msmlp', 'swin-torchvision'])
    tiny = small._replace(shape=(1, 32, 32))
    rows = [*gpu_speed.inference(tiny), *gpu_speed.training(tiny)]
    named = {row['what']: row for row in rows}
    assert named['MS-MLP-T, inference, 1x32x32, NCHW']['value'] > 0
    assert named['MS-MLP-T, training, 1x32x32, NCHW']['value'] > 0
    assert named['MS-MLP-T, peak memory of a step']['value'] > 10
    assert not any(row['ok'] is False for row in rows)
    errors = [row for row in gpu_speed.compiled(tiny) if 'numbers' in row['what']]
    assert len(errors) == 2 and all(row['ok'] for row in errors)
    (graph,) = gpu_speed.graphs(tiny)
    assert 'no GPU' in graph['result']


def test_a_gpu_that_is_not_there(run_tool, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert_fails(run_tool('gpu_check.py', '--device', 'cuda'), 'PyTorch sees no GPU')
    assert_fails(run_tool('gpu_check.py', '--out', 'no/where.json'), 'no folder no')


@pytest.mark.slow
@needs_triton
def test_the_whole_command_in_small(tmp_path):
    """The kernels in Triton's interpreter, and DDP and FSDP on two processes."""
    out = tmp_path / 'check.json'
    command = [sys.executable, '-m', 'mmmsmlp', 'gpu-check', '--device', 'cpu']
    command += ['--parts', 'path', 'gate', 'processes', '--out', str(out)]
    done = subprocess.run(
        command, cwd=TOOLS.parent, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'verdict: green: the check works, in small' in done.stdout
    assert f'file to attach to an issue: {out}' in done.stdout
    found = json.loads(out.read_text())
    rows = {name: part['rows'] for name, part in found['parts'].items()}
    assert [row['ok'] for row in rows['gate']] == [True] * 7
    checked = [row for row in rows['path'] if 'first call' in row['what']]
    assert checked and all(row['ok'] for row in checked)
    assert [row['what'].split(',')[0] for row in rows['processes']] == ['DDP', 'FSDP']
    assert all(row['ok'] for row in rows['processes'])
    assert found['machine']['versions']['torch'] == torch.__version__.split('+')[0]
