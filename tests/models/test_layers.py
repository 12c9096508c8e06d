"""Blocks call their own layers: hooks, replaced layers, reparametrised weights."""

import copy
from collections import defaultdict
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.modules import module as for_all
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from mmmsmlp import MSMLP, FocalTransformer, SwinTransformer
from mmmsmlp.models.layers import LayerNorm2d, PatchEmbed
from tests.helpers.small_nets import (
    assert_near,
    build,
    every_backbone,
    images,
    layers_of,
    loss_of,
    one_of_each,
    put,
)

PRECISIONS = {torch.float32: 5e-5, torch.float64: 1e-12}
LINEAR, FILTERS = (nn.Linear,), (nn.Linear, nn.Conv2d)
FACTOR = -2  # a LayerNorm hides a positive one
either_grad = pytest.mark.parametrize('grad', [True, False], ids=['grad', 'no_grad'])


@pytest.fixture
def x():
    return images(2, 3, 17, 20, dtype=torch.float64)


def build_double(backbone, **kwargs):
    return build(backbone, torch.float64, **kwargs).eval()


def outputs_of(net, x):
    torch.manual_seed(2)  # of drop path
    with torch.no_grad():
        return net(x)


def gradients_of(net, x):
    """The outputs, then the gradient of every parameter."""
    torch.manual_seed(2)  # of drop path
    outputs = net(x)
    return [*outputs, *torch.autograd.grad(loss_of(outputs), [*net.parameters()])]


def seen_from_outside(net, x, grad):
    """The outputs and, with ``grad``, the gradient of the images."""
    if not grad:
        return outputs_of(net, x)
    x = x.clone().requires_grad_()
    outputs = net(x)
    return [*outputs, *torch.autograd.grad(loss_of(outputs), x)]


@contextmanager
def scaled(layer, *names):
    """A layer with these parameters, or all, multiplied by FACTOR."""
    parameters = [p for n, p in layer.named_parameters() if not names or n in names]
    for factor in (FACTOR, 1 / FACTOR):
        with torch.no_grad():
            for parameter in parameters:
                parameter.mul_(factor)
        if factor == FACTOR:
            yield


@every_backbone
@either_grad
@pytest.mark.parametrize('training', [True, False], ids=['train', 'eval'])
@pytest.mark.parametrize('dtype', PRECISIONS, ids=str)
def test_every_layer_is_called_and_the_numbers_stay(backbone, training, grad, dtype):
    net = build(backbone, dtype, drop_path_rate=0.3).train(training)
    run, x, called = gradients_of if grad else outputs_of, images(dtype=dtype), set()
    expected = run(net, x)
    layers = layers_of(net)
    for name, layer in layers.items():
        layer.register_forward_hook(lambda *args, name=name: called.add(name))
    actual = run(net, x)
    assert layers.keys() - called == set()
    assert_near(actual, expected, PRECISIONS[dtype])


def differ(some, others):
    return any(
        (a - b).abs().max() > 1e-3 * b.abs().max()
        for a, b in zip(some, others, strict=True)
    )


