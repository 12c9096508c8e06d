"""The Triton kernels against the reference: on a GPU, or in Triton's interpreter.

Triton reads TRITON_INTERPRET when it is imported, so without a GPU one test runs this
file again in a process of its own.
"""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmmsmlp.ops import mix_shift, use_backend
from mmmsmlp.ops.mixshift import triton as kernels
from mmmsmlp.ops.mixshift.reference import mix_shift_reference
from mmmsmlp.ops.mixshift.spec import Filters, Groups
from tests.helpers.features import needs_triton
from tests.helpers.table2 import REGIONS as TABLE_2

INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
DEVICE = 'cpu' if INTERPRETED else 'cuda'
RUNS_HERE = INTERPRETED or torch.cuda.is_available()

pytestmark = needs_triton
on_the_device = pytest.mark.skipif(
    not RUNS_HERE, reason='runs in the process that test_in_the_interpreter starts'
)
both_orders = pytest.mark.parametrize('order', ['mix_shift', 'shift_mix'])

if INTERPRETED and kernels.no_triton() is None:
    # Its check of every integer operation doubles the time of these tests.
    from triton.runtime import interpreter

    builder = interpreter.interpreter_builder
    builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)


@pytest.mark.skipif(RUNS_HERE, reason='the tests of this file run directly')
@pytest.mark.parametrize(
    'tier',
    [
        pytest.param('not slow', marks=pytest.mark.full),
        pytest.param('slow', marks=pytest.mark.slow),
    ],
)
def test_in_the_interpreter(tier):
    command = [sys.executable, '-m', 'pytest', '-q', '-m', tier, __file__]
    done = subprocess.run(
        command,
        env={**os.environ, 'TRITON_INTERPRET': '1'},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert ' passed' in done.stdout


def make(widths, sizes, dtype=torch.float32, seed=0):
    """Random filters and biases of both branches: weights_h, biases_h, ..."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        value = torch.randn(*shape, generator=generator) / shape[-1]
        return value.to(DEVICE, dtype)

    filters = [
        [draw(c, 1, r, r) for c, r in zip(widths, sizes, strict=True)] for _ in 'hv'
    ]
    biases = [[draw(c) for c in widths] for _ in 'hv']
    return Filters(filters[0], biases[0], filters[1], biases[1])


def random(*shape, dtype=torch.float32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(DEVICE, dtype)


def kernel_results(x, grad_y, parameters, shift_dist, order):
    """y and every gradient as the kernels compute them."""
    groups = Groups.of(parameters.weights_h, shift_dist, order)
    y = kernels.forward(x, parameters, groups)
    grad_x, grads_h, grads_v, grads_bias = kernels.backward(
        grad_y, x, parameters, groups
    )
    return [y, grad_x, *grads_h, *grads_bias, *grads_v, *grads_bias]


def reference_results(x, grad_y, parameters, shift_dist, order, dtype=None):
    """y and every gradient by autograd of the reference, computed in ``dtype``."""

    def leaf(tensor):
        return tensor.detach().to(dtype or tensor.dtype).requires_grad_()

    x, parameters = leaf(x), [[leaf(p) for p in group] for group in parameters]
    with torch.backends.cudnn.flags(allow_tf32=False):
        groups = Groups.of(parameters[0], shift_dist, order)
        y = mix_shift_reference(x, Filters(*parameters), groups)
        inputs = [x, *(p for group in parameters for p in group)]
        grads = torch.autograd.grad(y, inputs, grad_y.to(y.dtype))
    return [y.detach(), *grads]


def check(x, widths, sizes, shift_dist, order, grad_y=None):
    parameters = make(widths, sizes)
    grad_y = random(*x.shape, seed=2) if grad_y is None else grad_y
    got = kernel_results(x, grad_y, parameters, shift_dist, order)
    want = reference_results(x, grad_y, parameters, shift_dist, order)
    for ours, theirs in zip(got, want, strict=True):
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


SMALL = dict(widths=[10, 6, 4], sizes=[1, 3, 1], shift_dist=[0, 1, -2])


@on_the_device
@both_orders
@pytest.mark.parametrize('batch', [1, 2])
def test_small_maps_and_groups_across_slabs(order, batch):
    """20 channels are a slab of two groups and one of two more, four of it empty."""
    check(random(batch, 20, 5, 3), **SMALL, order=order)


@on_the_device
@both_orders
@pytest.mark.parametrize('size', [(1, 1), (2, 2), (1, 3)])
def test_maps_smaller_than_shift_and_filter(order, size):
    check(random(2, 6, *size), [4, 2], [1, 5], [1, 4], order)


@on_the_device
def test_distances_of_table_9_beyond_the_map():
    check(random(1, 5, 3, 4), [1] * 5, [1, 1, 1, 3, 1], [0, 2, 5, 10, 17], 'mix_shift')


@on_the_device
@pytest.mark.parametrize('layout', ['channels_last', 'slice', 'expanded'])
def test_any_memory_layout(layout):
    x = {
        'channels_last': random(1, 20, 3, 4).to(memory_format=torch.channels_last),
        'slice': random(2, 24, 3, 9)[1:, 2:22, :, ::2],
        'expanded': random(1, 20, 3, 1).expand(1, 20, 3, 5),
    }[layout]
    check(x, **SMALL, order='mix_shift', grad_y=x.flip(1) * 0.5)


@on_the_device
def test_output_is_channels_last():
    groups = Groups((20,), (1,), (0,), 'mix_shift')
    y = kernels.forward(random(2, 20, 2, 3), make([20], [1]), groups)
    assert y.is_contiguous(memory_format=torch.channels_last)


@on_the_device
@both_orders
def test_as_an_operator_of_pytorch(order):
    """Through autograd, whose operators may not return views of one buffer."""
    x, parameters, rest = random(1, 20, 3, 4), make([10, 10], [1, 3]), ([0, 1], order)
    leaves = [x, *(p for group in parameters for p in group)]
    for leaf in leaves:
        leaf.requires_grad_()
    with use_backend('triton'):
        y = mix_shift(x, *parameters, *rest)
    grads = torch.autograd.grad(y, leaves, y.detach())
    want = reference_results(x, y.detach(), parameters, *rest)
    for ours, theirs in zip([y, *grads], want, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@on_the_device
@pytest.mark.slow
@both_orders
@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
def test_error_is_at_most_twice_that_of_pytorch(order, dtype):
    """The interpreter truncates to bfloat16 where a GPU rounds, so one unit in the last
    place is the bound there."""
    groups = dict(widths=[10, 6, 4], sizes=[1, 5, 3])
    x, grad_y = random(2, 20, 5, 6, dtype=dtype), random(2, 20, 5, 6, dtype=dtype)
    parameters, rest = make(**groups, dtype=dtype), ([0, 1, -2], order)
    exact = reference_results(x, grad_y, parameters, *rest, dtype=torch.float64)
    ours = kernel_results(x, grad_y, parameters, *rest)
    theirs = reference_results(x, grad_y, parameters, *rest)
    for mine, other, truth in zip(ours, theirs, exact, strict=True):
        if INTERPRETED and dtype == torch.bfloat16:
            torch.testing.assert_close(mine.double(), truth, rtol=2**-7, atol=1e-5)
            continue
        limit = 2 * (other.double() - truth).norm() + 1e-7 * truth.norm()
        assert (mine.double() - truth).norm() <= limit


@on_the_device
def test_two_backward_runs_are_bit_equal():
    x, grad_y, parameters = random(2, 16, 9, 40), random(2, 16, 9, 40), make([16], [3])
    first = kernel_results(x, grad_y, parameters, [1], 'mix_shift')
    second = kernel_results(x, grad_y, parameters, [1], 'mix_shift')
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@on_the_device
def test_old_triton_is_refused(monkeypatch):
    monkeypatch.setattr('triton.__version__', '3.5.1')
    assert ask().startswith('Triton is 3.5.1, and the kernels need 3.6 or newer')


@on_the_device
@both_orders
def test_no_uninitialised_memory_is_read(order):
    """Deterministic mode fills ``torch.empty`` with NaN."""
    x, parameters = random(1, 20, 5, 3), make(SMALL['widths'], SMALL['sizes'])
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3, device=DEVICE).isnan().all()
        got = kernel_results(x, x, parameters, SMALL['shift_dist'], order)
    finally:
        torch.use_deterministic_algorithms(False)
    assert not any(tensor.isnan().any() for tensor in got)


def chunks(channels):
    return [len(part) for part in torch.arange(channels).chunk(5)]


@on_the_device
@pytest.mark.slow
@both_orders
@pytest.mark.parametrize('sizes', TABLE_2, ids=['stage1', 'stage2', 'stage3', 'stage4'])
@pytest.mark.parametrize('channels', [20, 24])
def test_every_stage_of_table_2(order, sizes, channels):
    shift_dist = [0, 1, 2, 3, 4] if order == 'mix_shift' else [-2, -1, 0, 1, 2]
    check(random(1, channels, 5, 6), chunks(channels), sizes, shift_dist, order)


@on_the_device
@pytest.mark.slow
@both_orders
@pytest.mark.parametrize('channels', [48, 96])
def test_real_widths(order, channels):
    x = random(2, channels, 7, 7)
    check(x, chunks(channels), TABLE_2[0], [0, 1, 2, 3, 4], order)


def ask(x=None, weights=None):
    x = torch.zeros(1, 4, 2, 2, device=DEVICE) if x is None else x
    return kernels.unavailable(x, weights or [torch.zeros(4, 1, 3, 3, device=x.device)])


@on_the_device
def test_what_the_kernels_can_run():
    assert ask() is None


@on_the_device
@pytest.mark.parametrize(
    ('shape', 'filters', 'dtype', 'words'),
    [
        ((1, 4, 2, 2), (4, 1, 3, 3), torch.float64, 'float64'),
        ((0, 4, 2, 2), (4, 1, 3, 3), torch.float32, 'empty'),
        ((1, 4, 2, 2), (4, 4, 3, 3), torch.float32, 'full convolution'),
        ((1, 4, 2, 2), (4, 1, 13, 13), torch.float32, '13'),
    ],
)
def test_what_the_kernels_cannot_run(shape, filters, dtype, words):
    x = torch.zeros(shape, dtype=dtype, device=DEVICE)
    assert words in ask(x, [torch.zeros(filters, device=DEVICE)])


@on_the_device
def test_filters_on_another_device():
    assert 'meta' in ask(weights=[torch.zeros(4, 1, 3, 3, device='meta')])


@pytest.mark.skipif(INTERPRETED, reason='the interpreter runs on the CPU')
def test_a_tensor_on_the_cpu_is_refused():
    reason = ask(torch.zeros(1, 4, 2, 2))
    assert 'cpu' in reason and 'CUDA' in reason
