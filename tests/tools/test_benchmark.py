"""Does the benchmark measure what it says, and refuse what computes wrong numbers?"""

import json
import os
import sys
import time

import pytest
import torch

from mmmsmlp import MSMLP
from mmmsmlp.ops import mlp
from mmmsmlp.ops.mixshift import eager
from tests.helpers.commands import TOOLS, assert_fails
from tests.helpers.table2 import REGIONS

QUICK = ('benchmark.py', '--quick', '--threads', '1', '--device', 'cpu')


TIMED = dict(
    section='inference', size='t', shape='1x8x8', key='msmlp', label='it',
    layout='NCHW', ms=1.0, images_per_s=1.0, over={},
)  # fmt: skip


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
    chosen = result['machine']['chosen']
    assert f'chunks of {mlp.ROWS:,} tokens or more' in chosen and chosen in out
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
        assert all(row['copy_share'] > 0 for row in rows.values())
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
            for row in rows.values():
                assert row['of_limit'] == row['limit_ms'] / row['ms']
                assert sum(row['limit_by'].values()) == pytest.approx(row['limit_ms'])
    assert out.count('of limit') == 2 and out.count('of copy') == 2
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

    assert all(BASELINES.values()) and set(BASELINES) <= set(ZOO)


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


@pytest.mark.parametrize(
    ('content', 'arguments', 'words'),
    [
        ([1], [], 'it holds no object'),
        (dict(results=[]), [], "it has no 'machine'"),
        (dict(machine=[]), [], 'is no result that --out wrote: '),
        (dict(results=[TIMED]), ['--chart', 'c.png'], "it has no 'dtype'"),
        (dict(exported=[]), ['--chart', 'c.png'], 'no chart: the result is of --expor'),
    ],
)
def test_what_is_no_result_or_has_no_chart(
    run_tool, tmp_path, content, arguments, words
):
    machine = dict(
        cpu='a CPU', cores=2, threads=1, allocator='default', python='3', versions={}
    )
    if 'results' in content and arguments or 'exported' in content:
        content = dict(machine=machine) | content
    (tmp_path / 'r.json').write_text(json.dumps(content))
    assert_fails(run_tool('benchmark.py', '--read', 'r.json', *arguments), words)
    assert not (tmp_path / 'c.png').exists()


def test_what_cannot_be_drawn_is_not_measured(run_tool, monkeypatch):
    chart = '--chart', 'c.png'
    result = run_tool('benchmark.py', '--exported', 'none.onnx', *chart)
    assert_fails(result, '--chart', '--exported needs to go without it')
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    assert_fails(run_tool('benchmark.py', *chart), '--chart needs matplotlib')


def test_exported_models_of_one_name_are_told_apart():
    from benchmarks.exported import names_of

    names = names_of(['a/end2end.onnx', 'b/end2end.onnx', 'c/own.onnx', 'c/own.onnx'])
    assert names == {
        'a/end2end.onnx': 'a/end2end.onnx',
        'b/end2end.onnx': 'b/end2end.onnx',
        'c/own.onnx': 'own.onnx',
    }


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


def product_of(*sizes, batch=1):
    from benchmarks.limits import Product

    return Product(torch.float32, batch, *sizes)


def test_the_products_of_a_step_are_counted_by_hand():
    from benchmarks.limits import count_products

    first, second = torch.nn.Linear(8, 16), torch.nn.Linear(16, 4)
    x = torch.randn(2, 3, 8)
    forward = {product_of(6, 8, 16): 1, product_of(6, 16, 4): 1}
    with torch.no_grad():
        assert count_products(lambda: second(first(x))) == forward
    with torch.inference_mode():
        assert count_products(lambda: second(first(x))) == forward
    backward = {
        product_of(6, 4, 16): 1,  # to the input; the first layer's has no gradient
        product_of(4, 6, 16): 1,
        product_of(16, 6, 8): 1,
    }
    step = count_products(lambda: second(first(x)).sum().backward())
    assert step == forward | backward


def test_the_products_of_attention_and_convolutions_are_counted_by_hand():
    from benchmarks.limits import Convolution, count_products

    query, key = torch.randn(2, 3, 5, 8), torch.randn(2, 3, 7, 8)
    value = torch.randn(2, 3, 7, 8)
    attend = torch.nn.functional.scaled_dot_product_attention
    expected = {product_of(5, 8, 7, batch=6): 1, product_of(5, 7, 8, batch=6): 1}
    with torch.no_grad():
        assert count_products(lambda: attend(query, key, value)) == expected
        plain = count_products(lambda: (query @ key.mT).softmax(-1) @ value)
    assert plain == expected

    patches = torch.nn.Conv2d(3, 12, 4, stride=4)
    dense = torch.nn.Conv2d(12, 5, 3, padding=1)
    depthwise = torch.nn.Conv2d(5, 5, 3, groups=5)
    x = torch.randn(2, 3, 16, 20)
    found = count_products(lambda: depthwise(dense(patches(x))).sum().backward())
    shapes = (2, 12, 4, 5), (5, 12, 3, 3), (1, 1), (1, 1), (1, 1)
    assert found == {
        product_of(40, 48, 12): 1,
        product_of(48, 40, 12): 1,
        **{
            Convolution(torch.float32, *shapes, wanted): 1
            for wanted in ('output', 'input', 'weight')
        },
    }


