"""Does the benchmark measure what it says, and refuse what computes wrong numbers?"""

import json
import os
import sys

import pytest
import torch

from mmmsmlp import MSMLP
from mmmsmlp.ops.mixshift import eager
from tests.helpers.commands import TOOLS
from tests.helpers.table2 import REGIONS

QUICK = ('benchmark.py', '--quick', '--threads', '1', '--device', 'cpu')


@pytest.fixture(autouse=True)
def tools_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))


@pytest.fixture
def straightforward():
    from benchmarks.baselines import straightforward

    return straightforward


def small_msmlp(geometry):
    arch = dict(embed_dims=20, depths=[1, 1, 2, 1], mix_sizes=[REGIONS[0]] * 4)
    torch.manual_seed(0)
    return MSMLP(arch, geometry, layer_scale_init_value=0.5)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_the_baseline_shares_the_weights_and_gives_the_same_numbers(
    straightforward, layout
):
    backbone = small_msmlp('released')
    baseline = straightforward.StraightforwardMSMLP(backbone, layout)
    assert {id(p) for p in baseline.parameters()} == {
        id(p) for p in backbone.parameters()
    }
    x = torch.randn(2, 3, 70, 45)
    weights = [torch.randn_like(y) for y in backbone(x)]
    results = []
    for model in (backbone, baseline):
        outputs = model(x)
        grads = torch.autograd.grad(outputs, list(backbone.parameters()), weights)
        results.append([*outputs, *grads])
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-3)


def test_the_baseline_refuses_the_geometry_that_was_never_released(straightforward):
    with pytest.raises(ValueError, match="geometry='released'"):
        straightforward.StraightforwardMSMLP(small_msmlp('paper'))


@pytest.fixture
def measured(run_tool, tmp_path):
    out, chart = tmp_path / 'sub' / 'result.json', tmp_path / 'chart.svg'
    result = run_tool(
        *QUICK, '--shapes', '1x32x64', '--models', 'msmlp', 'straightforward',
        '--out', out, '--chart', chart,
    )  # fmt: skip
    return result, out, chart


@pytest.mark.full
def test_a_quick_run_writes_every_section(measured, run_tool, tmp_path):
    (code, out, _), path, chart = measured
    assert code == 0
    result = json.loads(path.read_text())
    assert result['dtype'] == 'float32'
    assert result['machine']['threads'] == 1
    assert result['machine']['versions']['torch'] in torch.__version__
    assert len(result['gate']) == 34
    assert all(check['error'] <= check['limit'] for check in result['gate'])
    sections = {}
    for row in result['results']:
        assert (row['size'], row['shape']) == ('t', '1x32x64')
        sections.setdefault(row['section'], {})[row['key']] = row
    for section in ('operator forward', 'operator forward+backward'):
        rows = sections.pop(section)
        assert set(rows) >= {'msmlp', 'msmlp-released', 'straightforward'}
        assert rows['straightforward']['stage_over'] == [1, 1, 1, 1]
        stages = torch.tensor(rows['msmlp']['stage_over'])
        mean = rows['msmlp']['over']['straightforward']
        assert mean == pytest.approx(stages.log().mean().exp().item())
    assert set(sections) == {'inference', 'training', 'memory'}
    for section, rows in sections.items():
        ours, theirs = rows['msmlp'], rows['straightforward']
        if section == 'memory':
            share = ours['mb'] / theirs['mb']
            assert ours['of']['straightforward'] == pytest.approx(share)
            # Every gradient of 28 M parameters in float32, and some activations.
            assert 110 < ours['mb'] < 150
        else:
            ratio = ours['over']['straightforward']
            assert ratio == pytest.approx(theirs['ms'] / ours['ms'])
            assert ours['images_per_s'] == pytest.approx(1e3 / ours['ms'])
    assert '<svg' in chart.read_text()
    again = tmp_path / 'again.png'
    code, reprinted, _ = run_tool('benchmark.py', '--read', path, '--chart', again)
    assert (code, reprinted) == (0, out)
    assert again.read_bytes().startswith(b'\x89PNG')


@pytest.mark.full
@pytest.mark.parametrize(
    ('name', 'where'), [('forward', 'output'), ('backward', 'gradient of x')]
)
def test_a_wrong_path_is_never_timed(run_tool, monkeypatch, tmp_path, name, where):
    right = getattr(eager, name)

    def wrong(*args):
        result = right(*args)
        first = result if name == 'forward' else result[0]
        first[..., -1, -1] += 0.01
        return result

    monkeypatch.setattr(eager, name, wrong)
    out = tmp_path / 'result.json'
    code, printed, err = run_tool(*QUICK, '--sections', 'inference', '--out', out)
    assert code == 1
    assert printed == ''
    assert 'the gate is red' in err
    assert f'RED operator, paper, T stage 1, float32, {where}: error' in err
    assert not out.exists()


def test_every_baseline_has_a_column_title():
    from benchmarks.models import BASELINES, ZOO
    from benchmarks.report import TITLES

    assert set(BASELINES) == set(TITLES) and set(BASELINES) <= set(ZOO)


def test_not_a_number_is_red():
    from benchmarks.gate import Check, worst

    one, broken = torch.ones(3), torch.tensor([1, float('nan'), 1])
    assert not Check('x', worst([one, broken], [one, one]), 1e9).green
    assert Check('x', worst([one, one + 0.25], [one, one]), 0.25).green