class Scaling(nn.Module):
    """Any layer, behind a module that has none of its attributes."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *args):
        return FACTOR * self.inner(*args)


def by_hook(net, name, layer):
    return layer.register_forward_hook(lambda *args: FACTOR * args[-1]).remove


def by_subclass(net, name, layer):
    def forward(self, *args):
        return FACTOR * super(type(self), self).forward(*args)

    replacement = copy.deepcopy(layer)
    replacement.__class__ = type('Scaled', (type(layer),), {'forward': forward})
    put(net, name, replacement)
    return lambda: put(net, name, layer)


def by_wrapper(net, name, layer):
    put(net, name, Scaling(layer))
    return lambda: put(net, name, layer)


def by_own_forward(net, name, layer):
    """As accelerate does to a module that lies on another device."""
    forward = layer.forward
    layer.forward = lambda *args: FACTOR * forward(*args)
    return lambda: delattr(layer, 'forward')


@pytest.mark.full
@every_backbone
@either_grad
@pytest.mark.parametrize('way', [by_hook, by_subclass, by_wrapper, by_own_forward])
def test_a_layer_that_scales_its_output_is_one_with_scaled_weights(
    backbone, way, grad, x
):
    net = build_double(backbone)
    before = seen_from_outside(net, x, grad)
    for name in one_of_each(net):
        layer = net.get_submodule(name)
        with scaled(layer):
            expected = seen_from_outside(net, x, grad)
        assert differ(before, expected)
        undo = way(net, name, layer)
        assert_near(seen_from_outside(net, x, grad), expected, 1e-11, name)
        undo()
    assert_near(seen_from_outside(net, x, grad), before, 1e-12)


@every_backbone
@either_grad
def test_a_forward_pre_hook_changes_what_the_layer_sees(backbone, grad, x):
    net = build_double(backbone)
    for name in one_of_each(net, FILTERS):
        layer = net.get_submodule(name)
        with scaled(layer, 'weight'):
            expected = seen_from_outside(net, x, grad)
        handle = layer.register_forward_pre_hook(lambda _, args: (FACTOR * args[0],))
        assert_near(seen_from_outside(net, x, grad), expected, 1e-11, name)
        handle.remove()


@every_backbone
def test_parts_of_a_block_are_called_too(backbone, x):
    """mix and attn hold layers; a hook on one sees the map and may change it."""
    net = build_double(backbone)
    before = outputs_of(net, x)
    parts = [n for n, _ in net.named_modules() if n.endswith(('.mix', '.attn'))]
    assert len(parts) >= 6
    for name in parts:
        undo = by_hook(net, name, net.get_submodule(name))
        assert differ(before, outputs_of(net, x))
        undo()


@every_backbone
@either_grad
def test_a_layer_may_be_replaced_by_one_without_a_bias(backbone, grad, x):
    net = build_double(backbone)
    for name in one_of_each(net, FILTERS):
        layer = net.get_submodule(name)
        if layer.bias is None:
            continue
        nn.init.zeros_(layer.bias)
        expected = seen_from_outside(net, x, grad)
        layer.bias = None
        assert_near(seen_from_outside(net, x, grad), expected, 1e-12, name)


@either_grad
@pytest.mark.parametrize(
    'change',
    [
        dict(padding_mode='circular'),
        dict(dilation=2, padding=2),
        dict(kernel_size=5, padding=2),
        dict(groups=1),
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_filter_may_be_replaced_by_one_of_other_settings(change, grad, x):
    net, name = build_double(MSMLP), 'stages.0.blocks.0.mix.horizontal.2'
    layer = net.get_submodule(name)
    settings = dict(kernel_size=3, padding=1, groups=layer.groups)
    other = nn.Conv2d(
        layer.in_channels, layer.out_channels, dtype=torch.float64,
        **{**settings, **change},
    )  # fmt: skip
    if other.weight.shape == layer.weight.shape:
        other.load_state_dict(layer.state_dict())
    net.get_submodule(name.rpartition('.')[0])[2] = other
    fused = seen_from_outside(net, x, grad)
    handle = other.register_forward_hook(lambda *args: None)
    assert_near(fused, seen_from_outside(net, x, grad), 1e-12)
    handle.remove()
    net.get_submodule(name.rpartition('.')[0])[2] = layer
    assert differ(fused, seen_from_outside(net, x, grad))


@pytest.mark.parametrize('backbone', [SwinTransformer, FocalTransformer])
@either_grad
def test_a_blocks_mlp_may_be_replaced_as_a_whole(backbone, grad, x):
    net = build_double(backbone)
    before = seen_from_outside(net, x, grad)
    block = net.stages[1].blocks[0]
    mlp = block.mlp
    block.mlp = nn.Sequential(mlp.fc1, nn.GELU(), mlp.fc2)
    assert_near(seen_from_outside(net, x, grad), before, 1e-12)
    block.mlp = nn.Identity()
    assert differ(before, seen_from_outside(net, x, grad))


@pytest.fixture(params=['of each layer', 'of all modules'])
def register(request):
    """``register(layers, kind, hook)``; hooks of all modules are taken off again."""
    handles = []

    def register(layers, kind, hook):
        if request.param == 'of all modules':
            handles.append(getattr(for_all, f'register_module_{kind}')(hook))
        else:
            handles.extend(
                getattr(layer, f'register_{kind}')(hook) for layer in layers.values()
            )

    yield register
    for handle in handles:
        handle.remove()


@every_backbone
@either_grad
@pytest.mark.parametrize('kind', ['forward_hook', 'forward_pre_hook'])
def test_forward_hooks_fire(register, backbone, kind, grad, x):
    net = build_double(backbone)
    layers, called = layers_of(net), set()
    expected = seen_from_outside(net, x, grad)
    register(layers, kind, lambda module, *args: called.add(module))
    actual = seen_from_outside(net, x, grad)
    assert called >= {*layers.values()}
    assert_near(actual, expected, 1e-12)


@every_backbone
@pytest.mark.parametrize('kind', ['full_backward_hook', 'full_backward_pre_hook'])
def test_backward_hooks_see_the_gradient_of_the_output(register, backbone, kind, x):
    """Summed over the tokens it is the gradient of the layer's bias."""
    net, sums = build_double(backbone).train(), defaultdict(float)
    layers = layers_of(net)

    def add_up(module, *grads):
        channels = 1 if isinstance(module, (nn.Conv2d, LayerNorm2d)) else -1
        grad = grads[-1][0].movedim(channels, -1)
        sums[module] = sums[module] + grad.flatten(0, -2).sum(0)

    register(layers, kind, add_up)
    loss_of(net(x.requires_grad_())).backward()
    assert sums.keys() >= {*layers.values()}
    for name, layer in layers.items():
        if layer.bias is not None:
            assert_near([sums[layer]], [layer.bias.grad], 1e-10, name)


