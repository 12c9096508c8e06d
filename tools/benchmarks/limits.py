"""The limit of a model: the time that its matrix products alone take on this machine.

The products are collected from a call, each shape is timed with every library that
PyTorch offers for it, and the fastest counts as often as the shape occurred.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from statistics import median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mmmsmlp.ops.torch_private import ONEDNN_LINEAR, onednn_is_on

from .backbones import CALLS
from .models import Subject
from .settings import Settings
from .timing import interleave

ROUNDS, MIN_TIME = 3, 0.02  # samples of a shape and library, seconds of each
OUTPUT, INPUT, WEIGHT = 'output', 'input', 'weight'


class Product(NamedTuple):
    """``batch`` products of an (m, k) and a (k, n) matrix."""

    dtype: torch.dtype
    batch: int
    m: int
    k: int
    n: int


class Convolution(NamedTuple):
    """A dense convolution that is no single product, or one of its gradients."""

    dtype: torch.dtype
    x: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    wanted: str  # OUTPUT, INPUT or WEIGHT


Work = Product | Convolution


def count_products(call: Callable[[], object]) -> Counter[Work]:
    """How often a call needs each product: of linear layers, attention, convolutions.

    Convolutions in groups, such as depth-wise ones, and transposed ones are none. One
    whose windows do not overlap, such as 1x1, is a product of tokens and weights; any
    other one counts as itself.
    """
    with _Counting() as counting:
        call()
    return counting.found


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[Work] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = kwargs or {}
        find = _rule_of(func.overloadpacket.__name__)
        if find is None:
            with self:  # inference mode hands over operations that consist of others
                result = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if result is NotImplemented else result
        self.found.update(find(*args))
        return func(*args, **kwargs)


def _rule_of(name: str) -> Callable[..., Iterator[Work]] | None:
    """What finds the products in the arguments of an operation of this name."""
    if name.startswith('_scaled_dot_product_'):
        return _of_attention_grad if name.endswith('_backward') else _of_attention
    return RULES.get(name)


def _of_mm(a: Tensor, b: Tensor, *_: object) -> Iterator[Work]:
    yield Product(a.dtype, math.prod(a.shape[:-2]), *a.shape[-2:], b.shape[-1])


def _of_addmm(_: Tensor, a: Tensor, b: Tensor, *__: object) -> Iterator[Work]:
    yield from _of_mm(a, b)


def _of_linear(x: Tensor, weight: Tensor, *_: object) -> Iterator[Work]:
    n, k = weight.shape
    yield Product(x.dtype, 1, x.numel() // k, k, n)


def _of_attention(
    query: Tensor, key: Tensor, value: Tensor, *_: object
) -> Iterator[Work]:
    yield from _of_mm(query, key.mT)
    yield _attended(query, key, value)


def _of_attention_grad(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: object
) -> Iterator[Work]:
    """Of the weights and the value, then of query and key."""
    yield from _of_mm(grad, value.mT)
    dtype, batch, m, k, n = _attended(query, key, value)
    yield Product(dtype, batch, k, m, n)
    dtype, batch, m, k, n = _attended(query, key, key)
    yield Product(dtype, batch, m, k, n)
    yield Product(dtype, batch, k, m, n)


def _attended(query: Tensor, key: Tensor, value: Tensor) -> Product:
    """The weights, of each query to all keys, times the values."""
    *outer, length, _ = query.shape
    size = length, key.shape[-2], value.shape[-1]
    return Product(query.dtype, math.prod(outer), *size)


def _of_convolution(
    x: Tensor, weight: Tensor, bias: object, *settings: Any, wanted: str = OUTPUT
) -> Iterator[Work]:
    stride, padding, dilation, transposed, _, groups = settings
    if groups > 1 or transposed:
        return
    where = [tuple(values) for values in (stride, padding, dilation)]
    kernel = weight.shape[2:]
    apart = all(size <= step for size, step in zip(kernel, stride, strict=True))
    if any(padding) or not apart:
        shapes = tuple(x.shape), tuple(weight.shape)
        yield Convolution(x.dtype, *shapes, *where, wanted)
        return
    sides = zip(x.shape[2:], kernel, stride, strict=True)
    m = x.shape[0] * math.prod((side - size) // step + 1 for side, size, step in sides)
    n, k = weight.shape[0], weight[0].numel()
    sizes = {OUTPUT: (m, k, n), INPUT: (m, n, k), WEIGHT: (k, m, n)}
    yield Product(x.dtype, 1, *sizes[wanted])


def _of_convolution_grad(
    grad: Tensor, x: Tensor, weight: Tensor, bias: object, *settings: Any
) -> Iterator[Work]:
    *settings, (needs_input, needs_weight, _) = settings
    for wanted, needed in ((INPUT, needs_input), (WEIGHT, needs_weight)):
        if needed:
            yield from _of_convolution(x, weight, bias, *settings, wanted=wanted)


RULES: dict[str, Callable[..., Iterator[Work]]] = {
    'mm': _of_mm,
    'bmm': _of_mm,
    'addmm': _of_addmm,
    'baddbmm': _of_addmm,
    '_linear_pointwise': _of_linear,
    'convolution': _of_convolution,
    'convolution_backward': _of_convolution_grad,
}


@cache
def fastest(work: Work, device: str, rounds: int, min_time: float) -> tuple[str, float]:
    """The fastest library for a product, and the seconds that it takes."""
    calls = _libraries(work, device)
    with torch.inference_mode():
        times = interleave(calls, rounds, device, min_time)
    name = min(calls, key=lambda name: median(times[name]))
    return name, median(times[name])


def _libraries(work: Work, device: str) -> dict[str, Callable[[], object]]:
    make = partial(torch.randn, device=device, dtype=work.dtype)
    if isinstance(work, Convolution):
        return _convolutions(work, make)
    dtype, batch, m, k, n = work
    if batch > 1:
        a, b, b_t = make(batch, m, k), make(batch, k, n), make(batch, n, k)
        return {
            'bmm': lambda: torch.bmm(a, b),
            'bmm, transposed': lambda: torch.bmm(a, b_t.mT),
        }
    a, a_t, b, b_t, out = make(m, k), make(k, m), make(k, n), make(n, k), make(m, n)
    calls = {
        'mm': lambda: torch.mm(a, b, out=out),
        'mm, transposed': lambda: torch.mm(a_t.t(), b, out=out),
        'linear': lambda: F.linear(a, b_t),
    }
    if device == 'cpu' and dtype == torch.float32 and onednn_is_on():
        if ONEDNN_LINEAR is not None:
            calls['oneDNN linear'] = lambda: ONEDNN_LINEAR(
                a, b_t, None, 'none', [], 'none'
            )
        image, weight = a.view(1, m, 1, k).permute(0, 3, 1, 2), b_t.view(n, k, 1, 1)
        calls['oneDNN convolution'] = lambda: torch.conv2d(image, weight)
    return calls


def _convolutions(work: Convolution, make: Callable) -> dict[str, Callable]:
    """The same in both memory layouts."""
    _, shape, weight_shape, stride, padding, dilation, wanted = work
    calls = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        x = make(shape).contiguous(memory_format=layout)
        weight = make(weight_shape).contiguous(memory_format=layout)
        forward = partial(torch.conv2d, x, weight, None, stride, padding, dilation)
        name = str(layout).removeprefix('torch.')
        calls[f'convolution, {name}'] = forward
        if wanted != OUTPUT:
            calls[f'convolution, {name}'] = partial(
                torch.ops.aten.convolution_backward,
                forward(), x, weight, None, stride, padding, dilation, False, [0, 0],
                1, [wanted == INPUT, wanted == WEIGHT, False],
            )  # fmt: skip
    return calls


def add_limits(
    rows: Sequence[dict], subjects: Sequence[Subject], settings: Settings
) -> None:
    """Add to the rows of :func:`time_backbones` what their products alone take.

    ``limit_ms`` at the best libraries, ``of_limit`` as a share of the row's time, and
    ``limit_by``, how many of these milliseconds each library is the best for.
    """
    built = {(subject.key, subject.layout): subject for subject in subjects}
    for row in rows:
        subject = built[row['key'], row['layout']]
        found = count_products(CALLS[row['section']](subject, settings))
        row.update(limit_of(found, settings))
        row['of_limit'] = row['limit_ms'] / row['ms']


def limit_of(found: Counter[Work], settings: Settings) -> dict:
    """The milliseconds of all products, and their share by library."""
    rounds = min(ROUNDS, settings.rounds)
    min_time = min(MIN_TIME, settings.min_time)
    by_library: Counter[str] = Counter()
    for work, count in found.items():
        name, seconds = fastest(work, settings.device, rounds, min_time)
        by_library[name] += 1e3 * count * seconds
    return dict(limit_ms=by_library.total(), limit_by=dict(by_library))
