"""Every backend computes what the reference computes, and says why when it cannot."""

import pytest
import torch

from mmmsmlp.ops import BackendError, mix_shift, use_backend
from mmmsmlp.ops.mixshift import api, dispatch
from mmmsmlp.ops.mixshift.eager import runs
from tests.helpers.features import needs
from tests.helpers.table2 import REGIONS as STAGE_SIZES

DISTANCES = {'mix_shift': [0, 1, 2, 3, 4], 'shift_mix': [-2, -1, 0, 1, 2]}
CASES = [  # width, sizes, batch, height, width of the map
    (96, STAGE_SIZES[0], 2, 9, 11),
    (192, STAGE_SIZES[1], 1, 7, 6),
    (384, STAGE_SIZES[2], 1, 5, 8),
    (768, STAGE_SIZES[3], 2, 2, 2),
    (128, STAGE_SIZES[0], 1, 12, 3),
    (512, STAGE_SIZES[2], 1, 1, 1),
    (48, STAGE_SIZES[0], 3, 10, 10),
    (20, STAGE_SIZES[3], 1, 4, 13),
    (24, [7, 1, 1, 3, 5], 2, 1, 9),
]


def make(width, sizes, batch, height, map_width, dtype=torch.float32):
    """Leaf tensors of an operator call: x, then both filters and biases a group."""
    torch.manual_seed(0)
    parts = torch.empty(width).chunk(len(sizes))
    shapes = [(len(c), 1, r, r) for c, r in zip(parts, sizes, strict=True)]

    def leaf(*shape):
        return torch.randn(*shape, dtype=dtype).requires_grad_()

    x = leaf(batch, width, height, map_width)
    weights_h, weights_v = ([leaf(*s) for s in shapes] for _ in 'hv')
    biases_h, biases_v = ([leaf(s[0]) for s in shapes] for _ in 'hv')
    return x, weights_h, biases_h, weights_v, biases_v


def run(backend, arguments, order, x=None):
    """Output, then every gradient, of a call on ``backend``."""
    leaf, *lists = arguments
    leaves = [leaf, *(tensor for group in lists for tensor in group)]
    with use_backend(backend):
        y = mix_shift(leaf if x is None else x, *lists, DISTANCES[order], order)
    torch.manual_seed(1)
    readout = torch.randn(y.shape, dtype=torch.float64).to(y.dtype)
    return [y, *torch.autograd.grad((y * readout).sum(), leaves)]


def assert_equal_results(actual, expected, rtol):
    for a, b in zip(actual, expected, strict=True):
        assert a.shape == b.shape
        error = (a.double() - b.double()).abs().max()
        assert error <= rtol * b.double().abs().max() + 1e-12


@pytest.fixture(params=['gathered', 'patched'])
def either_way(request, monkeypatch):
    """The eager path rolls small maps by gathering, and large ones patch by patch."""
    if request.param == 'patched':
        monkeypatch.setattr(runs, 'SMALL', 0)


@pytest.mark.usefixtures('either_way')
@pytest.mark.parametrize('order', DISTANCES)
@pytest.mark.parametrize('case', CASES, ids=lambda case: str(case[0]))
def test_eager_equals_the_reference(case, order):
    arguments = make(*case)
    assert_equal_results(
        run('eager', arguments, order), run('reference', arguments, order), 2e-5
    )


@pytest.mark.usefixtures('either_way')
@pytest.mark.parametrize('order', DISTANCES)
@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_unobserved_calls_give_the_same(monkeypatch, order, mode):
    arguments = make(96, STAGE_SIZES[0], 2, 9, 11)
    observed = run('eager', arguments, order)
    with monkeypatch.context() as patch, mode():
        patch.setattr(api, 'mix_shift_op', None)  # not to be called
        y = mix_shift(*arguments, DISTANCES[order], order)
        assert torch.equal(y, observed[0])
        with torch.device('meta'):  # where new tensors go is not our tables' concern
            assert torch.equal(mix_shift(*arguments, DISTANCES[order], order), y)
        with torch.autocast('cpu', torch.bfloat16):
            half = mix_shift(*arguments, DISTANCES[order], order)
    assert half.dtype == torch.bfloat16
    assert_equal_results([half], [y], 0.02)
    for a, b in zip(run('eager', arguments, order), observed, strict=True):
        assert torch.equal(a, b)


