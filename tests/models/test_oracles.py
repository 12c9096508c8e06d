"""Every backbone against the plain re-computation of its state dict, at odd sizes."""

import pytest
import torch

from mmmsmlp import MSMLP, FocalTransformer, MSMLPFocal, MSMLPSwin, SwinTransformer
from mmmsmlp.geometry import MARK
from tests.helpers import small_nets
from tests.helpers.hosts import FOCAL_ARCH, SWIN_ARCH
from tests.helpers.small_nets import PAPER, RELEASED
from tests.oracles import plain_forward

SIZES = [(1, 1), (33, 47), (97, 161), (150, 90)]
VARIANTS = [
    (MSMLP, {}),
    (MSMLP, RELEASED),
    (MSMLP, dict(patch_size=2)),
    (MSMLP, dict(layer_scale_init_value=0)),
    (MSMLP, dict(mix_conv='full')),
    (SwinTransformer, {}),
    (SwinTransformer, dict(patch_size=2)),
    (SwinTransformer, dict(arch=SWIN_ARCH)),
    (FocalTransformer, {}),
    (FocalTransformer, dict(arch=FOCAL_ARCH)),
    (MSMLPSwin, {}),
    (MSMLPSwin, dict(RELEASED, patch_size=4)),
    (MSMLPFocal, {}),
    (MSMLPFocal, dict(PAPER, geometry='paper', patch_size=4)),
]
variants = pytest.mark.parametrize(
    ('backbone', 'kwargs'),
    VARIANTS,
    ids=lambda value: ','.join(value) if isinstance(value, dict) else value.__name__,
)


def build(backbone, kwargs):
    averaging = dict(gap_before_final_norm=backbone is MSMLP)
    return small_nets.build(backbone, out_indices=(3,), **averaging, **kwargs).eval()


def maps_and_features(net, x):
    """What :func:`plain_forward` gives: maps before any norm, and the features."""
    maps = []
    hooks = [
        stage.register_forward_hook(lambda *args: maps.append(args[-1]))
        for stage in net.stages
    ]
    features = net(x)[0]
    for hook in hooks:
        hook.remove()
    return [*maps, features if features.dim() == 2 else features.mean((2, 3))]


def image(size, batch=2):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


@variants
@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('grad', [False, True], ids=['inference', 'training'])
def test_it_computes_what_its_weights_say(backbone, kwargs, size, grad):
    net, x = build(backbone, kwargs), image(size)
    with torch.set_grad_enabled(grad):
        actual = maps_and_features(net, x)
    maps, features = plain_forward(net.state_dict(), x)
    assert len(maps) == 4
    for ours, plain in zip(actual, [*maps, features], strict=True):
        assert ours.shape == plain.shape
        torch.testing.assert_close(ours.detach(), plain, rtol=1e-4, atol=1e-5)


@variants
def test_its_gradients_are_those_of_its_weights(backbone, kwargs):
    net, x = build(backbone, kwargs), image((61, 83), batch=1).requires_grad_()
    named = dict(net.named_parameters())
    leaves = {key: p.detach().requires_grad_() for key, p in named.items()}
    if net.state_dict().get(MARK) is not None:
        leaves[MARK] = net.state_dict()[MARK]
    maps, features = plain_forward(leaves, x)
    outputs = maps_and_features(net, x)
    generator = torch.Generator().manual_seed(2)
    weights = [torch.randn(o.shape, generator=generator) for o in outputs]
    actual = torch.autograd.grad(outputs, [x, *named.values()], weights)
    inputs = [x, *(leaves[key] for key in named)]
    expected = torch.autograd.grad([*maps, features], inputs, weights)
    for key, ours, plain in zip(['x', *named], actual, expected, strict=True):
        error = (ours - plain).norm() / plain.norm()
        assert error < 1e-4, f'{key}: relative error {error:.1e}'
