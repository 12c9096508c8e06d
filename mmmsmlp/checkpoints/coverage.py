"""Does this checkpoint fill this backbone, tensor by tensor? Then load it."""

import os
import re
from collections import Counter
from dataclasses import dataclass

import torch
from mmengine.logging import print_log

from ..errors import CheckpointError, GeometryError, join_some
from ..geometry import (
    MARK,
    check_geometry,
    decode_geometry,
    encode_geometry,
    holds_mix_weights,
)
from .families import find_family
from .layouts import find_backbone_state
from .reader import read_checkpoint
from .wording import compare_tensors, count_by_part, part_of

_OUTPUT_NORM = re.compile(r'norm[0-3]\.')
_LATE_STAGE = re.compile(r'(?:stages\.|norm)([0-3])\.')


@dataclass(frozen=True)
class Coverage:
    """What was loaded and what was not.

    Attributes:
        file (str): Where it came from.
        layout (str): How it was found in the file, and the family of its keys.
        geometry (str or None): The mix-shift geometry, where there is one.
        loaded (tuple[str]): The backbone's tensors that were filled.
        total (int): How many tensors the backbone has; the mark is not counted.
        num_parameters (int): Elements of the loaded tensors.
        fresh (tuple[str]): The backbone's tensors that keep their initial values.
        ignored (dict[str, int]): Parts of the file that the backbone does not have,
            and how many tensors each.
    """

    file: str
    layout: str
    geometry: str | None
    loaded: tuple
    total: int
    num_parameters: int
    fresh: tuple
    ignored: dict

    def __str__(self):
        geometry = f', geometry {self.geometry}' if self.geometry else ''
        line = (
            f'loaded {len(self.loaded)}/{self.total} tensors '
            f'({self.num_parameters / 1e6:.1f} M parameters) from {self.file} '
            f'[layout {self.layout}{geometry}]'
        )
        if self.fresh:
            parts = dict.fromkeys(part_of(key) for key in self.fresh)
            line += f'; fresh: {join_some(parts)}'
        if self.ignored:
            line += f'; ignored: {count_by_part(self.ignored)}'
        return line


def _log(message):
    print_log(message, logger='current')


def load_pretrained(backbone, checkpoint, fresh=(), log=_log):
    """Fill a backbone from a checkpoint, completely or not at all.

    Every parameter and persistent buffer must be in the file with its exact shape,
    but for the output norms ``norm0`` to ``norm3`` and what ``fresh`` names. The
    file may hold, beside it, a head, output norms and late stages that the backbone
    does not build; anything else unknown is refused (design: loud weights).

    Args:
        backbone (torch.nn.Module): With a buffer ``geometry`` if it has mix-shift
            blocks.
        checkpoint (str or os.PathLike): A file of any layout that
            :func:`~mmmsmlp.checkpoints.layouts.find_backbone_state` knows.
        fresh (Sequence[str]): Parts of the backbone that keep their initial values,
            such as 'stages.0'; what the file holds for them is not read.
        log (Callable[[str], None]): Receives the one line of the coverage.

    Returns:
        Coverage: What was loaded.

    Raises:
        CheckpointError: If the file cannot be read safely or does not fit.
        GeometryError: If its mix-shift geometry is another one, or not stated.
        ValueError: If ``fresh`` names nothing that the backbone has.
    """
    own = backbone.state_dict()
    fresh = _check_fresh(fresh, own)
    found = _find(checkpoint)
    layout = found.layout
    if found.left_aside:
        layout += f', not {" or ".join(found.left_aside)}'
    try:
        tensors, family = _own_names(found)
        layout += f', {family} keys' if family else ''
        ignored = Counter(found.ignored) + _drop(tensors, _is_known_extra(own, fresh))
        geometry = _check_mark(own, tensors)
    except CheckpointError as error:
        raise type(error)(f'{checkpoint} [layout {layout}]: {error}') from None
    optional = [k for k in own if _OUTPUT_NORM.match(k) or _is_under(k, fresh)]
    problems = compare_tensors(own, tensors, optional)
    if problems:
        raise CheckpointError(
            f'{checkpoint} [layout {layout}] does not fit this '
            f'{type(backbone).__name__}: {"; ".join(problems)}. Nothing was loaded. '
            'Use the file that belongs to this arch, or name the parts that shall '
            "start from scratch, as in init_cfg=dict(..., fresh=['stages.0'])."
        )
    with torch.no_grad():
        for key, tensor in tensors.items():
            own[key].copy_(tensor)
    coverage = Coverage(
        file=str(checkpoint),
        layout=layout,
        geometry=geometry,
        loaded=tuple(tensors),
        total=len(own),
        num_parameters=sum(tensor.numel() for tensor in tensors.values()),
        fresh=tuple(key for key in own if key not in tensors),
        ignored=dict(ignored),
    )
    log(str(coverage))
    return coverage


def _find(checkpoint):
    if not isinstance(checkpoint, (str, os.PathLike)):
        raise CheckpointError(f'checkpoint must be a file, got {checkpoint!r}')
    content = read_checkpoint(checkpoint)
    try:
        return find_backbone_state(content)
    except CheckpointError as error:
        raise CheckpointError(f'{checkpoint}: {error}') from None


def _check_fresh(fresh, own):
    """Return the fresh prefixes as a tuple; each must be part of the backbone."""
    fresh = (fresh,) if isinstance(fresh, str) else tuple(fresh)
    for name in fresh:
        if not any(_is_under(key, (name,)) for key in own):
            parts = dict.fromkeys('.'.join(key.split('.')[:2]) for key in own)
            raise ValueError(
                f'fresh names {name!r}, of which the backbone has no tensor; its parts '
                f'are {join_some(parts, 12)}'
            )
    return fresh


def _is_under(key, prefixes):
    return any(key == p or key.startswith(f'{p}.') for p in prefixes)


def _own_names(found):
    """Rename another project's keys, and write down the geometry they imply."""
    family = find_family(found.tensors)
    if family is None:
        return dict(found.tensors), None
    tensors = family.apply(found.tensors)
    if family.geometry:
        tensors[MARK] = encode_geometry(family.geometry, found.shift_dist)
    return tensors, family.family


def _is_known_extra(own, fresh):
    """Make the test for keys that the backbone can do without."""
    built = [int(match[1]) for key in own if (match := _LATE_STAGE.match(key))]
    last = max(built, default=3)

    def is_known_extra(key):
        if _is_under(key, fresh) or key.startswith('head.'):
            return True
        late = _LATE_STAGE.match(key)
        is_late = late is not None and int(late[1]) > last
        return key not in own and (is_late or bool(_OUTPUT_NORM.match(key)))

    return is_known_extra


def _drop(tensors, is_dropped):
    """Remove tensors in place and count them by their part."""
    dropped = [key for key in tensors if is_dropped(key)]
    for key in dropped:
        del tensors[key]
    return Counter(part_of(key) for key in dropped)


def _check_mark(own, tensors):
    """Check the geometry, take the marks out of both, and return its name."""
    expected = own.pop(MARK, None)
    if expected is None:
        if MARK in tensors:
            raise GeometryError(
                'these are weights of a backbone with mix-shift blocks, and this '
                'backbone has none; use the backbone that they were trained in.'
            )
        return None
    if holds_mix_weights(tensors):
        check_geometry(expected, tensors)
    tensors.pop(MARK, None)
    return decode_geometry(expected)[0]