class LoRA(nn.Module):
    """A linear layer that is held, plus a product of two small matrices."""

    def __init__(self, base, rank=2):
        super().__init__()
        self.base = base
        generator = torch.Generator().manual_seed(3)
        down = torch.randn(rank, base.in_features, generator=generator)
        self.down = nn.Parameter(down.to(base.weight) * base.in_features**-0.5)
        self.up = nn.Parameter(base.weight.new_zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + x @ self.down.t() @ self.up.t()


@every_backbone
def test_lora_trains_what_it_adds(backbone, x):
    net = build_double(backbone).train().requires_grad_(False)
    plain = copy.deepcopy(net).eval()
    for name, layer in layers_of(net, LINEAR).items():
        put(net, name, LoRA(layer))
    held = {n: t.clone() for n, t in net.state_dict().items()}
    added = {n: p for n, p in net.named_parameters() if p.requires_grad}
    assert len(added) == 2 * len(layers_of(plain, LINEAR))
    assert_near(outputs_of(net, x), outputs_of(plain, x), 1e-12)

    optimizer, losses = torch.optim.SGD(added.values(), lr=0.05), []
    for _ in range(3):
        losses.append(loss_of(net(x)))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[0] > losses[1] > losses[2] > loss_of(net(x))
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, held[name]) == (name not in added), name
    assert all((p.grad is None) == (n not in added) for n, p in net.named_parameters())

    for name, layer in layers_of(plain, LINEAR).items():
        lora = net.get_submodule(name)
        layer.weight += (lora.up @ lora.down).detach()
    assert_near(outputs_of(net.eval(), x), outputs_of(plain, x), 1e-11)


@every_backbone
def test_dynamic_quantisation_runs_and_stays_near(backbone):
    net, x = build(backbone).eval(), images()
    quantised = torch.ao.quantization.quantize_dynamic(
        net, {nn.Linear}, dtype=torch.qint8
    )
    kinds = {type(quantised.get_submodule(name)) for name in layers_of(net, LINEAR)}
    assert kinds == {torch.ao.nn.quantized.dynamic.Linear}
    for a, b in zip(outputs_of(quantised, x), outputs_of(net, x), strict=True):
        error = (a - b).norm() / b.norm()
        assert 1e-4 < error < 0.1  # at most 0.043, measured


REPARAMETRISED = {
    'pruning': (partial(prune.l1_unstructured, name='weight', amount=0.5), FILTERS),
    'weight_norm': (weight_norm, FILTERS),
    'spectral_norm': (spectral_norm, FILTERS),
    'parametrised weight_norm': (parametrizations.weight_norm, FILTERS),
    'parametrised spectral_norm': (parametrizations.spectral_norm, FILTERS),
    'parametrised orthogonal': (parametrizations.orthogonal, LINEAR),
}


def effective_weight(layer):
    """The weight that a layer in evaluation mode computes with, by its formula."""
    if hasattr(layer, 'weight_mask'):
        return layer.weight_orig * layer.weight_mask
    if hasattr(layer, 'weight_g'):
        v = layer.weight_v
        return layer.weight_g * v / v.flatten(1).norm(dim=1).view(layer.weight_g.shape)
    if hasattr(layer, 'weight_u'):
        weight = layer.weight_orig
        return weight / (layer.weight_u @ weight.flatten(1) @ layer.weight_v)
    return layer.weight


