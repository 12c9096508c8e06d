"""The channel groups of mix-shift: their filters, and how far from home each reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from torch import Tensor

ORDERS = ('mix_shift', 'shift_mix')


class Filters(NamedTuple):
    """Filters and biases of both branches, one of each a channel group.

    The horizontal branch is the one shifted along W. Filters are (c_n, 1, r_n, r_n), or
    (c_n, c_n, r_n, r_n) for a full convolution; biases (c_n,).
    """

    weights_h: Sequence[Tensor]
    biases_h: Sequence[Tensor]
    weights_v: Sequence[Tensor]
    biases_v: Sequence[Tensor]

    def of(self, groups: slice) -> 'Filters':
        """Those of some neighbouring groups."""
        return Filters(*(tensors[groups] for tensors in self))


@dataclass(frozen=True)
class Groups:
    """Widths, filter sizes and distances; hashable, so that tables are cached by it."""

    widths: tuple[int, ...]
    sizes: tuple[int, ...]
    distances: tuple[int, ...]
    order: str

    @classmethod
    def of(
        cls, weights: Sequence[Tensor], distances: Sequence[int], order: str
    ) -> 'Groups':
        """The groups that the filters of one branch stand for."""
        widths = tuple([weight.shape[0] for weight in weights])
        sizes = tuple([weight.shape[-1] for weight in weights])
        return cls(widths, sizes, tuple(distances), order)

    @property
    def roll_first(self) -> bool:
        """Whether the map is rolled before it is mixed, as in the released code."""
        return self.order == 'shift_mix'

    @property
    def steps(self) -> tuple[int, ...]:
        """How far from its own place each group reads.

        The paper reads at i + d; the released code rolls by +d and so reads at i - d.
        """
        if self.roll_first:
            return tuple([-distance for distance in self.distances])
        return self.distances

    @property
    def channels(self) -> int:
        """Of all groups together."""
        return sum(self.widths)

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """First and last channel (exclusive) of each group."""
        stops = accumulate(self.widths)
        return [(stop - c, stop) for stop, c in zip(stops, self.widths, strict=True)]
