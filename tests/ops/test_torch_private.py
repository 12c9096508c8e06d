"""Private names of PyTorch: which release has which, and what is done without them."""

import importlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmmsmlp.ops import linear, mix_shift, torch_private

# The first release that has a name, or None for all that were tried.
TRIED = '2.1', '2.2', '2.3', '2.4', '2.6', '2.11'
HAS = {
    'torch.ops.mkldnn._linear_pointwise': None,
    'torch._C._are_functorch_transforms_active': None,
    'torch._C._len_torch_dispatch_stack': None,
    'torch._C._dispatch_keys': None,
    'torch._foreach_copy_': None,
    'torch.autograd.forward_ad._current_level': None,
    'torch.nn.modules.module._global_forward_hooks': None,
    'torch.compiler.is_compiling': '2.3',
    'torch.get_autocast_dtype': '2.4',
    'torch.library.custom_op': '2.4',
}
RELEASE = '.'.join(torch.__version__.split('.')[:2])


def find(name):
    value = torch
    for part in name.split('.')[1:]:
        value = getattr(value, part, None)
    return value


@pytest.mark.parametrize('name', HAS)
def test_which_release_has_which(name):
    if RELEASE not in TRIED:
        pytest.skip(f'nobody looked at PyTorch {RELEASE}')
    since = HAS[name] or '2.1'
    assert (find(name) is not None) == (TRIED.index(RELEASE) >= TRIED.index(since))


@pytest.fixture
def without(monkeypatch):
    """The module as it loads in a PyTorch that lacks a name."""

    def load(name):
        owner, _, last = name.rpartition('.')
        monkeypatch.delattr(find(owner), last)
        return importlib.reload(torch_private)

    yield load
    monkeypatch.undo()
    importlib.reload(torch_private)


def test_without_the_question_for_transforms_all_is_composed(without):
    module = without('torch._C._are_functorch_transforms_active')
    assert module.is_transformed() and not module.is_eager_cpu(torch.ones(1))


def test_without_the_count_of_modes_a_call_is_observed(without):
    with torch.no_grad():
        assert torch_private.is_unobserved(torch.ones(1))
        module = without('torch._C._len_torch_dispatch_stack')
        assert not module.is_unobserved(torch.ones(1))


def test_without_the_batched_copy_tensors_are_copied_one_by_one(without):
    module = without('torch._foreach_copy_')
    targets, sources = [torch.zeros(2), torch.zeros(3)], [torch.ones(2), torch.rand(3)]
    module.foreach_copy(targets, sources)
    assert all(map(torch.equal, targets, sources))


def test_without_dispatch_keys_every_backward_pass_is_composed(without):
    with torch.no_grad():
        assert not torch_private.is_watched_backward(torch.ones(1))
        module = without('torch._C._dispatch_keys')
        assert module.is_watched_backward(torch.ones(1))


def test_without_autocast_by_device(monkeypatch):
    """Before PyTorch 2.4 a CPU's precision has a function of its own."""
    assert torch_private.autocast_dtype('cpu') is None
    with torch.autocast('cpu', torch.bfloat16):
        assert torch_private.autocast_dtype('cpu') == torch.bfloat16
        assert torch_private.autocast_dtype('meta') is None
        monkeypatch.delattr(torch, 'get_autocast_dtype', raising=False)
        assert torch_private.autocast_dtype('cpu') == torch.bfloat16
    assert torch_private.autocast_dtype('cpu') is None


def test_without_onednns_product(monkeypatch):
    x, weight = torch.randn(3, 4), torch.randn(5, 4)
    monkeypatch.setattr('mmmsmlp.ops.fast_linear.ONEDNN_LINEAR', None)
    with torch.no_grad():
        assert torch.equal(linear(x, weight), F.linear(x, weight))


def test_a_dual_tensor_is_seen():
    x = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    filters = [[torch.full((1, 1, 1, 1), 3.0, dtype=torch.float64)]]
    biases = [[torch.zeros(1, dtype=torch.float64)]]
    lists = (filters + biases) * 2
    assert not torch_private.is_transformed()
    with torch.autograd.forward_ad.dual_level(), torch.no_grad():
        assert torch_private.is_transformed()
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        y = mix_shift(dual, *lists, [0])
        tangent = torch.autograd.forward_ad.unpack_dual(y).tangent
    assert torch.equal(tangent, torch.full_like(x, 6))


class Quantised(torch.Tensor):
    """Stands for a weight that knows its own products."""


@pytest.mark.parametrize(
    'change',
    [
        lambda layer: layer.register_forward_hook(lambda *args: None),
        lambda layer: layer.register_forward_pre_hook(lambda *args: None),
        lambda layer: layer.register_full_backward_hook(lambda *args: None),
        lambda layer: layer.register_full_backward_pre_hook(lambda *args: None),
        lambda layer: setattr(layer, 'forward', layer.forward),
        lambda layer: nn.utils.parametrizations.weight_norm(layer),
        lambda layer: setattr(
            layer, 'weight', nn.Parameter(layer.weight.detach().as_subclass(Quantised))
        ),
    ],
    ids=['hook', 'pre-hook', 'backward', 'backward pre', 'patched', 'norm', 'subclass'],
)
def test_a_layer_that_is_more_than_its_class(change):
    plain, changed = nn.Linear(2, 2), nn.Linear(2, 2)
    assert torch_private.are_plain(nn.Linear, plain, changed)
    change(changed)
    assert not torch_private.are_plain(nn.Linear, plain, changed)


def test_a_hook_for_all_modules_and_a_subclass_are_seen():
    class Own(nn.Linear):
        pass

    layer = nn.Linear(2, 2)
    assert not torch_private.are_plain(nn.Linear, Own(2, 2))
    handle = nn.modules.module.register_module_forward_hook(lambda *args: None)
    try:
        assert not torch_private.are_plain(nn.Linear, layer)
    finally:
        handle.remove()
    assert torch_private.are_plain(nn.Linear, layer)
