"""Derivatives of every kind, beside finite differences and reverse mode; no images."""

import itertools

import pytest
import torch
from torch import func
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from mmmsmlp import FocalTransformer, SwinTransformer
from mmmsmlp.ops import channel_mlp, linear, mix_shift, use_backend
from tests.helpers.small_nets import (
    SETTINGS,
    assert_near,
    build,
    images,
    loss_of,
)

STEP = 2e-5  # of finite differences
DIFFERENCE, EXACT, SINGLE = 1e-6, 1e-10, 1e-3  # what may they, and others, err by
CASES = [  # a backend matters to nets that hold MS-blocks
    (backbone, backend)
    for backbone in SETTINGS
    for backend in ('auto', 'eager', 'reference')
    if backend == 'auto' or backbone not in (SwinTransformer, FocalTransformer)
]


@pytest.fixture(params=CASES, ids=lambda case: f'{case[0].__name__}-{case[1]}')
def backbone(request):
    """Each backbone, on each backend that runs on a CPU."""
    backbone, backend = request.param
    with use_backend(backend):
        yield backbone


class Problem:
    """A net's loss on two images, whose derivatives are asked for.

    ``values`` are the net's parameters and, last, the images; ``direction`` is a
    change of all of them.
    """

    def __init__(self, backbone, training=False, size=(17, 20), **kwargs):
        self.net = build(backbone, torch.float64, **kwargs).train(training)
        x = images(2, 3, *size, dtype=torch.float64).requires_grad_()
        self.names = [name for name, _ in self.net.named_parameters()]
        self.values = *self.net.parameters(), x
        generator = torch.Generator().manual_seed(3)
        self.direction = tuple(
            torch.randn(t.shape, generator=generator, dtype=t.dtype)
            for t in self.values
        )

    def hold_weights(self):
        """Change the images alone."""
        *weights, x = self.direction
        self.direction = *map(torch.zeros_like, weights), x

    def gradient(self, **kwargs):
        torch.manual_seed(4)  # of drop path
        loss = loss_of(self.net(self.values[-1]))
        return torch.autograd.grad(loss, self.values, **kwargs)

    def outputs(self, *values):
        """The net as a function of its parameters and of the images."""
        weights = dict(zip(self.names, values[:-1], strict=True))
        return func.functional_call(self.net, weights, values[-1])

    def loss(self, *values):
        return loss_of(self.outputs(*values))

    def along(self, step):
        """The values, moved that far along the direction, without their graph."""
        return [
            value.detach() + step * change
            for value, change in zip(self.values, self.direction, strict=True)
        ]

    def difference(self, function):
        """The change of ``function()``, a tuple of tensors, along the direction."""
        results = []
        for step in (STEP, -STEP, 2 * STEP, -2 * STEP):
            self.move(step)
            results.append(function())
            self.move(-step)
        return [
            (8 * (a - b) - (c - d)) / (12 * STEP)
            for a, b, c, d in zip(*results, strict=True)
        ]

    @torch.no_grad()
    def move(self, step):
        for value, change in zip(self.values, self.direction, strict=True):
            value.add_(change, alpha=step)


def dot(tensors, others):
    return sum((a * b).sum() for a, b in zip(tensors, others, strict=True))


# ---------------------------------------------------------------- second derivatives

MODES = {
    'evaluation': {},
    'training': dict(training=True, drop_path_rate=0.4),
    'checkpointed': dict(training=True, drop_path_rate=0.4, with_cp=True),
}


@pytest.mark.full
@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('way', ['inputs', 'backward'])
def test_a_hessian_vector_product_by_double_backward(backbone, way, mode):
    problem = Problem(backbone, **MODES[mode])
    expected = problem.difference(problem.gradient)
    product = dot(problem.gradient(create_graph=True), problem.direction)
    if way == 'inputs':
        actual = torch.autograd.grad(product, problem.values)
    else:
        product.backward()
        actual = [value.grad for value in problem.values]
    assert_near(actual, expected, DIFFERENCE)


@pytest.mark.full
@pytest.mark.parametrize('first', [0, 1, 2])
def test_a_hessian_vector_product_of_every_third_parameter(backbone, first):
    """The others are frozen, and the images have no gradient, as in most training."""
    problem = Problem(backbone)
    for value in problem.values:
        value.requires_grad_(False)
    some = [value.requires_grad_() for value in problem.values[first:-1:3]]
    problem.direction = [
        change * value.requires_grad
        for value, change in zip(problem.values, problem.direction, strict=True)
    ]

    def gradient(**kwargs):
        loss = loss_of(problem.net(problem.values[-1]))
        return torch.autograd.grad(loss, some, **kwargs)

    expected = problem.difference(gradient)
    product = dot(gradient(create_graph=True), problem.direction[first:-1:3])
    actual = torch.autograd.grad(product, some)
    assert_near(actual, expected, DIFFERENCE)


