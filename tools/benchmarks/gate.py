"""The check that what is timed computes the right numbers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmmsmlp import MSMLP, FocalTransformer, MSMLPFocal, MSMLPSwin
from mmmsmlp.models.msmlp import MixShift
from mmmsmlp.ops import use_backend

from .baselines.focal_reference import focal_reference
from .baselines.straightforward import StraightforwardMSMLP, straightforward_mix_shift

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
    parts = 'output', 'gradient of x', 'gradients of the filters'
    for geometry in ('paper', 'released'):
        plain = straightforward_mix_shift if geometry == 'released' else _by_reference
        for i, stage in enumerate(MSMLP(size, geometry).stages):
            mix, side = stage.blocks[0].mix.to(device), 56 >> i
            x = torch.randn(2, sum(mix.groups.widths), side, side + 1, device=device)
            grad = torch.randn_like(x)
            oracle = _gradients(_by_reference, mix, x, grad, torch.float64)
            for dtype in sorted(dtypes, key=str):
                ours = _gradients(lambda x, mix: mix(x), mix, x, grad, dtype)
                others = _gradients(plain, mix, x, grad, dtype)
                for j, part in enumerate(parts):
                    limit = max(2 * worst(others[j], oracle[j]), FLOORS[dtype])
                    what = f'operator, {geometry}, {size.upper()} stage {i + 1}, '
                    what += f'{str(dtype).removeprefix("torch.")}, {part}'
                    yield Check(what, worst(ours[j], oracle[j]), limit)


def _by_reference(x: Tensor, mix: MixShift) -> Tensor:
    with use_backend('reference'):
        return mix(x)


def _gradients(
    function: Callable, mix: MixShift, x: Tensor, grad: Tensor, dtype: torch.dtype
):
    """Output, gradient of x, and gradients of the parameters, as lists."""
    mix, x = deepcopy(mix).to(dtype), x.to(dtype).requires_grad_()
    y = function(x, mix)
    inputs = [x, *mix.parameters()]
    grad_x, *grads = torch.autograd.grad(y, inputs, grad.to(dtype))
    return [y], [grad_x], grads


@contextmanager
def _referring(backbone: nn.Module) -> Iterator[nn.Module]:
    """Let ``backbone`` compute on the reference backend."""
    with use_backend('reference'):
        yield backbone


# What is checked, how it is built, what makes its oracle of it, and that one's name.
BACKBONES = (
    ('MS-MLP-{}, paper', MSMLP, _referring, 'the reference'),
    (
        'MS-MLP-{}, released',
        lambda size: MSMLP(size, 'released'),
        lambda backbone: nullcontext(StraightforwardMSMLP(backbone)),
        'the baseline',
    ),
    ('FocalTransformer-{}', FocalTransformer, focal_reference, 'the baseline'),
    ('MSMLPSwin-{}', MSMLPSwin, _referring, 'the reference backend'),
    ('MSMLPFocal-{}', MSMLPFocal, _referring, 'the reference backend'),
)


def backbone_checks(size: str, device: str) -> Iterator[Check]:
    """Whole backbones and their gradients, each against its oracle."""
    for what, build, oracle_of, name in BACKBONES:
        torch.manual_seed(0)
        x = torch.randn(2, 3, 64, 96, device=device)
        backbone = _visible(build(size)).to(device)
        ours = _train_step(backbone, x)
        with oracle_of(backbone) as oracle:
            theirs = _train_step(oracle, x)
        for part, a, b in zip(('outputs', 'gradients'), ours, theirs, strict=True):
            what_part = f'{what.format(size.upper())}, {part} against {name}'
            yield Check(what_part, worst(a, b), DEEP_LIMIT)


def _visible(backbone: nn.Module) -> nn.Module:
    """Draw the layer scales: at 1e-6 no error of a block would be seen."""
    for name, parameter in backbone.named_parameters():
        if name.endswith('gamma'):
            nn.init.uniform_(parameter, 0.1, 0.3)
    return backbone


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
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    outer = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = outer
