"""Is Triton taken only where it was seen to compute the right numbers?

The GPU is made believe: the fake backend computes, or does not, by the eager path.
"""

import sys
import types
import warnings

import pytest
import torch

from mmmsmlp.ops import mix_shift, use_backend
from mmmsmlp.ops.mixshift import dispatch, eager, trust
from mmmsmlp.ops.mixshift.spec import Groups
from tests.helpers.features import needs
from tests.ops.test_backends import make

CASE = 20, (1, 3, 5, 1, 3), 2, 6, 7
SHIFTS = [0, 1, 2, 3, 4]


class FakeKernels(types.ModuleType):
    """The eager path in the kernels' place, with a fault where one is asked for."""

    def __init__(self, **faults):
        super().__init__('fake')
        self.faults, self.calls, self.variants = faults, [], 1

    def unavailable(self, x, weights):
        return None

    def variant(self, shape, groups, device):
        return 2 if self.variants == 2 and shape[0] >= 8 else 1

    def forward(self, x, *rest):
        self.calls.append(('forward', *x.shape))
        return self.faults.get('forward', lambda y: y)(eager.forward(x, *rest))

    def backward(self, grad, *rest):
        self.calls.append(('backward', *grad.shape))
        grads = eager.backward(grad, *rest)
        return self.faults.get('backward', lambda grads: grads)(grads)

    def tried(self):
        return [name for name, *shape in self.calls if shape[2:] == [9, 21]]


@pytest.fixture
def gpu(monkeypatch):
    """Starts a process that believes its CPU to be a GPU with these kernels."""

    def start(**faults):
        kernels = FakeKernels(**faults)
        monkeypatch.setitem(sys.modules, 'mmmsmlp.ops.mixshift.triton', kernels)
        monkeypatch.setattr(trust, '_proved', {})
        distrusted = set()
        for module in (dispatch, trust):
            monkeypatch.setattr(module, 'distrusted', distrusted)

        def takes(x):
            return str(x.device) not in distrusted

        for module in (dispatch, trust):
            monkeypatch.setattr(module, 'auto_takes_triton', takes)
        why_not = dispatch.why_not
        monkeypatch.setattr(
            dispatch, 'why_not', lambda n, *a: None if n == 'triton' else why_not(n, *a)
        )
        return kernels

    return start


def call(arguments, order='mix_shift'):
    x, *lists = arguments
    return mix_shift(x, *lists, SHIFTS, order)


def count(caught):
    return [str(w.message) for w in caught if 'by Triton failed' in str(w.message)]


@pytest.fixture
def caught():
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter('always')
        yield found


def test_right_kernels_are_tried_once_and_taken(gpu, caught):
    kernels, arguments = gpu(), make(*CASE)
    with torch.no_grad():
        expected = [call(arguments) for _ in range(3)][0]
    assert kernels.tried() == ['forward'] and len(kernels.calls) == 4
    y = call(arguments)
    y.sum().backward()
    # The gradients were tried before the backward pass, and in it nothing was.
    assert kernels.tried() == ['forward', 'forward', 'backward']
    assert [name for name, *_ in kernels.calls[-2:]] == ['forward', 'backward']
    with torch.no_grad():
        assert torch.equal(call(arguments), expected)
    assert len(kernels.tried()) == 3  # who knows the gradients knows the output
    with torch.no_grad():
        call(make(*CASE), 'shift_mix')
        call([t for t in make(*CASE, dtype=torch.bfloat16)])
    assert kernels.tried()[3:] == ['forward', 'forward']  # other kernels, other numbers
    assert not count(caught)


FAULTS = {
    'a tap': lambda y: y.roll(1, 3),
    'scale': lambda y: y * 1.01,
    'a value that is not written': lambda y: y.index_fill(0, torch.tensor([1]), 0),
    'nan': lambda y: torch.cat([torch.full_like(y[:1], torch.nan), y[1:]]),
    'infinite': lambda y: y / 0,
}


@pytest.mark.parametrize('fault', FAULTS)
def test_wrong_outputs_are_never_returned_and_told_once(gpu, caught, fault):
    kernels, arguments = gpu(forward=FAULTS[fault]), make(*CASE)
    with torch.no_grad(), use_backend('eager'):
        expected = call(arguments)
    with torch.no_grad():
        for order in ('mix_shift', 'mix_shift', 'shift_mix'):
            y = call(arguments, order)
            assert order == 'shift_mix' or torch.equal(y, expected)
    assert kernels.tried() == ['forward'] and len(kernels.calls) == 1
    (message,) = count(caught)
    assert 'python -m mmmsmlp gpu-check' in message
    assert 'an error of' in message and 'in float32' in message
    assert dispatch.select_backend(arguments[0], arguments[1]) == 'eager'
    with use_backend('triton'), torch.no_grad():  # who asks by name gets it
        call(arguments)
    assert len(kernels.calls) == 2