def test_a_hessian_vector_product_by_transforms(backbone):
    """Forward over reverse; in the other order torch's own layer_norm is wrong."""
    problem = Problem(backbone)
    gradient = func.grad(problem.loss, tuple(range(len(problem.values))))
    _, actual = func.jvp(gradient, tuple(problem.along(0)), problem.direction)
    assert_near(actual, problem.difference(problem.gradient), DIFFERENCE)


@pytest.mark.full
@pytest.mark.parametrize(
    'hessian',
    [func.hessian, lambda loss: func.jacrev(func.jacrev(loss))],
    ids=['hessian', 'jacrev of jacrev'],
)
def test_a_hessian(backbone, hessian):
    """In three directions: of the parameters, of the images, and of both."""
    problem = Problem(backbone)
    *weights, x = problem.direction
    others = images(*x.shape, dtype=x.dtype)

    def loss(steps):
        moved = [
            value.detach() + (steps[0] + steps[2]) * change
            for value, change in zip(problem.values[:-1], weights, strict=True)
        ]
        image = problem.values[-1].detach() + steps[1] * x + steps[2] * others
        return problem.loss(*moved, image)

    def gradient(step):
        steps = step.clone().requires_grad_()
        return torch.autograd.grad(loss(steps), steps)[0]

    expected = [
        (
            8 * (gradient(unit) - gradient(-unit))
            - gradient(2 * unit)
            + gradient(-2 * unit)
        )
        / (12 * STEP)
        for unit in torch.eye(3, dtype=x.dtype) * STEP
    ]
    assert_near([hessian(loss)(x.new_zeros(3))], [torch.stack(expected)], DIFFERENCE)


# ---------------------------------------------------------------- first derivatives


def forward_mode(problem):
    """The change of the outputs, by dual numbers."""
    with forward_ad.dual_level():
        duals = [
            forward_ad.make_dual(value, change)
            for value, change in zip(problem.along(0), problem.direction, strict=True)
        ]
        return [forward_ad.unpack_dual(o).tangent for o in problem.outputs(*duals)]


@pytest.mark.full
@pytest.mark.parametrize('way', ['jvp', 'dual numbers', 'dual numbers under no_grad'])
def test_forward_mode(backbone, way):
    problem = Problem(backbone)
    if way == 'jvp':
        values = tuple(problem.along(0))
        outputs, actual = func.jvp(problem.outputs, values, problem.direction)
        assert_near(outputs, problem.net(problem.values[-1]), EXACT)
    else:
        with torch.set_grad_enabled(way == 'dual numbers'):
            actual = forward_mode(problem)
    outputs = problem.net(problem.values[-1])
    cotangent = [torch.sin(output.detach() * 3) for output in outputs]
    reverse = torch.autograd.grad(outputs, problem.values, cotangent)
    assert dot(actual, cotangent).item() == pytest.approx(
        dot(reverse, problem.direction).item(), rel=EXACT
    )
    expected = problem.difference(lambda: problem.net(problem.values[-1]))
    assert_near(actual, expected, DIFFERENCE)


def test_forward_mode_of_the_images_alone(backbone):
    """The net as it is called, with weights that have no tangent."""
    problem = Problem(backbone)
    problem.hold_weights()
    x, change = problem.values[-1].detach(), problem.direction[-1]
    _, actual = func.jvp(problem.net, (x,), (change,))
    with forward_ad.dual_level():
        outputs = problem.net(forward_ad.make_dual(x, change))
        duals = [forward_ad.unpack_dual(output).tangent for output in outputs]
    expected = problem.difference(lambda: problem.net(problem.values[-1]))
    assert_near(actual, expected, DIFFERENCE)
    assert_near(duals, actual, EXACT)


def test_single_precision_under_no_grad(backbone):
    """Where a CPU's libraries know neither tangents nor batches of calls."""
    problem = Problem(backbone)
    problem.hold_weights()
    expected = problem.difference(lambda: problem.net(problem.values[-1]))
    net = build(backbone).eval()
    x, change = problem.values[-1].detach().float(), problem.direction[-1].float()
    with torch.no_grad():
        with forward_ad.dual_level():
            outputs = net(forward_ad.make_dual(x, change))
            duals = [forward_ad.unpack_dual(output).tangent for output in outputs]
        _, jvp = func.jvp(net, (x,), (change,))
        maps = func.vmap(lambda image: net(image[None])[0][0])(x)
    for actual in (duals, jvp):
        assert_near([tangent.double() for tangent in actual], expected, SINGLE)
    assert_near([maps.double()], problem.net(problem.values[-1])[:1], SINGLE)