@pytest.mark.usefixtures('either_way')
def test_any_sequence_of_parameters_is_taken():
    x, *lists = make(96, STAGE_SIZES[0], 2, 9, 11)
    with torch.no_grad():
        expected = mix_shift(x, *lists, DISTANCES['mix_shift'])
        for kind in (tuple, torch.nn.ParameterList):
            y = mix_shift(x, *map(kind, lists), DISTANCES['mix_shift'])
            assert torch.equal(y, expected)


@pytest.mark.parametrize('backend', ['eager', 'reference'])
def test_an_empty_batch(backend):
    results = run(backend, make(20, STAGE_SIZES[0], 0, 4, 5), 'mix_shift')
    assert results[0].shape == results[1].shape == (0, 20, 4, 5)
    assert all(not grad.any() for grad in results[2:])


@pytest.mark.usefixtures('either_way')
@pytest.mark.parametrize('order', DISTANCES)
def test_double_precision(order):
    arguments = make(96, STAGE_SIZES[2], 2, 6, 7, torch.float64)
    assert_equal_results(
        run('eager', arguments, order), run('reference', arguments, order), 1e-13
    )


@pytest.mark.usefixtures('either_way')
@pytest.mark.parametrize('order', DISTANCES)
@pytest.mark.parametrize(
    'layout',
    [
        lambda x: x.contiguous(memory_format=torch.channels_last),
        lambda x: torch.cat([x, x], 1)[:, : x.shape[1]],
        lambda x: x.transpose(2, 3).contiguous().transpose(2, 3),
        lambda x: torch.cat([x, x], 3)[..., ::2],
    ],
    ids=['channels_last', 'channel slice', 'transposed', 'strided'],
)
def test_any_memory_layout(layout, order):
    arguments = make(48, STAGE_SIZES[0], 2, 6, 8)
    x = layout(arguments[0])
    assert_equal_results(
        run('eager', arguments, order, x), run('reference', arguments, order, x), 2e-5
    )


@pytest.mark.usefixtures('either_way')
@pytest.mark.parametrize('order', DISTANCES)
@pytest.mark.parametrize(
    'dtype', [torch.bfloat16, pytest.param(torch.float16, marks=needs('half'))]
)
def test_half_precision_errs_no_more_than_twice_what_pytorch_does(dtype, order):
    exact = run('reference', make(96, STAGE_SIZES[0], 2, 9, 11, torch.float64), order)
    halves = make(96, STAGE_SIZES[0], 2, 9, 11, torch.float64)
    halves = [
        part.detach().to(dtype).requires_grad_()
        if isinstance(part, torch.Tensor)
        else [tensor.detach().to(dtype).requires_grad_() for tensor in part]
        for part in halves
    ]
    eager, pytorch = run('eager', halves, order), run('reference', halves, order)
    for ours, theirs, truth in zip(eager, pytorch, exact, strict=True):
        error = (ours.double() - truth).abs().max()
        assert error <= 2 * (theirs.double() - truth).abs().max() + 1e-6


@pytest.mark.parametrize('order', DISTANCES)
def test_two_backward_runs_are_bit_equal(order):
    arguments = make(96, STAGE_SIZES[0], 2, 14, 14)
    for a, b in zip(
        run('eager', arguments, order), run('eager', arguments, order), strict=True
    ):
        assert torch.equal(a, b)


@needs('fill_empty')
@pytest.mark.usefixtures('either_way')
@pytest.mark.parametrize('order', DISTANCES)
def test_nothing_uninitialised_is_left_in_the_result(order, monkeypatch):
    """torch.empty holds NaN here, as it may anywhere."""
    monkeypatch.setattr(torch.utils.deterministic, 'fill_uninitialized_memory', True)
    torch.use_deterministic_algorithms(True)
    try:
        for case in CASES:
            results = run('eager', make(*case), order)
            assert all(result.isfinite().all() for result in results)
    finally:
        torch.use_deterministic_algorithms(False)


