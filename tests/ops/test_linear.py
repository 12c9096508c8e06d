"""The linear layer gives F.linear's numbers, and the faster library where it can."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from mmmsmlp.ops import linear
from mmmsmlp.ops.mlp import channel_mlp
from mmmsmlp.ops.torch_private import ONEDNN_LINEAR


def tensors(*shape, width=24, bias=True):
    torch.manual_seed(0)
    x, weight = torch.randn(*shape), torch.randn(width, shape[-1])
    return x, weight, torch.randn(width) if bias else None


def calls_of_onednn(function):
    """How often oneDNN's product ran, and the result."""
    with torch.profiler.profile() as profile:
        result = function()
    names = [event.name for event in profile.events()]
    return names.count('mkldnn::_linear_pointwise'), result


@pytest.mark.parametrize('gelu', [False, True])
@pytest.mark.parametrize('bias', [False, True])
@pytest.mark.parametrize('shape', [(1, 7), (5, 16), (2, 3, 4, 16)])
def test_numbers(shape, bias, gelu):
    x, weight, b = tensors(*shape, bias=bias)
    exact = F.linear(x.double(), weight.double(), b if b is None else b.double())
    exact = F.gelu(exact) if gelu else exact
    with torch.no_grad():
        fast = linear(x, weight, b, gelu)
    recorded = linear(x, weight.requires_grad_(), b, gelu)
    for y in (fast, recorded):
        assert y.shape == exact.shape and y.dtype == torch.float32
        torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=1e-5)
    assert recorded.requires_grad and not fast.requires_grad


@pytest.mark.skipif(ONEDNN_LINEAR is None, reason='this PyTorch has no oneDNN product')
def test_who_computes():
    x, weight, bias = tensors(5, 16)
    with torch.no_grad():
        assert calls_of_onednn(lambda: linear(x, weight, bias, True))[0] == 1
        double = x.double(), weight.double(), bias.double()
        assert calls_of_onednn(lambda: linear(*double))[0] == 0
        with torch.autocast('cpu', torch.bfloat16):
            count, y = calls_of_onednn(lambda: linear(x, weight, bias))
        assert count == 0 and y.dtype == torch.bfloat16
        with torch.backends.mkldnn.flags(enabled=False):  # the user's word
            assert calls_of_onednn(lambda: linear(x, weight, bias))[0] == 0
    weight.requires_grad_()
    assert calls_of_onednn(lambda: linear(x, weight, bias))[0] == 0


# A shape a stage, narrow and small: oneDNN has other kernels for large products.
INTERRUPTED = """
import signal, time, torch
from mmmsmlp.ops import linear

torch.manual_seed(0)
torch.set_num_threads(1)
layers = [
    (torch.rand(n, c), torch.rand(4 * c, c), torch.rand(c, 4 * c))
    for c, n in ((40, 1152), (80, 288), (160, 72), (320, 18))
]
caught = []
signal.signal(signal.SIGALRM, lambda *_: caught.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
stop = time.monotonic() + 8
with torch.no_grad():
    while time.monotonic() < stop:
        for x, first, second in layers:
            linear(linear(x, first, gelu=True), second)
signal.setitimer(signal.ITIMER_REAL, 0)
assert len(caught) > 100, len(caught)
"""


@pytest.mark.full
@pytest.mark.posix
def test_a_signal_leaves_memory_alone():
    debugging = 'PYTHONFAULTHANDLER', 'PYTHONDEVMODE'  # they set up a stack, too
    env = {key: value for key, value in os.environ.items() if key not in debugging}
    command = [sys.executable, '-c', INTERRUPTED]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_strided_weight():
    x, weight, bias = tensors(6, 16, width=48)
    with torch.no_grad():
        for part in (weight[16:], weight.t().contiguous().t()):
            y = linear(x, part, bias[: len(part)])
            expected = F.linear(x, part, bias[: len(part)])
            torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


def test_operations_are_counted_alike():
    from torch.utils.flop_counter import FlopCounterMode

    import mmmsmlp.ops.flops  # noqa: F401  registers the formulas

    x, weight, bias = tensors(2, 5, 16)
    for context in (torch.no_grad(), torch.enable_grad()):
        with FlopCounterMode(display=False) as counter, context:
            linear(x, weight, bias, True)
        assert counter.get_total_flops() == 2 * 2 * 5 * 16 * 24


def test_inference_of_the_channel_mlp_is_its_training_forward():
    torch.manual_seed(0)
    x, residual = torch.randn(2, 16, 9, 7), torch.randn(2, 16, 9, 7)
    norm = torch.rand(16), torch.randn(16), 1e-6
    fc1 = torch.randn(64, 16, requires_grad=True), torch.randn(64)
    fc2 = torch.randn(16, 64), torch.randn(16)
    arguments = x, residual, norm, fc1, fc2, torch.rand(16)
    trained = channel_mlp(*arguments)
    with torch.no_grad():
        inferred = channel_mlp(*arguments)
    assert trained.requires_grad
    torch.testing.assert_close(inferred, trained.detach(), rtol=1e-5, atol=1e-5)
