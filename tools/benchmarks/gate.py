"""The check that what is timed computes the right numbers."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import mmmsmlp
from mmmsmlp import MSMLP
from mmmsmlp.models.msmlp import MixShift
from mmmsmlp.ops import use_backend

from .baselines.focal_reference import focal_reference
from .baselines.straightforward import StraightforwardMSMLP, straightforward_mix_shift

GEOMETRIES = ('paper', 'released')
# Errors up to here pass even where the straightforward path happens to be exact.
FLOORS = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
DEEP_LIMIT = 1e-3  # float32 through a whole backbone and back


class GateRed(Exception):
    """A path computes other numbers than its oracle; nothing may be timed."""


@dataclass(frozen=True)
class Check:
    """An error relative to the oracle's largest magnitude, and what is allowed."""

    what: str
    error: float
    limit: float

    @property
    def green(self) -> bool:
        return self.error <= self.limit  # False for NaN

    def __str__(self) -> str:
        sign = 'ok ' if self.green else 'RED'
        return f'{sign} {self.what}: error {self.error:.1e}, allowed {self.limit:.1e}'


def run_gate(sizes: Sequence[str], device: str, dtype: torch.dtype) -> list[Check]:
    """Compare every path that will be timed with its oracle.

    Raises:
        GateRed: A check failed; the message names each that did.
    """
    checks = []
    with without_tf32():
        for size in sizes:
            checks += operator_checks(size, device, {torch.float32, dtype})
            checks += backbone_checks(size, device)
            checks += host_checks(size, device)
    red = [str(check) for check in checks if not check.green]
    if red:
        raise GateRed('\n'.join(red))
    return checks


def operator_checks(
    size: str, device: str, dtypes: Iterable[torch.dtype]
) -> Iterator[Check]:
    """The operator and its gradients against the reference in float64.

    Allowed is twice the error of the straightforward path in the same precision.
    """
    for geometry in GEOMETRIES:
        backbone = MSMLP(size, geometry)
        for i, stage in enumerate(backbone.stages):
            mix = stage.blocks[0].mix.to(device)
            side = 56 >> i
            x = torch.randn(2, mix_width(mix), side, side + 1, device=device)
            grad = torch.randn_like(x)
            with use_backend('reference'):
                oracle = _gradients(mix, x, grad, torch.float64)
            for dtype in sorted(dtypes, key=str):
                ours = _gradients(mix, x, grad, dtype)
                plain = _gradients(_Plain(mix, geometry), x, grad, dtype)
                for name, expected, a, b in zip(
                    ('output', 'gradient of x', 'gradients of the filters'),
                    oracle,
                    ours,
                    plain,
                    strict=True,
                ):
                    limit = max(2 * worst(b, expected), FLOORS[dtype])
                    what = f'operator, {geometry}, {size.upper()} stage {i + 1}, '
                    what += f'{str(dtype).removeprefix("torch.")}, {name}'
                    yield Check(what, worst(a, expected), limit)


class _Plain(nn.Module):
    """The operator in plain PyTorch operations, in either geometry."""

    def __init__(self, mix: MixShift, geometry: str):
        super().__init__()
        self.mix, self.released = mix, geometry == 'released'

    def forward(self, x: Tensor) -> Tensor:
        if self.released:
            return straightforward_mix_shift(x, self.mix)
        with use_backend('reference'):
            return self.mix(x)


def mix_width(mix: MixShift) -> int:
    """Channels of the map that ``mix`` takes."""
    return sum(conv.out_channels for conv in mix.horizontal)


def _gradients(module: nn.Module, x: Tensor, grad: Tensor, dtype: torch.dtype):
    """Output, gradient of x, and gradients of the parameters, as lists."""
    module, x = deepcopy(module).to(dtype), x.to(dtype).requires_grad_()
    y = module(x)
    inputs = [x, *module.parameters()]
    grad_x, *grads = torch.autograd.grad(y, inputs, grad.to(dtype))
    return [y], [grad_x], grads


def backbone_checks(size: str, device: str) -> Iterator[Check]:
    """MSMLP and its gradients against the straightforward path and the reference."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 64, 96, device=device)
    for geometry in GEOMETRIES:
        backbone = _visible(MSMLP(size, geometry)).to(device)
        ours = _train_step(backbone, x)
        if geometry == 'released':
            oracle, name = _train_step(StraightforwardMSMLP(backbone), x), 'baseline'
        else:
            with use_backend('reference'):
                oracle, name = _train_step(backbone, x), 'reference'
        for part, actual, expected in zip(
            ('outputs', 'gradients'), ours, oracle, strict=True
        ):
            what = f'MS-MLP-{size.upper()}, {geometry}, {part} against the {name}'
            yield Check(what, worst(actual, expected), DEEP_LIMIT)


def _visible(backbone: nn.Module) -> nn.Module:
    """Draw the layer scales: at 1e-6 no error of a block would be seen."""
    for name, parameter in backbone.named_parameters():
        if name.endswith('gamma'):
            nn.init.uniform_(parameter, 0.1, 0.3)
    return backbone


def host_checks(size: str, device: str) -> Iterator[Check]:
    """Focal against the release's formulation; the hybrids against the reference."""
    x = torch.randn(1, 3, 64, 96, device=device)
    for name in ('FocalTransformer', 'MSMLPSwin', 'MSMLPFocal'):
        torch.manual_seed(0)
        backbone = _visible(getattr(mmmsmlp, name)(size)).to(device)
        ours = _train_step(backbone, x)
        if name == 'FocalTransformer':
            with focal_reference(backbone):
                oracle, of = _train_step(backbone, x), 'the baseline'
        else:
            with use_backend('reference'):
                oracle, of = _train_step(backbone, x), 'the reference backend'
        for part, actual, expected in zip(
            ('outputs', 'gradients'), ours, oracle, strict=True
        ):
            what = f'{name}-{size.upper()}, {part} against {of}'
            yield Check(what, worst(actual, expected), DEEP_LIMIT)


def _train_step(model: nn.Module, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    outputs = model(x)
    draw = torch.Generator().manual_seed(0)
    grads = [torch.randn(y.shape, generator=draw).to(y.device) for y in outputs]
    parameters = list(model.parameters())
    return [*outputs], [*torch.autograd.grad(outputs, parameters, grads)]


def worst(actual: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Largest error of any tensor, relative to that tensor's largest magnitude."""
    errors = [
        (a.double() - e.double()).abs().max() / e.double().abs().max()
        for a, e in zip(actual, expected, strict=True)
    ]
    return torch.stack(errors).detach().max().item()


@contextmanager
def without_tf32() -> Iterator[None]:
    """Full float32 products on a GPU: lower ones would hide what is compared."""
    places = torch.backends.cudnn, torch.backends.cuda.matmul
    outer = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = False
    try:
        yield
    finally:
        for place, allowed in zip(places, outer, strict=True):
            place.allow_tf32 = allowed
