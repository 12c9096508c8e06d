"""``gpu_check``: which path runs and why, and whether its numbers are right."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from mmmsmlp import MSMLP
from mmmsmlp.models.msmlp import ARCHS
from mmmsmlp.ops import mix_shift, use_backend
from mmmsmlp.ops.mixshift import dispatch, trust
from mmmsmlp.ops.mixshift.spec import Filters, Groups

from .gate import without_tf32
from .gpu_scale import Scale, finding, worst_error

GEOMETRIES = {'paper': 'mix_shift', 'released': 'shift_mix'}
SHIFTS = {'mix_shift': (0, 1, 2, 3, 4), 'shift_mix': (-2, -1, 0, 1, 2)}
# Of a tensor's error relative to its norm; half precision's rounding of one value is
# 5e-4 in float16 and 4e-3 in bfloat16. The interpreter truncates to bfloat16.
OPERATOR = {torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 8e-3}
# Through a whole backbone under autocast, and of its parameters' gradients.
BACKBONE = {torch.float32: (1e-4, 1e-3), torch.float16: (1e-2, 5e-2),
            torch.bfloat16: (6e-2, 3e-1)}  # fmt: skip


def path(scale: Scale) -> Iterator[dict]:
    """The GPU, what ``auto`` takes and why, and the check at the first call."""
    if scale.device == 'cuda':
        gpu = torch.cuda.get_device_properties(0)
        yield finding(
            'GPU',
            f'{gpu.name}, sm_{gpu.major}{gpu.minor}, {gpu.total_memory >> 20} MiB, '
            f'{gpu.multi_processor_count} multiprocessors, {torch.cuda.device_count()} '
            f'of them, driver {_driver()}, CUDA {torch.version.cuda}',
        )
    x, filters = _first_map(scale)
    reason, backend = _why_no_kernels(scale), _chosen(x, filters)
    because = f', because {reason}' if reason else ''
    ok = None if scale.device == 'cpu' else backend == 'triton'
    yield finding('auto takes', backend + because, ok, bar=1)
    if reason:
        return
    orders, dtypes = GEOMETRIES.values(), OPERATOR
    if scale.device == 'cpu':  # a minute in the interpreter
        orders, dtypes = ['mix_shift'], [torch.float32]
    for order, dtype in product(orders, dtypes):
        groups = Groups.of(filters.weights_h, SHIFTS[order], order)
        gradients = scale.device == 'cuda'
        fault = trust.find_fault(x.to(dtype), groups, gradients)
        start = time.perf_counter()  # again, without the time of compiling
        trust.find_fault(x.to(dtype), groups, gradients)
        took = 1e3 * (time.perf_counter() - start)
        what = f'check at the first call, {order}, {_name(dtype)}'
        yield finding(what, fault or f'{took:.0f} ms', fault is None, took)


def gate(scale: Scale) -> Iterator[dict]:
    """The kernels and their gradients against the reference in float64 on the CPU."""
    if reason := _why_no_kernels(scale):
        yield finding('operator', f'left out: {reason}')
        return
    repeated = None
    for order, (stage, *shape) in product(GEOMETRIES.values(), scale.maps):
        filters = _filters(scale, stage, shape[1], torch.float64)
        generator = torch.Generator().manual_seed(1)
        # bfloat16's numbers, so that one oracle serves all precisions.
        x, grad = (
            torch.randn(shape, generator=generator).bfloat16().double() for _ in 'xg'
        )
        exact = _results('reference', x, grad, filters, order)
        for dtype in OPERATOR:
            where = dict(device=scale.device, dtype=dtype)
            ours = Filters(*([t.to(**where) for t in part] for part in filters))
            inputs = x.to(**where), grad.to(**where), ours, order
            found = _results('triton', *inputs)
            error = worst_error(found, exact)
            place = 'x'.join(map(str, shape))
            what = f'operator, {order}, {place}, {_name(dtype)}'
            yield finding(what, f'{error:.1e}', error <= OPERATOR[dtype], error)
            repeated = repeated or (inputs, found)
    again = _results('triton', *repeated[0])
    same = all(map(torch.equal, again, repeated[1]))
    yield finding('operator, two runs', 'equal' if same else 'they differ', same)


def backbone(scale: Scale) -> Iterator[dict]:
    """MS-MLP and its gradients against float64 on the CPU, as ``auto`` runs it."""
    sizes = [(2, 64, 96), (1, 97, 131)] if scale.device == 'cuda' else [(1, 33, 40)]
    for geometry, size in product(GEOMETRIES, sizes):
        net, x = scale.net(geometry).eval(), scale.images(*size)
        with use_backend('reference'):
            exact = _step(net.double(), x.cpu().double())
        net = net.float().to(scale.device)
        for dtype, (limit, of_parameters) in BACKBONE.items():
            if scale.device == 'cpu' and dtype == torch.float16:
                continue
            with without_tf32(), scale.autocast(dtype):
                found = _step(net, x)
            errors = [worst_error(a, b) for a, b in zip(found, exact, strict=True)]
            ok = errors[0] <= limit and errors[1] <= of_parameters
            what = f'MS-MLP, {geometry}, {"x".join(map(str, size))}, {_name(dtype)}'
            result = f'outputs {errors[0]:.1e}, gradients {errors[1]:.1e}'
            yield finding(what, result, ok, max(errors))


def _first_map(scale: Scale) -> tuple[Tensor, Filters]:
    """An empty map of the first stage and its filters, on the device."""
    filters = _filters(scale, 0, scale.maps[0][2], torch.float32)
    moved = Filters(*([t.to(scale.device) for t in part] for part in filters))
    return torch.zeros(scale.maps[0][1:], device=scale.device), moved


def _chosen(x: Tensor, filters: Filters) -> str:
    return dispatch.select_backend(x, [*filters.weights_h, *filters.weights_v])


def _why_no_kernels(scale: Scale) -> str | None:
    x, filters = _first_map(scale)
    return dispatch.why_not('triton', x, [*filters.weights_h, *filters.weights_v])


def _filters(scale: Scale, stage: int, channels: int, dtype: torch.dtype) -> Filters:
    """Random filters of a stage, bfloat16's numbers, on the CPU."""
    arch = ARCHS[scale.arch] if isinstance(scale.arch, str) else scale.arch
    sizes = arch['mix_sizes'][stage]
    widths = [len(part) for part in torch.arange(channels).chunk(len(sizes))]
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).bfloat16().to(dtype)

    groups = list(zip(widths, sizes, strict=True))
    weights = [[draw(c, 1, r, r) for c, r in groups] for _ in 'hv']
    biases = [[draw(c) for c in widths] for _ in 'hv']
    return Filters(weights[0], biases[0], weights[1], biases[1])


