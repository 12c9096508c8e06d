"""The geometry of mix-shift weights: its mark in a state dict, and the check of it.

Parameter shapes are the same in every geometry, so a state dict carries a small
integer tensor under ``geometry``: the order's code, then one distance a group.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import GeometryError

MARK = 'geometry'
_DEFAULTS = {
    'paper': (0, 1, 2, 3, 4),  # paper, Table 2
    'released': (-2, -1, 0, 1, 2),  # the authors' configs
}
_NAMES = tuple(_DEFAULTS)  # a name's place is its code in the mark
_ORDERS = {'paper': 'mix_shift', 'released': 'shift_mix'}
_RULES = {
    'paper': 'mix, then roll by -d, d = {}',
    'released': 'roll by +s, then mix, s = {}',
}
_STAGE = re.compile(r'(?:^|\.)(stage0|stages)\.')  # where a backbone's own names begin
_MIX_WEIGHT = re.compile(r'(^|\.)mix\.(horizontal|vertical)\.\d+\.')


@dataclass(frozen=True)
class Geometry:
    """What mix-shift weights were trained as; in words with ``str``.

    Attributes:
        name: 'paper' or 'released'.
        distances: One a channel group, in tokens.
    """

    name: str
    distances: tuple[int, ...]

    @classmethod
    def of(cls, name: str, shift_dist: Sequence[int] | None = None) -> 'Geometry':
        """Check what a config says; without distances the geometry's own are taken.

        Raises:
            ValueError: An unknown name, a distance that is no integer, or a negative
                one in the paper's geometry.
        """
        if name not in _NAMES:
            raise ValueError(
                f'unknown geometry {name!r}; use one of {", ".join(map(repr, _NAMES))}'
            )
        distances = tuple(_DEFAULTS[name] if shift_dist is None else shift_dist)
        if not distances or any(int(d) != d for d in distances):
            raise ValueError(f'shift_dist must be whole numbers, got {list(distances)}')
        if name == 'paper' and min(distances) < 0:
            raise ValueError(
                f"geometry='paper' counts distances from 0 up, got {list(distances)}; "
                "signed distances belong to geometry='released'"
            )
        return cls(name, tuple(int(d) for d in distances))

    @classmethod
    def from_mark(cls, mark: Tensor) -> 'Geometry':
        """Read a mark back.

        Raises:
            GeometryError: The tensor is no mark.
        """
        valid = (
            isinstance(mark, Tensor)
            and mark.dtype == torch.int64
            and mark.dim() == 1
            and mark.numel() >= 2
            and 0 <= int(mark[0]) < len(_NAMES)
        )
        if not valid:
            raise GeometryError(
                f'the geometry mark {mark!r} cannot be read; it must be an int64 '
                'vector [0 paper | 1 released, d_1, ..., d_S]'
            )
        code, *distances = mark.tolist()
        return cls(_NAMES[code], tuple(distances))

    def mark(self) -> Tensor:
        """What a state dict carries: int64, ``[code, d_1, ..., d_S]``."""
        return torch.tensor([_NAMES.index(self.name), *self.distances])

    @property
    def order(self) -> str:
        """As :func:`mmmsmlp.ops.mix_shift` takes it: 'mix_shift' or 'shift_mix'."""
        return _ORDERS[self.name]

    @property
    def has_default_distances(self) -> bool:
        return self.distances == _DEFAULTS[self.name]

    def __str__(self) -> str:
        rule = _RULES[self.name].format(', '.join(map(str, self.distances)))
        return f'{self.name}: {rule}'

    def as_config(self) -> str:
        """The backbone's config arguments that build it."""
        if self.has_default_distances:
            return f"geometry='{self.name}'"
        return f"geometry='{self.name}', shift_dist={self.distances}"


def holds_mix_weights(keys: Iterable[str], prefix: str = '') -> bool:
    """Tell whether there are mix-shift weights under ``prefix``."""
    return any(
        key.startswith(prefix) and _MIX_WEIGHT.search(key, len(prefix)) for key in keys
    )


def check_geometry(
    expected: Geometry, state_dict: Mapping[str, Tensor], prefix: str = ''
) -> None:
    """Refuse a state dict whose mix-shift weights are of another geometry.

    For a backbone's ``_load_from_state_dict``, before anything is copied. Without
    mix-shift weights and without a mark under ``prefix``, which the model's keys start
    with, there is nothing to check (a host's weights for a hybrid, or another model).

    Raises:
        GeometryError: The mark differs, or there are mix-shift weights without one.
    """
    mark = state_dict.get(prefix + MARK)
    if mark is None:
        if holds_mix_weights(state_dict, prefix):
            raise GeometryError(
                'these mix-shift weights state no geometry, and their shapes cannot '
                f'tell it; this model is built as {expected}. '
                'State the geometry that they were trained with: '
                'torch.save(mmmsmlp.mark_geometry(state_dict, geometry), '
                'FILE).'
            )
        return
    given = Geometry.from_mark(mark)
    if given != expected:
        raise GeometryError(
            f'the weights were trained as {given}; this model is built as {expected}. '
            f"Set {given.as_config()} in the config's backbone, or use weights of the "
            "model's own geometry."
        )


def mark_geometry(
    state_dict: Mapping[str, Tensor],
    geometry: str,
    shift_dist: Sequence[int] | None = None,
) -> dict[str, Tensor]:
    """State the geometry of unmarked mix-shift weights.

    Args:
        state_dict: Weights under MSMLP's own key names, of a backbone alone or of a
            whole model (with a prefix such as ``backbone.``).
        geometry: 'paper' or 'released': how they were trained.
        shift_dist: Their distances, if not the geometry's default.

    Returns:
        A copy with the mark, ready for ``torch.save``.

    Raises:
        GeometryError: There are no mix-shift weights, or they carry a different mark.
        ValueError: There is no such geometry, or the distances are no whole numbers.
    """
    key = next(filter(_MIX_WEIGHT.search, state_dict), None)
    if key is None:
        raise GeometryError('there are no mix-shift weights here to mark')
    inside = _STAGE.search(key)
    prefix = key[: inside.start(1)] if inside else ''
    stated = Geometry.of(geometry, shift_dist)
    if prefix + MARK in state_dict:
        check_geometry(stated, state_dict, prefix)
    return {**state_dict, prefix + MARK: stated.mark()}
