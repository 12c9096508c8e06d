"""On what ``gpu_check`` runs, how much of it, and how a finding is written."""

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from mmmsmlp import MSMLP

from .settings import Settings


class Scale(NamedTuple):
    """A whole GPU, or a CPU in small."""

    device: str
    arch: str | dict
    shape: tuple[int, int, int]  # (N, H, W) of what is timed
    maps: tuple[tuple[int, int, int, int, int], ...]  # (stage, N, C, H, W) of the gate
    rounds: int
    min_time: float

    def settings(self) -> Settings:
        """For the benchmark's sections."""
        return Settings(
            't', self.shape, self.device, self.dtype, self.rounds, self.min_time
        )

    @property
    def dtype(self) -> torch.dtype:
        """Of what is timed."""
        return torch.bfloat16 if self.device == 'cuda' else torch.float32

    def autocast(self, dtype: torch.dtype | None = None) -> AbstractContextManager:
        """Lower the precision, by default to that of what is timed."""
        return replace(self.settings(), dtype=dtype or self.dtype).autocast()

    def net(self, geometry: str = 'paper') -> MSMLP:
        """The backbone, the same weights at every call, on the CPU.

        Its layer scales are 0.5: at 1e-6 no error of a block would be seen.
        """
        torch.manual_seed(0)
        return MSMLP(self.arch, geometry, layer_scale_init_value=0.5)

    def images(self, *shape: int) -> Tensor:
        """The same images (N, 3, H, W) at every call, on the device."""
        drawn = torch.Generator().manual_seed(0)
        return torch.randn(shape[0], 3, *shape[1:], generator=drawn).to(self.device)


FULL = Scale(
    'cuda',
    'tiny',
    (128, 224, 224),
    (
        *((0, 16, 96, 56, 56), (0, 2, 96, 57, 43), (0, 1, 96, 1, 1)),
        *((1, 2, 192, 28, 29), (2, 2, 384, 13, 17), (2, 1, 384, 3, 100)),
        *((3, 5, 768, 7, 7), (0, 1, 128, 25, 41), (0, 2, 48, 31, 33)),
    ),
    5,
    0.1,
)
SMALL = Scale(
    'cpu',
    dict(embed_dims=20, depths=[1, 1, 2, 1], mix_sizes=[[1, 1, 1, 1, 3]] * 4),
    (1, 64, 64),
    ((0, 1, 20, 4, 3),),
    1,
    0.0,
)
SCALES = {'cuda': FULL, 'cpu': SMALL}


def finding(
    what: str,
    result: str,
    ok: bool | None = None,
    value: float | None = None,
    bar: float | None = None,
) -> dict:
    """A row of the table, ready for JSON.

    Args:
        what: What was looked at.
        result: What was seen, in words or with its unit.
        ok: Whether it is as it must be; None where nothing is demanded.
        value: What was seen, as a number.
        bar: The speed to reach, where ``ok`` is about speed and not about numbers.
    """
    return dict(what=what, result=result, ok=ok, value=value, bar=bar)


def worst_error(found: list[Tensor], exact: list[Tensor]) -> float:
    """Largest error of any tensor, relative to its norm; NaN where there is any."""
    errors = []
    for a, b in zip(found, exact, strict=True):
        b = b.to(a.device, torch.float64)
        errors.append((a.double() - b).norm() / b.norm().clamp_min(1e-30))
    return torch.stack(errors).max().item()
