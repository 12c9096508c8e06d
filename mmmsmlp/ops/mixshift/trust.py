"""Whether the Triton kernels give the right numbers on a GPU: tried once, then known.

``auto`` takes no kernel on its word: what compiles for one GPU, driver and Triton may
compute something else, or nothing, on the next. The first call of a kind runs a small
random map through the kernels and through the eager path. If they differ, every later
call on that GPU is the eager path's, and one warning says so.
"""

import warnings
from types import ModuleType

import torch
from torch import Tensor

from .dispatch import AUTO, ENV, auto_takes_triton, distrusted, implementation
from .spec import Filters, Groups

# Of a tensor's error relative to its norm. Rounding stays well below; a tap in the
# wrong place, or a value that was not written, is of the order of one.
LIMITS = {torch.float32: 1e-3, torch.float16: 4e-3, torch.bfloat16: 2e-2}
HEIGHT, WIDTH = 9, 21  # of the map: no multiples of a tile, and more than a shift
# By device, dtype, groups and form of the kernels: whether gradients are right, too.
_proved: dict[tuple, bool] = {}


def trusted_backend(
    backend: str, x: Tensor, groups: Groups, with_gradients: bool, may_try: bool = True
) -> str:
    """The backend that computes ``x``: of 'auto', Triton where it is proved right.

    Args:
        backend: By name, which is taken as it is, or 'auto' where Triton can run.
        x: The map (N, C, H, W), in the precision of the computation.
        groups: Of its filters.
        with_gradients: Whether the gradients must be right, too.
        may_try: False in a backward pass, whose forward pass has tried the gradients.
    """
    if backend != AUTO:
        return backend
    if not auto_takes_triton(x):
        return 'eager'
    variant = implementation('triton').variant(x.shape, groups, x.device)
    kind = x.device, x.dtype, groups, variant
    proved = _proved.get(kind)
    if proved is not None and proved >= with_gradients:
        return 'triton'
    if not may_try or is_capturing(x):
        return 'eager'  # captures need warming up, which has tried what they take
    fault = find_fault(x, groups, with_gradients)
    if fault is None:
        _proved[kind] = with_gradients
        return 'triton'
    distrusted.add(str(x.device))
    warnings.warn(_complaint(x, fault), RuntimeWarning, stacklevel=2)
    return 'eager'


def is_capturing(x: Tensor) -> bool:
    """Whether launches on this device are recorded for a CUDA graph and not run."""
    return x.is_cuda and torch.cuda.is_current_stream_capturing()


def find_fault(x: Tensor, groups: Groups, with_gradients: bool) -> str | None:
    """What is wrong with the kernels that maps like ``x`` run on, or None.

    Random numbers are of a generator of their own, on the CPU. Where it fails for lack
    of memory, that is raised: it says nothing about the kernels.
    """
    kernels, eager = implementation('triton'), implementation('eager')
    shape = [2, groups.channels, HEIGHT, WIDTH]
    wanted = kernels.variant(x.shape, groups, x.device)
    while kernels.variant(shape, groups, x.device) < wanted:
        shape[0] *= 2  # large maps run on programs of more warps
    with torch.no_grad():
        maps, filters = _draw(shape, x, groups)
        try:
            ours = _results(kernels, maps, filters, groups, with_gradients)
            finite = [bool(tensor.isfinite().all()) for tensor in ours]
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as fault:  # of a compiler, a driver: anything may be missing
            return ': '.join([type(fault).__name__, *str(fault).splitlines()[:1]])
        # Neither autocast nor TF32 touches float64.
        maps = [tensor.double() for tensor in maps]
        filters = Filters(*([t.double() for t in tensors] for tensors in filters))
        theirs = _results(eager, maps, filters, groups, with_gradients)
        pairs = zip(ours, theirs, strict=True)
        error = max((a.double() - b).norm() / b.norm() for a, b in pairs).item()
    if all(finite) and error <= LIMITS[x.dtype]:
        return None
    name = str(x.dtype).removeprefix('torch.')
    return f'an error of {error:.1e} in {name}, where {LIMITS[x.dtype]:.0e} is allowed'


def _draw(shape: list[int], x: Tensor, groups: Groups) -> tuple[list[Tensor], Filters]:
    """A map and a gradient of this shape, and filters, as those of ``x``."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        drawn = torch.randn(shape, generator=generator, device='cpu')
        return drawn.to(x.device, x.dtype)

    shapes = list(zip(groups.widths, groups.sizes, strict=True))
    weights = [[draw(c, 1, r, r) / r for c, r in shapes] for _ in 'hv']
    biases = [[draw(c) for c in groups.widths] for _ in 'hv']
    maps = [draw(2, *shape[1:]).repeat(shape[0] // 2, 1, 1, 1) for _ in 'xg']
    return maps, Filters(weights[0], biases[0], weights[1], biases[1])


def _results(
    backend: ModuleType,
    maps: list[Tensor],
    filters: Filters,
    groups: Groups,
    with_gradients: bool,
) -> list[Tensor]:
    """What a backend computes of a map and a gradient: output, gradients."""
    x, grad = maps
    found = [backend.forward(x, filters, groups)]
    if with_gradients:
        grad_x, *grads = backend.backward(grad, x, filters, groups)
        found += [grad_x, *(tensor for part in grads for tensor in part)]
    return found


def _complaint(x: Tensor, fault: str) -> str:
    place = torch.cuda.get_device_name(x.device) if x.is_cuda else str(x.device)
    return (
        f'mix-shift by Triton failed its check on {place} ({fault}), so from now on '
        "PyTorch's own operations compute it. Please report it with the file that "
        f'`python -m mmmsmlp gpu-check` writes; {ENV}=eager silences this.'
    )