@every_backbone
@pytest.mark.parametrize('way', REPARAMETRISED)
def test_a_reparametrised_weight_trains(backbone, way, x):
    reparametrise, kinds = REPARAMETRISED[way]
    plain, net = build_double(backbone), build_double(backbone).train()
    layers = layers_of(net, kinds)
    for layer in layers.values():
        reparametrise(layer)
    added = dict(net.named_parameters()).keys() - dict(plain.named_parameters()).keys()
    assert len(added) >= len(layers)
    optimizer, losses = torch.optim.SGD(net.parameters(), lr=0.01), []
    for _ in range(2):
        losses.append(loss_of(net(x)))
        optimizer.zero_grad()
        losses[-1].backward()
        assert all(net.get_parameter(name).grad is not None for name in added)
        assert all(any(p.grad.any() for p in weights_of(m)) for m in layers.values())
        optimizer.step()
    assert losses[0] > losses[1]

    net.eval()
    weights = {f'{name}.weight': effective_weight(m) for name, m in layers.items()}
    others = dict(net.named_parameters())
    inputs = {**{n: p for n, p in others.items() if n not in added}, **weights}
    inputs = {name: inputs[name] for name, _ in plain.named_parameters()}
    assert_near(outputs_of(net, x), functional_call(plain, inputs, x), 1e-11)
    expected = torch.autograd.grad(
        loss_of(functional_call(plain, inputs, x)), [*net.parameters()]
    )
    assert_near(gradients_of(net, x)[len(net.out_indices) :], expected, 1e-9)


def weights_of(layer):
    return [p for name, p in layer.named_parameters() if name != 'bias']


@every_backbone
@either_grad
def test_functional_call_takes_the_weights_it_is_given(backbone, grad, x):
    net = build_double(backbone)
    for name in one_of_each(net, FILTERS):
        layer = net.get_submodule(name)
        given = {f'{name}.weight': FACTOR * layer.weight}
        with scaled(layer, 'weight'):
            expected = seen_from_outside(net, x, grad)
        actual = seen_from_outside(partial(functional_call, net, given), x, grad)
        assert_near(actual, expected, 1e-12)


@pytest.mark.parametrize(('patch', 'size'), [(2, (9, 12)), (4, (13, 8))])
def test_the_gradients_of_a_patch_embedding_are_those_of_the_convolution(patch, size):
    """With a hook PyTorch's own convolution runs."""
    torch.manual_seed(0)
    embed = PatchEmbed(5, 6, patch).double()
    x = torch.randn(2, 5, *size, dtype=torch.float64, requires_grad=True)
    results = {}
    for way in 'product', 'convolution':
        y = embed(x)
        ramp = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(y.shape)
        inputs = [x, *embed.parameters()]
        plain = torch.autograd.grad((y * ramp).sum(), inputs, retain_graph=True)
        grads = torch.autograd.grad((y * ramp).sum(), inputs, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in grads), x)
        results[way] = [y, *plain, *grads, *second]
        assert y.shape == (2, 6, *(-(-side // patch) for side in size))
        assert y.is_contiguous(memory_format=torch.channels_last)
        assert 'ProjectPatches' in names_of(y) or way == 'convolution'
        embed.proj.register_forward_hook(lambda *_: None)
    assert 'ProjectPatches' not in names_of(y)
    for product, convolution in zip(*results.values(), strict=True):
        torch.testing.assert_close(product, convolution, rtol=1e-10, atol=1e-10)


def names_of(y):
    """The operations of a graph, in one text."""
    todo, seen = [y.grad_fn], []
    while todo:
        node = todo.pop()
        if node is not None:
            seen.append(node.name())
            todo += [after for after, _ in node.next_functions]
    return ' '.join(seen)


@pytest.mark.parametrize('frozen', [True, False])
def test_a_patch_embedding_keeps_its_map_alone(frozen):
    """No copy of the patches is kept for the backward pass."""
    embed, kept = PatchEmbed(8, 16, 2), []
    embed.proj.requires_grad_(not frozen)
    x = torch.randn(1, 8, 32, 32).contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.append(t) or t, lambda t: t
    ):
        y = embed(x)
    maps = {t.data_ptr() for t in kept if t.numel() == x.numel()}
    assert maps == {x.data_ptr()}
    y.sum().backward()
    assert (embed.proj.weight.grad is None) == frozen
