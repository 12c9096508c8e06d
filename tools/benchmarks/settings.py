"""The conditions under which everything of one table is measured."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from .models import FORMATS
from .timing import interleave

Calls = Mapping[tuple[str, str], Callable[[], object]]  # by model key and layout


@dataclass(frozen=True)
class Settings:
    """Conditions of one table.

    Args:
        size: 't', 's' or 'b'.
        shape: (N, H, W) of the images.
        device: 'cpu' or 'cuda'.
        dtype: float32, or the precision of autocast.
        rounds: Samples of each call.
        min_time: Seconds that a sample lasts at least.
    """

    size: str
    shape: tuple[int, int, int]
    device: str
    dtype: torch.dtype
    rounds: int
    min_time: float

    def autocast(self) -> AbstractContextManager:
        """Lower the precision as training does, unless it is float32."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device, self.dtype)

    def images(self, layout: str) -> Tensor:
        """Random images (N, 3, H, W) in a memory layout."""
        n, height, width = self.shape
        x = torch.randn(n, 3, height, width, device=self.device)
        return x.contiguous(memory_format=FORMATS[layout])

    def time(self, calls: Calls, rounds: int | None = None) -> dict:
        """Samples of each call, see :func:`interleave`."""
        warmups = 3 if self.device == 'cuda' else 1
        rounds = rounds or self.rounds
        return interleave(calls, rounds, self.device, self.min_time, warmups)

    def row(self, section: str, key: str, label: str, layout: str, **numbers) -> dict:
        """A result, ready for JSON."""
        shape = 'x'.join(map(str, self.shape))
        place = dict(section=section, size=self.size, shape=shape)
        return dict(place, key=key, label=label, layout=layout, **numbers)