def _results(
    backend: str, x: Tensor, grad: Tensor, filters: Filters, order: str
) -> list[Tensor]:
    """Output and every gradient, through PyTorch's own autograd."""
    x = x.detach().requires_grad_()
    lists = [[t.detach().requires_grad_() for t in part] for part in filters]
    with without_tf32(), use_backend(backend):
        y = mix_shift(x, *lists, SHIFTS[order], order)
        leaves = [x, *(tensor for part in lists for tensor in part)]
        return [y.detach(), *torch.autograd.grad(y, leaves, grad)]


def _step(net: MSMLP, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and the image's gradient; the parameters' gradients.

    The loss is a random projection: squares of normalised maps have no gradient.
    """
    x = x.detach().requires_grad_()
    outputs = net(x)
    drawn = torch.Generator().manual_seed(1)
    grads = [torch.randn(y.shape, generator=drawn).to(y) for y in outputs]
    inputs = [x, *net.parameters()]
    of_x, *of_parameters = torch.autograd.grad(outputs, inputs, grads)
    return [*(y.detach() for y in outputs), of_x], of_parameters


def _driver() -> str:
    """What nvidia-smi calls the driver; its version is nowhere in PyTorch."""
    tool = shutil.which('nvidia-smi')
    if tool is None:
        return 'unknown'
    command = [tool, '--query-gpu=driver_version', '--format=csv,noheader', '--id=0']
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.stdout.strip() or 'unknown'


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix('torch.')
