"""The geometry of mix-shift weights: its mark in a state dict, and the check of it.

Parameter shapes are the same in every geometry, so a state dict carries a small
integer tensor under ``geometry``: the order's code, then one distance a group.
"""

import re

import torch

from .errors import GeometryError

MARK = 'geometry'
DEFAULT_SHIFT_DIST = {
    'paper': (0, 1, 2, 3, 4),  # paper, Table 2
    'released': (-2, -1, 0, 1, 2),  # the authors' configs
}
_NAMES = tuple(DEFAULT_SHIFT_DIST)  # a name's place is its code in the mark
_RULES = {
    'paper': 'mix, then roll by -d, d = {}',
    'released': 'roll by +s, then mix, s = {}',
}
_MIX_WEIGHT = re.compile(r'(^|\.)mix\.(horizontal|vertical)\.\d+\.')


def resolve_geometry(geometry, shift_dist=None):
    """Settle the distances of a geometry.

    Args:
        geometry (str): 'paper' or 'released'.
        shift_dist (Sequence[int], optional): One distance a channel group, in
            tokens. Defaults to the geometry's own.

    Returns:
        tuple[str, tuple[int, ...]]: The geometry's name and the distances.

    Raises:
        ValueError: On an unknown geometry, a distance that is no integer, or a
            negative one in the paper's geometry.
    """
    if geometry not in _NAMES:
        raise ValueError(
            f'unknown geometry {geometry!r}; use one of {", ".join(map(repr, _NAMES))}'
        )
    if shift_dist is None:
        shift_dist = DEFAULT_SHIFT_DIST[geometry]
    shift_dist = tuple(shift_dist)
    if not shift_dist or any(int(d) != d for d in shift_dist):
        raise ValueError(f'shift_dist must be whole numbers, got {list(shift_dist)}')
    if geometry == 'paper' and min(shift_dist) < 0:
        raise ValueError(
            f"geometry='paper' counts distances from 0 up, got {list(shift_dist)}; "
            "signed distances belong to geometry='released'"
        )
    return geometry, tuple(int(d) for d in shift_dist)


def encode_geometry(geometry, shift_dist=None):
    """Encode a geometry as the mark that a state dict carries.

    Args:
        geometry (str): As in :func:`resolve_geometry`.
        shift_dist (Sequence[int], optional): As in :func:`resolve_geometry`.

    Returns:
        torch.Tensor: int64, ``[code, d_1, ..., d_S]``.

    Raises:
        ValueError: As :func:`resolve_geometry`.
    """
    geometry, shift_dist = resolve_geometry(geometry, shift_dist)
    return torch.tensor([_NAMES.index(geometry), *shift_dist], dtype=torch.int64)


def decode_geometry(mark):
    """Read a mark back.

    Args:
        mark (torch.Tensor): What :func:`encode_geometry` returns.

    Returns:
        tuple[str, tuple[int, ...]]: The geometry's name and the distances.

    Raises:
        GeometryError: If the tensor is no mark.
    """
    valid = (
        isinstance(mark, torch.Tensor)
        and mark.dtype == torch.int64
        and mark.dim() == 1
        and mark.numel() >= 2
        and 0 <= int(mark[0]) < len(_NAMES)
    )
    if not valid:
        raise GeometryError(
            f'the geometry mark {mark!r} cannot be read; it must be an int64 vector '
            '[0 paper | 1 released, d_1, ..., d_S]'
        )
    code, *shift_dist = mark.tolist()
    return _NAMES[code], tuple(shift_dist)


def describe_geometry(mark):
    """Say a mark in words: 'paper: mix, then roll by -d, d = 0, 1, 2, 3, 4'."""
    name, shift_dist = decode_geometry(mark)
    return f'{name}: {_RULES[name].format(", ".join(map(str, shift_dist)))}'


def config_for(mark):
    """Write a mark as the backbone's config arguments that build it."""
    name, shift_dist = decode_geometry(mark)
    if shift_dist == DEFAULT_SHIFT_DIST[name]:
        return f"geometry='{name}'"
    return f"geometry='{name}', shift_dist={shift_dist}"


def holds_mix_weights(state_dict, prefix=''):
    """Tell whether a state dict holds mix-shift weights under ``prefix``."""
    return any(
        key.startswith(prefix) and _MIX_WEIGHT.search(key, len(prefix))
        for key in state_dict
    )


def check_geometry(expected, state_dict, prefix=''):
    """Refuse a state dict whose mix-shift weights are of another geometry.

    For a backbone's ``_load_from_state_dict``, before anything is copied. A
    state dict without mix-shift weights and without a mark under ``prefix`` has
    nothing to check (a host's weights for a hybrid, or another model).

    Args:
        expected (torch.Tensor): The mark of the model that is to be filled.
        state_dict (dict): The weights.
        prefix (str): What the model's keys start with, such as 'backbone.'.

    Raises:
        GeometryError: If the mark differs, or if there are mix-shift weights
            without one.
    """
    mark = state_dict.get(prefix + MARK)
    if mark is None:
        if holds_mix_weights(state_dict, prefix):
            raise GeometryError(
                'these mix-shift weights state no geometry, and their shapes cannot '
                f'tell it; this model is built as {describe_geometry(expected)}. '
                'State the geometry that they were trained with: '
                'torch.save(mmmsmlp.geometry.mark_geometry(state_dict, geometry), '
                'FILE).'
            )
        return
    if decode_geometry(mark) != decode_geometry(expected):
        raise GeometryError(
            f'the weights were trained as {describe_geometry(mark)}; this model is '
            f'built as {describe_geometry(expected)}. Set {config_for(mark)} in the '
            "config's backbone, or use weights of the model's own geometry."
        )


def mark_geometry(state_dict, geometry, shift_dist=None):
    """State the geometry of unmarked mix-shift weights.

    Args:
        state_dict (dict): Weights under MSMLP's own key names, of a backbone
            alone or of a whole model (``backbone.``-prefixed).
        geometry (str): 'paper' or 'released': how they were trained.
        shift_dist (Sequence[int], optional): Their distances, if not the
            geometry's default.

    Returns:
        dict: A copy with the mark, ready for ``torch.save``.

    Raises:
        GeometryError: If the weights hold no mix-shift weights or carry a
            different mark already.
    """
    prefix = 'backbone.' if holds_mix_weights(state_dict, 'backbone.') else ''
    if not holds_mix_weights(state_dict, prefix):
        raise GeometryError('there are no mix-shift weights here to mark')
    mark = encode_geometry(geometry, shift_dist)
    if prefix + MARK in state_dict:
        check_geometry(mark, state_dict, prefix)
    return {**state_dict, prefix + MARK: mark}
