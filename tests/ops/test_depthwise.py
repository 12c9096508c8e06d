"""Gradients of depth-wise convolutions, also where wide filters go in strips."""

import pytest
import torch

from mmmsmlp.ops.mixshift.eager import depthwise as module
from mmmsmlp.ops.mixshift.eager.depthwise import depthwise, filter_grad, input_grad
from tests.helpers.features import needs

LAST = torch.channels_last


@pytest.mark.parametrize('size', [1, 3, 5, 7, 9, 11])
@pytest.mark.parametrize('height, width', [(9, 12), (1, 1), (2, 3), (14, 14)])
@pytest.mark.parametrize('channels', [5, 16, 77])
@pytest.mark.parametrize('memory_format', [LAST, torch.contiguous_format])
def test_gradients_are_those_of_autograd_in_float64(
    size, height, width, channels, memory_format
):
    torch.manual_seed(0)
    x = torch.randn(2, channels, height, width).to(memory_format=memory_format)
    grad = torch.randn_like(x)
    weight = torch.randn(channels, 1, size, size)
    exact = [tensor.double().requires_grad_() for tensor in (x, weight)]
    depthwise(*exact).backward(grad.double())

    torch.testing.assert_close(
        input_grad(grad, weight).double(), exact[0].grad, rtol=1e-5, atol=1e-4
    )
    torch.testing.assert_close(
        filter_grad(grad, x, size).double(), exact[1].grad, rtol=1e-5, atol=1e-4
    )


@pytest.mark.parametrize('size', [3, 5, 7])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_map_is_repeated_to_the_channels_of_the_gradient(size, dtype):
    torch.manual_seed(0)
    whole = torch.randn(2, 12, 6, 8, dtype=dtype).to(memory_format=LAST)
    x = whole[:, 3:7]  # a slice, as the operator passes
    grad = torch.randn(2, 8, 6, 8, dtype=dtype).to(memory_format=LAST)
    repeated = filter_grad(grad, x, size)
    halves = [filter_grad(half.contiguous(), x, size) for half in grad.chunk(2, 1)]
    torch.testing.assert_close(repeated, torch.cat(halves))


@pytest.mark.parametrize(
    'size, dtype, stripped',
    [
        (3, torch.float32, False),
        (5, torch.float32, True),
        (7, torch.float32, True),
        (7, torch.float64, False),
    ],
)
def test_only_wide_filters_of_onednn_go_in_strips(monkeypatch, size, dtype, stripped):
    calls = []
    in_strips = module._filter_grad_in_strips
    monkeypatch.setattr(
        module, '_filter_grad_in_strips', lambda *a: calls.append(a) or in_strips(*a)
    )
    x, grad = torch.randn(2, 1, 4, 6, 6, dtype=dtype).unbind(0)
    filter_grad(grad, x, size)
    assert bool(calls) == stripped


@needs('fill_empty')
@pytest.mark.parametrize('size', [5, 7])
def test_strips_read_no_memory_that_was_not_written(size, monkeypatch):
    torch.manual_seed(0)
    x, grad = torch.randn(2, 1, 4, 6, 6).unbind(0)
    monkeypatch.setattr(torch.utils.deterministic, 'fill_uninitialized_memory', True)
    torch.use_deterministic_algorithms(True)  # fills torch.empty with NaN
    try:
        assert filter_grad(grad, x, size).isfinite().all()
    finally:
        torch.use_deterministic_algorithms(False)
