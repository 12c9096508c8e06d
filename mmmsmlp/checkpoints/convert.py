"""Another project's checkpoint under this package's names, and its architecture."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isqrt
from pathlib import Path

from torch import Tensor

from ..errors import CheckpointError, GeometryError
from ..geometry import MARK, Geometry, holds_mix_weights
from .keys import HEAD, Found, to_own_names
from .load import count_by_part
from .read import FileName, local_file, read_checkpoint

LAYOUTS = {  # what --family takes, and the key layouts that belong to it
    'auto': ('msmlp', 'swin', 'openmmlab-swin', 'focal', 'mmmsmlp'),
    'msmlp': ('msmlp',),
    'swin': ('swin', 'openmmlab-swin'),
    'focal': ('focal',),
}
OWN = 'mmmsmlp'


@dataclass
class Converted:
    """A backbone and its classifier under this package's names.

    Attributes:
        backbone: Weights, and the geometry mark.
        head: The classifier as 'head.fc.'; may be empty.
        kind: The backbone's class.
        kwargs: The arguments that build it.
        source: Where it comes from: file, sha256, layout, keys, geometry.
        notes: What the user should know.
    """

    backbone: dict[str, Tensor]
    head: dict[str, Tensor]
    kind: str
    kwargs: dict
    source: dict[str, str]
    notes: list[str] = field(default_factory=list)


def convert_state(
    path: FileName,
    family: str = 'auto',
    geometry: str | None = None,
    shift_dist: Sequence[int] | None = None,
) -> Converted:
    """Read a checkpoint safely and bring it into this package's names.

    Args:
        path: The authors' files, Microsoft's for Focal and Swin, the toolboxes' for
            Swin, or weights under this package's own names.
        family: Whose key names to expect; 'auto' finds out.
        geometry: How mix-shift weights were trained, 'released' or 'paper'. The
            authors' layout counts as 'released'; weights under own names and without
            a mark need it.
        shift_dist: Their distances, if neither the file's own config nor the
            geometry's default says them.

    Returns:
        The tensors and what is known about them.

    Raises:
        CheckpointError: The file cannot be read safely, its keys are of no known
            family or of another than ``family``, or one of them has no name here.
        GeometryError: A mark in the file says another geometry, or none is stated.
        ValueError: As ``Geometry.of``.
    """
    found = to_own_names(read_checkpoint(path), path)
    # Copied out of storages that they may share with others.
    tensors = {key: tensor.detach().clone() for key, tensor in found.tensors.items()}
    try:
        keys = _check_family(found, family)
        stated = _geometry(found, keys, geometry, shift_dist)
        if stated:
            tensors[MARK] = stated.mark()
        head = {key: tensors.pop(key) for key in HEAD if key in tensors}
        kind, kwargs = find_arch(tensors)
    except CheckpointError as error:
        raise type(error)(f'{path}: {error}') from None
    source = dict(
        source=Path(path).name,
        sha256=hashlib.sha256(local_file(path).read_bytes()).hexdigest(),
        layout=found.layout,
        keys=keys,
    )
    if stated:
        source['geometry'] = str(stated)
    notes = [
        f'{name} is in the file too, and was not read' for name in found.left_aside
    ]
    if found.ignored:
        notes.append(f'left out: {count_by_part(found.ignored)}')
    return Converted(tensors, head, kind, kwargs, source, notes)


def _check_family(found: Found, family: str) -> str:
    """The name of the layout of the keys, which must be one of ``family``."""
    keys = found.family.family if found.family else OWN
    if not found.family and not all(map(_OWN.fullmatch, found.tensors)):
        raise CheckpointError(
            'the keys are of no layout known here (MS-MLP, Swin or Focal Transformer): '
            f'{", ".join(list(found.tensors)[:3])} ...; is it another model?'
        )
    if keys not in LAYOUTS[family]:
        raise CheckpointError(
            f'the keys are of the {keys} layout, but --family {family} was asked for; '
            'leave it out, or give the file of that family'
        )
    return keys


def _geometry(
    found: Found, keys: str, name: str | None, shift_dist: Sequence[int] | None
) -> Geometry | None:
    """Settle the geometry; None for a backbone without mix-shift weights."""
    if not holds_mix_weights(found.tensors):
        if name or shift_dist:
            raise CheckpointError(
                f'weights of the {keys} layout have no mix-shift blocks and no '
                'geometry; leave out --geometry and --shift-dist'
            )
        return None
    known = found.geometry
    if known is None and name is None:
        raise GeometryError(
            'these mix-shift weights state no geometry, and their shapes cannot tell '
            'it; say how they were trained with --geometry released or --geometry paper'
        )
    if known and not name and not shift_dist:
        return known
    try:
        stated = Geometry.of(
            name or (known.name if known else ''), shift_dist or found.shift_dist
        )
    except ValueError as error:
        if shift_dist or not found.shift_dist:
            raise
        raise ValueError(
            f"{error}. They are SHIFT_DIST of the file's own config; --shift-dist "
            'takes others'
        ) from error
    # A mark in the file binds, not what its layout implies.
    if not found.family and known and stated != known:
        raise GeometryError(
            f'the file says that it was trained as {known}, the options say '
            f'{stated}; leave out --geometry and --shift-dist'
        )
    return stated


_OWN = re.compile(
    r'geometry|(stage0|stages\.[0-3])\.(embed|blocks\.\d+)\..+'
    r'|norm[0-3]\.(weight|bias)|head\.fc\.(weight|bias)'
)
_KINDS = {  # of stage 1, of stages 2-4
    ('mix', 'mix'): 'MSMLP',
    ('mix', 'swin'): 'MSMLPSwin',
    ('mix', 'focal'): 'MSMLPFocal',
    ('swin', 'swin'): 'SwinTransformer',
    ('focal', 'focal'): 'FocalTransformer',
}


def find_arch(tensors: Mapping[str, Tensor]) -> tuple[str, dict]:
    """Read class and arguments of the backbone off the shapes of its weights.

    Args:
        tensors: A backbone's state dict of four stages, under this package's names,
            the head's or not.

    Returns:
        The class and the arguments that build it; ``arch`` is a dict.

    Raises:
        CheckpointError: A tensor that tells is missing, or no class is composed like
            that.
    """
    weights = _Weights(tensors)
    kinds = [weights.kind(stage) for stage in range(4)]
    name = _KINDS.get((kinds[0], kinds[1])) if len(set(kinds[1:])) == 1 else None
    if name is None:
        raise CheckpointError(
            f'stages 1-4 are of the kinds {", ".join(kinds)}, and no backbone here is '
            'composed like that'
        )
    norm = 'norm' if kinds[0] == 'mix' else 'norm1'
    arch = dict(
        embed_dims=weights[f'stages.0.blocks.0.{norm}.weight'].shape[0],
        depths=[weights.depth(f'stages.{stage}') for stage in range(4)],
    )
    first = 'stage0' if weights.depth('stage0') else 'stages.0'
    kwargs = dict(arch=arch, in_channels=weights[f'{first}.embed.proj.weight'].shape[1])
    if name != 'FocalTransformer':
        kwargs['patch_size'] = 2 if first == 'stage0' else 4
    if kinds[0] == 'mix':
        geometry = Geometry.from_mark(weights[MARK])
        kwargs.update(geometry=geometry.name, shift_dist=geometry.distances)
        sizes = [weights.mix_sizes(i) for i, kind in enumerate(kinds) if kind == 'mix']
        arch['mix_sizes'] = sizes if name == 'MSMLP' else sizes[0]
        if weights['stages.0.blocks.0.mix.horizontal.0.weight'].shape[1] > 1:
            kwargs['mix_conv'] = 'full'
        if 'stages.0.blocks.0.gamma' not in tensors:
            kwargs['layer_scale_init_value'] = 0
    if kinds[1] != 'mix':
        # A hybrid's arch has entries for stage 1 too, of which only the depth counts.
        stages = [max(stage, kinds.index(kinds[1])) for stage in range(4)]
        arch['num_heads'] = [weights.table(stage).shape[1] for stage in stages]
        window = arch['window_size'] = (isqrt(weights.table(3).shape[0]) + 1) // 2
        if kinds[1] == 'focal':
            arch.update(weights.focus(stages, window))
    return name, kwargs


class _Weights(dict[str, Tensor]):
    """A state dict, and what its shapes tell of a stage."""

    def __missing__(self, key: str) -> Tensor:
        raise CheckpointError(f'{key} is missing, so the architecture is unknown')

    def depth(self, stage: str) -> int:
        match = re.compile(re.escape(stage) + r'\.blocks\.(\d+)\.').match
        return max((int(m[1]) for m in map(match, self) if m), default=-1) + 1

    def kind(self, stage: int) -> str:
        block = f'stages.{stage}.blocks.0.'
        if block + 'mix.horizontal.0.weight' in self:
            return 'mix'
        focal = ('pool.weight', 'relative_position_bias_table_to_neighbors')
        if any(block + 'attn.' + rest in self for rest in focal):
            return 'focal'
        self[block + 'attn.qkv.weight']
        return 'swin'

    def mix_sizes(self, stage: int) -> list[int]:
        start = f'stages.{stage}.blocks.0.mix.horizontal.'
        groups = sum(key.startswith(start) for key in self) // 2
        return [self[f'{start}{n}.weight'].shape[-1] for n in range(groups)]

    def table(self, stage: int) -> Tensor:
        """The position table, ((2 window - 1)**2, heads)."""
        return self[f'stages.{stage}.blocks.0.attn.relative_position_bias_table']

    def focus(self, stages: Sequence[int], window: int) -> dict[str, list[int]]:
        """What an arch of the Focal Transformer says besides heads and window."""
        names = 'focal_levels', 'focal_windows', 'expand_sizes'
        focus: dict[str, list[int]] = {name: [] for name in names}
        for stage in stages:
            table = f'stages.{stage}.blocks.0.attn.relative_position_bias_table_to'
            pooled = self.get(f'{table}_windows.0')
            around = self.get(f'{table}_neighbors')
            reach = 0 if pooled is None else isqrt(pooled.shape[1]) - window + 1
            margin = 0 if around is None else around.shape[-1] // 4
            focus['focal_levels'].append(2 if reach else 1)
            focus['focal_windows'].append(reach)
            focus['expand_sizes'].append(window - isqrt(window**2 - margin))
        return focus