def test_peak_memory_counts_what_lives_at_once():
    from benchmarks.memory import peak_bytes

    held_before = torch.empty(1000, 1000)

    def call():
        kept = torch.empty(1000, 100)
        for _ in range(3):  # one after another: only one lives beside the kept one
            passing = torch.empty(1000, 50)
            del passing
        return kept, torch.empty(1000, 20)

    assert peak_bytes(call, 'cpu') == 4 * 1000 * (100 + 50)
    assert peak_bytes(lambda: held_before.mul_(held_before), 'cpu') == 0


def test_peak_memory_of_a_training_step_by_hand():
    from benchmarks.memory import peak_bytes

    weight = torch.randn(256, 512, requires_grad=True)
    x, grad = torch.randn(64, 512), torch.randn(64, 256)

    def step():
        (x @ weight.t()).backward(grad)
        weight.grad = None

    output, gradient = 4 * 64 * 256, 4 * 256 * 512
    peak = peak_bytes(step, 'cpu')
    assert gradient <= peak <= gradient + output
    assert peak == peak_bytes(step, 'cpu')


def test_rounds_are_interleaved_and_change_direction():
    from benchmarks.timing import interleave

    seen = []
    calls = {name: lambda name=name: seen.append(name) for name in 'abc'}
    times = interleave(calls, 2, 'cpu', min_time=0)
    assert ''.join(seen) == 'abc' + 'abc' + 'cba'
    assert [len(samples) for samples in times.values()] == [2, 2, 2]


def test_a_ratio_is_taken_within_its_round():
    from benchmarks.timing import speed_over

    # The machine is three times slower in the second round.
    times = {'ours': [1.0, 3.0, 1.0], 'theirs': [2.0, 6.0, 2.0]}
    assert speed_over(times, 'ours', 'theirs') == 2
    assert speed_over(times, 'theirs', 'ours') == 0.5


def test_the_better_layout_counts(monkeypatch):
    from benchmarks.backbones import better_layouts
    from benchmarks.models import Subject
    from benchmarks.settings import Settings

    alone, slow, fast = (
        Subject(key, key, layout, torch.nn.Identity())
        for key, layout in [('a', 'NCHW'), ('b', 'NCHW'), ('b', 'channels_last')]
    )
    samples = {slow: [3.0, 2.0], fast: [9.0, 1.0]}  # 9 is a hiccup
    monkeypatch.setattr(Settings, 'time', lambda self, calls, rounds: samples)
    settings = Settings('t', (1, 8, 8), 'cpu', torch.float32, 1, 0)
    calls = dict.fromkeys([alone, slow, fast])
    assert better_layouts(calls, settings) == [alone, fast]


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (('--shapes', '8x224'), ['8x224', 'BATCHxHEIGHTxWIDTH']),
        (('--rounds', '0'), ["'0'", '> 0']),
        (('--models', 'resnet18'), ['resnet18', 'resnet50']),
        (('--read', 'missing.json'), ['missing.json', '--out']),
    ],
)
def test_bad_input_ends_with_2(run_tool, arguments, words):
    code, out, err = run_tool('benchmark.py', *arguments)
    assert (code, out) == (2, '')
    assert 'Traceback' not in err
    for word in words:
        assert word in err


def test_the_allocator_is_named_and_set_by_a_fresh_start(monkeypatch):
    from benchmarks import machine

    for name in list(os.environ):
        if name.startswith('MALLOC_') or name in ('LD_PRELOAD', 'GLIBC_TUNABLES'):
            monkeypatch.delenv(name)
    assert machine.allocator() == 'default'
    started = []
    monkeypatch.setattr(os, 'execve', lambda *call: started.append(call))
    machine.use_allocator(None)
    machine.use_allocator('default')
    assert started == []
    monkeypatch.setattr(sys, 'argv', ['tools/benchmark.py', '--quick'])
    machine.use_allocator('tuned')
    program, arguments, environment = started.pop()
    assert program == sys.executable
    assert arguments == [sys.executable, 'tools/benchmark.py', '--quick']
    for name, value in machine.TUNED.items():
        assert environment[name] == value
        monkeypatch.setenv(name, value)
    assert machine.allocator() == 'tuned'
    monkeypatch.setenv('MALLOC_ARENA_MAX', '1')
    assert 'MALLOC_ARENA_MAX=1' in machine.allocator()


@pytest.mark.slow
@pytest.mark.parametrize('size', ['t', 'b'])
def test_every_model_of_the_zoo_builds_and_trains(size):
    from benchmarks.models import ZOO, build

    widths = dict(t=[96, 192, 384, 768], b=[128, 256, 512, 1024])[size]
    for key, entry in ZOO.items():
        if size not in entry.sizes:
            continue
        for subject in build(key, size, 'cpu'):
            x = torch.randn(1, 3, 64, 64)
            subject.model.train()
            outputs = subject.model(x)
            sum(y.square().mean() for y in outputs).backward()
            if key == 'resnet50':
                widths_of_key = [256, 512, 1024, 2048]
            elif key == 'swin-torchvision':
                widths_of_key = []
                assert outputs[0].shape == (1, 2, 2, widths[-1])
                outputs = []
            else:
                widths_of_key = widths
            sides = [16, 8, 4, 2]
            assert [tuple(y.shape) for y in outputs] == [
                (1, width, side, side)
                for width, side in zip(widths_of_key, sides, strict=False)
            ]
            assert all(p.grad is not None for p in subject.model.parameters())