def test_the_products_of_our_backbone_are_those_of_the_straightforward_one(
    straightforward,
):
    from benchmarks.limits import count_products

    backbone = small_msmlp('released')
    baseline = straightforward.StraightforwardMSMLP(backbone, torch.channels_last)
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        ours, theirs = (count_products(lambda m=m: m(x)) for m in (backbone, baseline))
    assert ours == theirs and ours.total() == 4 + 2 * 5
    assert ours[product_of(16 * 24, 20, 80)] == 1
    assert ours[product_of(4 * 6, 80, 320)] == 2
    assert ours[product_of(4 * 6, 320, 80)] == 2
    ours, theirs = (
        count_products(lambda m=m: sum(y.sum() for y in m(x)).backward())
        for m in (backbone, baseline)
    )
    sizes = [sum(c * w.m * w.k * w.n for w, c in n.items()) for n in (ours, theirs)]
    assert sizes[0] == sizes[1] and ours.total() == theirs.total()


def test_the_limit_is_the_fastest_library_as_often_as_the_shape_occurs(monkeypatch):
    from benchmarks import limits
    from benchmarks.settings import Settings

    def clock(calls, rounds, device, min_time):
        for call in calls.values():
            assert call().numel() in (3 * 5, 2 * 3 * 7)
        return {name: [9.0 if name == 'mm' else 2.0, 1.0, 4.0] for name in calls}

    monkeypatch.setattr(limits, 'interleave', clock)
    limits.fastest.cache_clear()
    settings = Settings('t', (1, 8, 8), 'cpu', torch.float32, 3, 0)
    found = {product_of(3, 4, 5): 2, product_of(3, 4, 7, batch=2): 3}
    limit = limits.limit_of(found, settings)
    assert limit == {
        'limit_ms': 1e3 * 5 * 2.0,
        'limit_by': {'mm, transposed': 4e3, 'bmm': 6e3},
    }
    limits.fastest.cache_clear()


class OneMap(torch.nn.Sequential):
    def forward(self, x):
        return (super().forward(x),)


def limited(section, model, shape, rounds, min_time):
    from benchmarks import limits
    from benchmarks.backbones import time_backbones
    from benchmarks.models import NHWC, Subject
    from benchmarks.settings import Settings

    model = OneMap(*model).to(memory_format=torch.channels_last)
    subject = Subject('model', 'a model', NHWC, model)
    settings = Settings('t', shape, 'cpu', torch.float32, rounds, min_time)
    rows = list(time_backbones(section, [subject], settings))
    limits.fastest.cache_clear()
    limits.add_limits(rows, [subject], settings)
    limits.fastest.cache_clear()
    return rows[0]


@pytest.mark.parametrize(('section', 'products'), [('inference', 2), ('training', 5)])
def test_the_limit_of_a_model_is_a_share_of_its_time(monkeypatch, section, products):
    from benchmarks import limits
    from benchmarks.settings import Settings

    def times(settings, calls, *_):
        return dict.fromkeys(calls, [5.0])

    def clock(calls, *_):
        return dict.fromkeys(calls, [0.25])

    monkeypatch.setattr(limits, 'interleave', clock)
    monkeypatch.setattr(Settings, 'time', times)
    conv = torch.nn.Conv2d
    model = conv(3, 16, 4, 4), conv(16, 16, 3, groups=16), conv(16, 8, 3, padding=1)
    row = limited(section, model, (2, 32, 32), 1, 0)
    assert row['ms'] == 5000 and row['limit_ms'] == 250 * products
    assert row['of_limit'] == 0.05 * products
    assert sum(row['limit_by'].values()) == 250 * products


def test_nothing_but_products_is_near_its_limit(monkeypatch):
    """By the time of this process: what others on the machine take is not in it."""
    from benchmarks import timing

    monkeypatch.setattr(timing.time, 'perf_counter', time.process_time)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        layers = torch.nn.Linear(2048, 256), torch.nn.Linear(256, 256)
        row = limited('inference', layers, (1, 256, 2048), 5, 0.02)
    finally:
        torch.set_num_threads(threads)
    assert 0.6 < row['of_limit'] < 1.15


def test_a_copy_of_the_map_is_the_operators_measure(monkeypatch):
    from benchmarks.operators import time_operator
    from benchmarks.settings import Settings

    def times(self, calls):
        return {key: [1.0 if key == 'copy' else 8.0] for key in calls}

    monkeypatch.setattr(Settings, 'time', times)
    settings = Settings('t', (1, 32, 32), 'cpu', torch.float32, 1, 0)
    for section, share in (('forward', 1 / 8), ('forward+backward', 2.5 / 8)):
        for row in time_operator(f'operator {section}', settings):
            assert row['copy_share'] == pytest.approx(share)