GRADIENTS = {
    'of the map': lambda g: (g[0].flip(2), *g[1:]),
    'of a filter': lambda g: (g[0], [g[1][0], g[1][1] * 2, *g[1][2:]], *g[2:]),
    'of a bias': lambda g: (*g[:3], [b * 1.1 for b in g[3]]),
}


@pytest.mark.parametrize('fault', GRADIENTS)
def test_wrong_gradients_are_never_returned(gpu, caught, fault):
    gpu(backward=GRADIENTS[fault])
    arguments = make(*CASE)
    leaves = [arguments[0], *(t for group in arguments[1:] for t in group)]
    with torch.no_grad():
        call(arguments)  # the output is right, and taken
        assert not count(caught)
    grads = torch.autograd.grad(call(arguments).square().sum(), leaves)
    assert len(count(caught)) == 1
    with use_backend('eager'):
        expected = torch.autograd.grad(call(arguments).square().sum(), leaves)
    assert all(torch.equal(a, b) for a, b in zip(grads, expected, strict=True))


def test_what_cannot_be_compiled_or_launched_is_left(gpu, caught):
    def fail(y):
        raise RuntimeError('Failed to find C compiler.\nmore')

    gpu(forward=fail)
    arguments = make(*CASE)
    assert call(arguments).isfinite().all()
    (message,) = count(caught)
    assert '(RuntimeError: Failed to find C compiler.)' in message


def test_lack_of_memory_says_nothing_about_the_kernels(gpu, caught):
    def fail(y):
        raise torch.cuda.OutOfMemoryError('full')

    gpu(forward=fail)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        call(make(*CASE))
    assert not count(caught) and not dispatch.distrusted


def test_large_maps_are_tried_on_the_programs_that_they_run_on(gpu):
    kernels = gpu()
    kernels.variants = 2
    width, sizes, _, height, map_width = CASE
    with torch.no_grad():
        call(make(*CASE))
        call(make(width, sizes, 16, height, map_width))
    assert [c for c in kernels.calls if c[3:] == (9, 21)] == [
        ('forward', 2, 20, 9, 21),
        ('forward', 8, 20, 9, 21),
    ]


def test_a_trial_leaves_random_numbers_and_graphs_alone(gpu):
    gpu()
    torch.manual_seed(3)
    expected = torch.rand(3)
    arguments = make(*CASE)
    torch.manual_seed(3)
    with torch.autograd.graph.save_on_cpu(), torch.device('meta'):
        call(arguments)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize('proved', [False, True])
def test_nothing_is_tried_while_a_graph_is_captured(gpu, monkeypatch, caught, proved):
    kernels, arguments = gpu(), make(*CASE)
    with torch.no_grad():
        if proved:
            call(arguments)
        count_before = len(kernels.tried())
        monkeypatch.setattr(trust, 'is_capturing', lambda x: True)
        call(arguments)
        call(arguments)
    assert len(kernels.tried()) == count_before == int(proved)
    assert len(kernels.calls) == (4 if proved else 0)  # eager where nothing is known
    assert not count(caught)


def test_gradients_that_a_capture_meets_untried_are_eager(gpu, monkeypatch, caught):
    kernels, arguments = gpu(backward=GRADIENTS['of the map']), make(*CASE)
    with torch.no_grad():
        call(arguments)  # proves the output
    monkeypatch.setattr(trust, 'is_capturing', lambda x: True)
    grad = torch.autograd.grad(call(arguments).square().sum(), arguments[0])[0]
    with use_backend('eager'):
        y = call(arguments)
    assert torch.equal(grad, torch.autograd.grad(y.square().sum(), arguments[0])[0])
    assert len(kernels.calls) == 2 and not count(caught)


def test_autocast_does_not_reach_the_judge(gpu):
    kernels = gpu()
    x, weights_h, *_ = make(*CASE)
    groups = Groups.of(weights_h, SHIFTS, 'mix_shift')
    # Kernels know no autocast; the fake ones must not, either.
    kernels.forward = torch.autocast('cpu', enabled=False)(kernels.forward)
    with torch.autocast('cpu', torch.bfloat16):
        assert trust.find_fault(x, groups, with_gradients=True) is None


@pytest.mark.full
@needs('whole_graph')
@pytest.mark.parametrize('fault', [None, 'a tap'])
def test_a_compiled_graph_decides_when_it_runs(gpu, caught, fault):
    kernels = gpu(**({'forward': FAULTS[fault]} if fault else {}))
    arguments = make(*CASE)
    with use_backend('eager'):
        expected = call(arguments)
    seen = []

    def backend(graph, inputs):
        seen.append(len(kernels.calls))
        return graph

    compiled = torch.compile(call, backend=backend, fullgraph=True)
    for _ in range(2):
        torch.testing.assert_close(compiled(arguments), expected)
    assert seen[0] == 0  # nothing ran while it was traced
    assert len(seen) == 1 + bool(fault)  # to the eager path, for good
    assert kernels.tried() == ['forward', 'backward']
    assert len(count(caught)) == bool(fault)