@needs('opcheck')
@pytest.mark.parametrize('order', DISTANCES)
def test_opcheck(order):
    x, *lists = make(20, STAGE_SIZES[0], 2, 5, 6)
    operator = torch.ops.mmmsmlp.mix_shift.default
    torch.library.opcheck(operator, (x, *lists, DISTANCES[order], order, 'eager'))


def test_autocast_computes_in_its_own_precision():
    arguments = make(20, STAGE_SIZES[0], 2, 5, 6)
    with torch.autocast('cpu', torch.bfloat16):
        y, *grads = run('eager', arguments, 'mix_shift')
    assert y.dtype == torch.bfloat16
    assert all(grad.dtype == torch.float32 for grad in grads)


def test_flops_are_counted():
    from torch.utils.flop_counter import FlopCounterMode

    import mmmsmlp.ops.flops  # noqa: F401  registers the formulas

    x, *lists = make(20, STAGE_SIZES[0], 2, 5, 6)
    per_token = 4 * (1 + 1 + 9 + 25 + 49)  # four channels a group
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        mix_shift(x, *lists, DISTANCES['mix_shift'])
    assert counter.get_total_flops() == 2 * 2 * 2 * 5 * 6 * per_token
    with FlopCounterMode(display=False) as counter, use_backend('eager'):
        y = mix_shift(x, *lists, DISTANCES['mix_shift'])
        assert counter.get_total_flops() == 2 * 2 * 2 * 5 * 6 * per_token
        y.sum().backward()
    assert counter.get_total_flops() == 3 * 2 * 2 * 2 * 5 * 6 * per_token


class TestChoosingABackend:
    @pytest.fixture(autouse=True)
    def nothing_chosen(self, monkeypatch):
        monkeypatch.setattr(dispatch, '_chosen', [])
        monkeypatch.delenv(dispatch.ENV, raising=False)

    def inputs(self):
        x, weights, *_ = make(20, STAGE_SIZES[0], 1, 4, 4)
        return x, weights

    def test_auto_takes_the_fastest_that_can_run(self):
        x, weights = self.inputs()
        assert dispatch.select_backend(x, weights) == 'eager'
        full = [weight.expand(-1, len(weight), -1, -1) for weight in weights]
        assert dispatch.select_backend(x, full) == 'reference'

    def test_a_backend_asked_for_by_name_never_falls_back(self, monkeypatch):
        x, weights = self.inputs()
        monkeypatch.delenv('TRITON_INTERPRET', raising=False)
        monkeypatch.setenv(dispatch.ENV, 'triton')
        with pytest.raises(BackendError, match='CUDA device.*auto'):
            dispatch.select_backend(x, weights)
        full = [weight.expand(-1, len(weight), -1, -1) for weight in weights]
        with use_backend('eager'), pytest.raises(BackendError, match='depth-wise'):
            dispatch.select_backend(x, full)

    def test_the_environment_is_heard_and_use_backend_wins(self, monkeypatch):
        monkeypatch.setenv(dispatch.ENV, 'reference')
        assert dispatch.select_backend(*self.inputs()) == 'reference'
        with use_backend('eager'):
            assert dispatch.select_backend(*self.inputs()) == 'eager'
        assert dispatch.select_backend(*self.inputs()) == 'reference'

    def test_use_backend_nests_and_stays_without_a_block(self):
        use_backend('reference')
        with use_backend('eager'):
            assert dispatch.select_backend(*self.inputs()) == 'eager'
        assert dispatch.select_backend(*self.inputs()) == 'reference'

    @pytest.mark.parametrize('source', ['use_backend', 'why_not', dispatch.ENV])
    def test_an_unknown_name_is_refused(self, source, monkeypatch):
        with pytest.raises(BackendError, match=f'{source}.*cuda.*auto, triton'):
            if source == 'use_backend':
                use_backend('cuda')
            if source == 'why_not':
                dispatch.why_not('cuda', *self.inputs())
            monkeypatch.setenv(dispatch.ENV, 'cuda')
            dispatch.select_backend(*self.inputs())
