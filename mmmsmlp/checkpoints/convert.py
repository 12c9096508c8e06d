"""What does another project's checkpoint hold, in this package's names?"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import CheckpointError, GeometryError
from ..geometry import (
    MARK,
    check_geometry,
    decode_geometry,
    describe_geometry,
    encode_geometry,
    holds_mix_weights,
)
from .arch_of import find_arch, has_own_names
from .families import find_family
from .layouts import find_backbone_state, find_state
from .reader import read_checkpoint
from .wording import count_by_part

LAYOUTS = {  # what --family takes, and the key layouts that belong to it
    'auto': ('msmlp', 'swin', 'openmmlab-swin', 'focal', 'mmmsmlp'),
    'msmlp': ('msmlp',),
    'swin': ('swin', 'openmmlab-swin'),
    'focal': ('focal',),
}
HEAD = ('head.fc.weight', 'head.fc.bias')
OWN = 'mmmsmlp'


@dataclass
class Converted:
    """A backbone and its classifier under this package's names.

    Attributes:
        backbone (dict[str, torch.Tensor]): Weights, and the geometry mark.
        head (dict[str, torch.Tensor]): The classifier as 'head.fc.'; may be empty.
        kind (str): The backbone's class.
        kwargs (dict): The arguments that build it.
        source (dict): Where it comes from: file, sha256, layout, keys, geometry.
        notes (list[str]): What the user should know.
    """

    backbone: dict
    head: dict
    kind: str
    kwargs: dict
    source: dict
    notes: list = field(default_factory=list)


def convert_state(path, family='auto', geometry=None, shift_dist=None):
    """Read a checkpoint safely and bring it into this package's names.

    Args:
        path (str or os.PathLike): The authors' files, Microsoft's for Focal and Swin,
            the toolboxes' for Swin, or weights under this package's own names.
        family (str): Whose key names to expect; 'auto' finds out.
        geometry (str, optional): How mix-shift weights were trained, 'released' or
            'paper'. The authors' layout counts as 'released'; weights under own names
            and without a mark need it.
        shift_dist (Sequence[int], optional): Their distances, if neither the file's
            own config nor the geometry's default says them.

    Returns:
        Converted: The tensors and what is known about them.

    Raises:
        CheckpointError: If the file cannot be read safely, its keys are of no known
            family or of another than ``family``, or one of them has no name here.
        GeometryError: If a mark in the file says another geometry, or none is stated.
        ValueError: As ``resolve_geometry``.
    """
    content = read_checkpoint(path)
    try:
        found = find_backbone_state(content)
        tensors, keys = _own_names(found.tensors, family)
        if found.layout.endswith('backbone.'):  # OpenMMLab's classifiers: head.fc.
            whole = find_state(content).tensors
            tensors.update({key: whole[key] for key in HEAD if key in whole})
        mark = _mark(tensors, keys, geometry, shift_dist, found.shift_dist)
        head = {key: tensors.pop(key) for key in HEAD if key in tensors}
        if mark is not None:
            tensors[MARK] = mark
        kind, kwargs = find_arch(tensors)
    except CheckpointError as error:
        raise type(error)(f'{path}: {error}') from None
    source = dict(
        source=Path(path).name, sha256=sha256(path), layout=found.layout, keys=keys
    )
    if mark is not None:
        source['geometry'] = describe_geometry(mark)
    notes = [
        f'{name} is in the file too, and was not read' for name in found.left_aside
    ]
    left = {part: n for part, n in found.ignored.items() if part != 'head' or not head}
    if left:
        notes.append(f'left out: {count_by_part(left)}')
    return Converted(_alone(tensors), _alone(head), kind, kwargs, source, notes)


def sha256(path):
    """The hex digest of a file."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _own_names(tensors, family):
    """Rename the tensors; return them and the name of the layout of their keys."""
    found = find_family(tensors)
    keys = found.family if found else OWN if has_own_names(tensors) else None
    if keys is None:
        raise CheckpointError(
            'the keys are of no layout known here (MS-MLP, Swin or Focal Transformer): '
            f'{", ".join(list(tensors)[:3])} ...; is it another model?'
        )
    if keys not in LAYOUTS[family]:
        raise CheckpointError(
            f'the keys are of the {keys} layout, but --family {family} was asked for; '
            'leave it out, or give the file of that family'
        )
    return (found.apply(tensors) if found else dict(tensors)), keys


def _mark(tensors, keys, geometry, shift_dist, configured):
    """Settle the geometry mark; None for a backbone without mix-shift weights."""
    if not holds_mix_weights(tensors):
        if geometry or shift_dist:
            raise CheckpointError(
                f'weights of the {keys} layout have no mix-shift blocks and no '
                'geometry; leave out --geometry and --shift-dist'
            )
        return None
    stated = tensors.pop(MARK, None)
    if stated is not None and not geometry:
        if not shift_dist:
            return stated
        geometry, _ = decode_geometry(stated)
    if geometry is None and keys == OWN:
        raise GeometryError(
            'these mix-shift weights state no geometry, and their shapes cannot tell '
            'it; say how they were trained with --geometry released or --geometry paper'
        )
    try:
        mark = encode_geometry(geometry or 'released', shift_dist or configured)
    except ValueError as error:
        if shift_dist or not configured:
            raise
        raise ValueError(
            f"{error}. They are SHIFT_DIST of the file's own config; --shift-dist "
            'takes others'
        ) from error
    if stated is not None:
        check_geometry(mark, {**tensors, MARK: stated})
    return mark


def _alone(tensors):
    """Copy tensors out of storages that they may share with others."""
    return {key: tensor.detach().clone() for key, tensor in tensors.items()}
