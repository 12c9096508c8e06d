"""The chunked channel MLP against the plain composition it stands in for."""

import pytest
import torch

from mmmsmlp.ops import mlp
from mmmsmlp.ops.mlp import ROWS as CHUNK
from mmmsmlp.ops.mlp import channel_mlp


@pytest.fixture(autouse=True)
def chunks_of_the_least_rows(monkeypatch):
    """As wide layers have them; a narrow layer's chunks are longer."""
    monkeypatch.setattr(mlp, 'HIDDEN', 0)


def test_a_narrow_layer_has_longer_chunks(monkeypatch):
    monkeypatch.undo()
    lengths = {
        hidden: [part.stop - part.start for part in mlp._chunks(10_000, hidden)]
        for hidden in (192, 384, 3072)
    }
    assert lengths[192] == [4096, 4096, 1808]
    assert lengths[384] == lengths[3072] == [2048] * 4 + [1808]


def make(batch=3, width=12, height=9, map_width=7, dtype=torch.float64):
    torch.manual_seed(0)

    def leaf(*shape):
        return torch.randn(*shape, dtype=dtype).requires_grad_()

    x, residual = (leaf(batch, width, height, map_width) for _ in 'xr')
    norm = leaf(width), leaf(width), 1e-6
    fc1 = leaf(2 * width, width), leaf(2 * width)
    fc2 = leaf(width, 2 * width), leaf(width)
    return x, residual, norm, fc1, fc2, leaf(width)


def run(arguments, keep=None):
    """Output, then the gradient of every tensor."""
    x, residual, norm, fc1, fc2, gamma = arguments
    y = channel_mlp(*arguments, keep)
    leaves = [x, residual, *norm[:2], *fc1, *fc2]
    leaves += [] if gamma is None else [gamma]
    torch.manual_seed(1)
    readout = torch.randn(y.shape, dtype=y.dtype)
    return [y, *torch.autograd.grad((y * readout).sum(), leaves)]


def run_plain(monkeypatch, *args):
    with monkeypatch.context() as patch:
        patch.setattr(mlp, 'is_eager_cpu', lambda x: False)
        return run(*args)


@pytest.mark.parametrize('keep', [None, [1.25, 0.0, 1.25]])
@pytest.mark.parametrize('scaled', [True, False])
def test_chunked_equals_plain(monkeypatch, scaled, keep):
    arguments = make()
    if not scaled:
        arguments = (*arguments[:-1], None)
    if keep is not None:
        keep = torch.tensor(keep, dtype=torch.float64).view(3, 1, 1, 1)
    for a, b in zip(
        run(arguments, keep), run_plain(monkeypatch, arguments, keep), strict=True
    ):
        torch.testing.assert_close(a, b)


def test_more_rows_than_a_chunk(monkeypatch):
    arguments = make(batch=1, width=4, height=2 * CHUNK // 16 + 1, map_width=16)
    assert arguments[0][0, 0].numel() > 2 * CHUNK
    for a, b in zip(run(arguments), run_plain(monkeypatch, arguments), strict=True):
        torch.testing.assert_close(a, b)


def test_inference_gives_the_numbers_of_training():
    arguments = make(batch=1, width=4, height=CHUNK // 16 + 1, map_width=16)
    with torch.no_grad():
        y = channel_mlp(*arguments)
    assert torch.equal(y, run(arguments)[0])


def test_the_hidden_layer_is_kept_once():
    """What training keeps: x, its residual's gradient aside, and one 4C-wide map."""
    arguments = make(dtype=torch.float32)
    kept = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        channel_mlp(*arguments)
    tokens, width = 3 * 9 * 7, 12
    parameters = sum(
        t.numel() for t in (*arguments[2][:2], *arguments[3], *arguments[4])
    )
    assert sum(kept.values()) <= tokens * (width + 2 * width) + parameters + width


def test_autocast_takes_the_plain_path():
    arguments = make(dtype=torch.float32)
    with torch.autocast('cpu', torch.bfloat16):
        y, *grads = run(arguments)
    assert y.dtype == torch.float32  # the residual's
    assert all(grad.isfinite().all() for grad in grads)
    exact = run(arguments)[0]
    assert 0 < (y - exact).abs().max() < 0.1 * exact.abs().max()


def test_inference_never_holds_the_whole_hidden_layer(monkeypatch):
    """no_grad with parameters that require gradients, as in any evaluation."""
    arguments = make(batch=1, width=4, height=4 * CHUNK // 16, map_width=16)
    biggest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal biggest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and not result._is_view():
                biggest = max(biggest, result.numel())
            return result

    with torch.no_grad(), Watch():
        channel_mlp(*arguments)
    assert biggest == max(CHUNK * 8, 4 * CHUNK * 4)  # a chunk of hidden, or the output
    with Watch():
        channel_mlp(*arguments)
    with torch.no_grad(), Watch():
        channel_mlp(*make(batch=1, width=4, height=CHUNK // 16, map_width=16))
    assert biggest == max(CHUNK * 8, 4 * CHUNK * 4)


def test_functional_gradients():
    """torch.func takes the plain path; its transforms know no hand-written backward."""
    arguments = make(batch=1, height=2, map_width=2)
    gamma = arguments[-1]

    def loss(scale):
        return channel_mlp(*arguments[:-1], scale).pow(2).sum()

    expected = torch.autograd.grad(loss(gamma), gamma)[0]
    torch.testing.assert_close(torch.func.grad(loss)(gamma.detach()), expected)


@pytest.mark.parametrize('trained', [(0,), (0, 5), (0, 7), (0, 9), (0, 2)])
def test_frozen_weights_cost_no_products(trained):
    """Of x and residual, norm, fc1, fc2 and gamma, by place, only some require one."""
    x, residual, norm, fc1, fc2, gamma = make()
    tensors = [x, residual, *norm[:2], None, *fc1, *fc2, gamma]
    names = range(10)
    expected = dict(zip([n for n in names if n != 4], run(make())[1:], strict=True))
    for n, tensor in enumerate(tensors):
        if tensor is not None:
            tensor.requires_grad_(n in trained)
    y = channel_mlp(x, residual, norm, fc1, fc2, gamma)
    torch.manual_seed(1)
    loss = (y * torch.randn(y.shape, dtype=y.dtype)).sum()
    inputs = [tensors[n] for n in trained]
    with torch.profiler.profile() as profile:
        grads = torch.autograd.grad(loss, inputs)
    for n, grad in zip(trained, grads, strict=True):
        torch.testing.assert_close(grad, expected[n])
    products = [event.name for event in profile.events()].count('aten::addmm_')
    products += [event.name for event in profile.events()].count('aten::addmm')
    assert products == (5 in trained) + (7 in trained or 9 in trained)