def test_func_grad_is_the_gradient(backbone):
    problem = Problem(backbone)
    every = tuple(range(len(problem.values)))
    actual = func.grad(problem.loss, every)(*problem.along(0))
    assert_near(actual, problem.gradient(), EXACT)


@pytest.mark.full
@pytest.mark.parametrize('jacobian', [func.jacrev, func.jacfwd])
def test_a_jacobian(backbone, jacobian):
    """Of the first output's mean, by the channels' gains of the images."""
    problem = Problem(backbone)
    x = problem.values[-1].detach()

    def means(gains):
        return problem.net(x * gains.view(-1, 1, 1))[0].mean((0, 2, 3))

    gains = torch.ones(3, dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(means, gains)
    assert_near([jacobian(means)(gains)], [expected], EXACT)


# ---------------------------------------------------------------- batches of calls


@pytest.mark.parametrize('grad', [True, False], ids=['grad', 'no_grad'])
def test_vmap_over_images_is_a_loop(backbone, grad):
    problem = Problem(backbone)
    x = problem.values[-1].detach()
    with torch.set_grad_enabled(grad):
        actual = func.vmap(lambda image: problem.net(image[None]))(x)
        expected = [problem.net(image[None]) for image in x]
    assert_near(actual, map(torch.stack, zip(*expected, strict=True)), EXACT)


def test_vmap_over_weights_is_a_loop(backbone):
    problem = Problem(backbone)
    *weights, x = (
        torch.stack(pair)
        for pair in zip(problem.along(0), problem.along(0.1), strict=True)
    )
    actual = func.vmap(lambda *weights: problem.outputs(*weights, x[0]))(*weights)
    expected = [
        problem.outputs(*(weight[i] for weight in weights), x[0]) for i in range(2)
    ]
    assert_near(actual, map(torch.stack, zip(*expected, strict=True)), EXACT)


def test_gradients_of_each_image(backbone):
    problem = Problem(backbone)
    *weights, x = problem.along(0)

    def loss(weights, image):
        return problem.loss(*weights, image[None])

    actual = func.vmap(func.grad(loss), (None, 0))(tuple(weights), x)
    for i, image in enumerate(x):
        expected = torch.autograd.grad(
            loss_of(problem.net(image[None])), problem.values[:-1]
        )
        assert_near([gradient[i] for gradient in actual], expected, EXACT)


NEW_WIDTHS = itertools.count(3)  # in windows of the second stage
TRANSFORMS = {
    'grad': lambda net, x: func.grad(lambda x: loss_of(net(x)))(x),
    'jvp': lambda net, x: func.jvp(net, (x,), (x,)),
    'jvp of grad': lambda net, x: func.jvp(
        func.grad(lambda x: loss_of(net(x))), (x,), (x,)
    ),
    'vmap': lambda net, x: func.vmap(lambda image: net(image[None]))(x),
    'inference mode': torch.inference_mode()(lambda net, x: net(x)),
}


@pytest.mark.full
@pytest.mark.parametrize('name', TRANSFORMS)
def test_what_is_kept_from_a_transform_serves_outside(backbone, name):
    """Tables are computed once for each size, wherever it is met first."""
    net = build(backbone, torch.float64).eval()
    x = images(1, 3, 24, 24 * next(NEW_WIDTHS), dtype=torch.float64).requires_grad_()
    TRANSFORMS[name](net, x.detach())
    loss_of(net(x)).backward()
    assert x.grad.isfinite().all() and x.grad.any()
    TRANSFORMS[name](net, x.detach())


# ---------------------------------------------------------------- operator and blocks


def operands(sizes, shape, full=False):
    """Map, filters and biases of ``mix_shift``, one after the other."""
    widths = [2, *[1] * (len(sizes) - 1)]
    filters = [(c, c if full else 1, r, r) for c, r in zip(widths, sizes, strict=True)]
    x = shape[0], sum(widths), *shape[1:]
    return draw_leaves(x, *filters, *widths, *filters, *widths)


def draw_leaves(*shapes):
    generator = torch.Generator().manual_seed(5)
    return [
        torch.randn(
            shape if isinstance(shape, tuple) else (shape,),
            generator=generator,
            dtype=torch.float64,
            requires_grad=True,
        )
        for shape in shapes
    ]


def mix(distances, order):
    """``mix_shift`` as a function of :func:`operands`."""

    def function(x, *parameters):
        n = len(distances)
        groups = [parameters[i : i + n] for i in range(0, 4 * n, n)]
        return mix_shift(x, *groups, distances, order)

    return function


@pytest.mark.full
@pytest.mark.parametrize('order', ['mix_shift', 'shift_mix'])
@pytest.mark.parametrize(
    ('sizes', 'distances', 'shape'),
    [
        ([1, 1, 3], [0, 1, 2], (1, 3, 4)),
        ([1, 3, 3], [-2, 0, 1], (2, 3, 2)),
        ([5], [7], (1, 3, 4)),
        ([1], [-1], (2, 2, 3)),
        ([3, 1], [1, 1], (1, 1, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize('backend', ['auto', 'eager', 'reference', 'full'])
def test_the_operator(backend, sizes, distances, shape, order):
    """'full' are the convolutions of Table 13, which the reference alone computes."""
    arguments = operands(sizes, shape, backend == 'full')
    with use_backend('auto' if backend == 'full' else backend):
        check_derivatives(mix(distances, order), arguments)


@pytest.mark.parametrize('scaled', [True, False])
def test_the_channel_mlp(scaled):
    width, hidden, tokens = 3, 5, (2, 3, 2, 1)
    shapes = [tokens, tokens, width, width, (hidden, width), hidden, (width, hidden)]
    arguments = draw_leaves(*shapes, width, *[width] * scaled)
    keep = torch.tensor([1.25, 0.0], dtype=torch.float64).view(2, 1, 1, 1)

    def function(x, residual, norm_w, norm_b, w1, b1, w2, b2, gamma=None):
        norm = norm_w, norm_b, 1e-6
        return channel_mlp(x, residual, norm, (w1, b1), (w2, b2), gamma, keep)

    check_derivatives(function, arguments)


@pytest.mark.parametrize('gelu', [True, False])
def test_the_linear_layer(gelu):
    arguments = draw_leaves((2, 3), (4, 3), 4)
    check_derivatives(lambda *tensors: linear(*tensors, gelu=gelu), arguments)


@torch.no_grad()
def test_the_linear_layer_keeps_a_tangent_without_a_graph():
    x, weight, bias = (tensor.float() for tensor in draw_leaves((2, 3), (4, 3), 4))
    with forward_ad.dual_level():
        y = linear(forward_ad.make_dual(x, x.cos()), weight, bias)
        tangent = forward_ad.unpack_dual(y).tangent
    assert tangent is not None
    assert_near([tangent], [x.cos() @ weight.t()], SINGLE)


@pytest.mark.full
@pytest.mark.parametrize('index', [0, -1], ids=['first stage', 'second stage'])
def test_a_block(backbone, index):
    """An MS-block or a transformer block, in the second stage with shifted windows."""
    net = build(backbone, torch.float64).eval()
    block = net.stages[index and 1].blocks[index]
    names, parameters = zip(*block.named_parameters(), strict=True)
    x = images(2, net.out_channels[index and 1], 4, 5, dtype=torch.float64)

    def function(x, *parameters):
        weights = dict(zip(names, parameters, strict=True))
        return func.functional_call(block, weights, x)

    check_derivatives(function, [x.requires_grad_(), *parameters])


def check_derivatives(function, arguments):
    """First and second, in either mode, each in a random direction."""
    assert gradcheck(
        function,
        arguments,
        check_forward_ad=True,
        check_batched_grad=True,
        check_batched_forward_grad=True,
        fast_mode=True,
    )
    assert gradgradcheck(
        function,
        arguments,
        check_fwd_over_rev=True,
        check_batched_grad=True,
        fast_mode=True,
    )


# ---------------------------------------------------------------- a batch of none


@pytest.mark.parametrize('mode', ['no_grad', *MODES])
@pytest.mark.parametrize('pooled', [False, True])
def test_no_images_give_no_maps(backbone, mode, pooled):
    settings = {'training': False, **MODES.get(mode, {})}
    training = settings.pop('training')
    net = build(backbone, gap_before_final_norm=pooled, **settings).train(training)
    with torch.set_grad_enabled(mode != 'no_grad'):
        outputs = net(torch.zeros(0, 3, 64, 64))
    sides = [() if pooled else (side, side) for side in (16, 8, 4, 2)]
    assert [output.shape for output in outputs] == [
        (0, channels, *size)
        for channels, size in zip(net.out_channels, sides, strict=True)
    ]
    if mode != 'no_grad':
        sum(output.sum() for output in outputs).backward()
        for name, parameter in net.named_parameters():
            assert parameter.grad is not None and not parameter.grad.any(), name
