"""Filling a backbone or a whole model from a checkpoint, completely or not at all."""

import os
import re
from collections import Counter
from dataclasses import dataclass

import torch
from mmengine.logging import print_log

from ..errors import CheckpointError, GeometryError, join_some
from ..geometry import MARK, Geometry, check_geometry, holds_mix_weights
from .keys import find_backbone_state, find_family, find_state
from .read import read_checkpoint

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
            :func:`~mmmsmlp.checkpoints.keys.find_backbone_state` knows.
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
        tensors[MARK] = Geometry.of(family.geometry, found.shift_dist).mark()
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
    mark = own.pop(MARK, None)
    if mark is None:
        if MARK in tensors:
            raise GeometryError(
                'these are weights of a backbone with mix-shift blocks, and this '
                'backbone has none; use the backbone that they were trained in.'
            )
        return None
    expected = Geometry.from_mark(mark)
    if holds_mix_weights(tensors):
        check_geometry(expected, tensors)
    tensors.pop(MARK, None)
    return expected.name


_OUTPUT_NORM = re.compile(r'norm\d+\.')
_TOOLBOX_CURE = (
    "Check init_cfg (a prefix such as 'backbone.'?), options that rename keys "
    '(convert_weights=True for the official Swin files), and the arch.'
)


def missing_tensors(model, state_dict):
    """Name the model's tensors that a state dict does not fill.

    Args:
        model (torch.nn.Module): The whole model.
        state_dict (dict[str, torch.Tensor]): Weights at hand.

    Returns:
        list[str]: Keys of parameters and persistent buffers that are missing, or
        have another shape.
    """
    return [
        key
        for key, tensor in model.state_dict().items()
        if key not in state_dict or state_dict[key].shape != tensor.shape
    ]


def load_whole(model, path):
    """Fill a whole detector, segmentor or classifier, or refuse.

    For evaluation and inference, where a tensor left at random gives numbers that
    look like results. Tensors that the model does not have are named in the log.

    Args:
        model (torch.nn.Module): The built model, without a DDP wrapper.
        path (str or os.PathLike): The checkpoint.

    Returns:
        dict: The checkpoint's ``meta`` (``dataset_meta`` and so on), or {}.

    Raises:
        CheckpointError: If the file cannot be read safely, or leaves any tensor of
            the model unfilled, or has another shape for it.
        GeometryError: If its mix-shift geometry is another one, or not stated.
    """
    checkpoint = read_checkpoint(path)
    try:
        found = find_state(checkpoint)
        for name, module in model.named_modules():
            mark = module._buffers.get(MARK)
            if mark is not None:
                expected = Geometry.from_mark(mark)
                check_geometry(expected, found.tensors, f'{name}.' if name else '')
    except CheckpointError as error:
        raise type(error)(f'{path}: {error}') from None
    own = model.state_dict()
    known = {key: value for key, value in found.tensors.items() if key in own}
    problems = compare_tensors(own, known)
    if problems:
        raise CheckpointError(
            f'{path} [layout {found.layout}] does not fill this '
            f'{type(model).__name__}: {"; ".join(problems)}. {_cure(own, known)}'
        )
    model.load_state_dict(known)
    extra = [key for key in found.tensors if key not in own]
    print_log(
        f'loaded {len(own)}/{len(own)} tensors of {type(model).__name__} from {path} '
        f'[layout {found.layout}]'
        + (f'; unused: {join_some(extra)} ({len(extra)})' if extra else ''),
        logger='current',
    )
    meta = checkpoint.get('meta')
    return meta if isinstance(meta, dict) else {}


def _cure(own, known):
    filled = {key.split('.')[0] for key in known}
    if filled <= {'backbone'} and not all(key.startswith('backbone.') for key in own):
        return (
            'It holds a backbone at most, and a model cannot be evaluated with random '
            'heads: train it first, or give the checkpoint that tools/train.py wrote.'
        )
    return 'Use the checkpoint that was trained with this config.'


def vet_toolbox_backbone(backbone, path):
    """Find out whether a toolbox's own loader fills its own backbone.

    The backbone (mmdet's Swin, a ResNet, ...) reads the file in its own way, with
    its own key names. So every floating tensor is set to NaN, its ``init_weights``
    is called, and what is still NaN was not filled.

    Args:
        backbone (mmengine.model.BaseModule): Built, not initialised, with an
            ``init_cfg`` of type Pretrained that names ``path``.
        path (str or os.PathLike): The file. It is read tensors-only first, because
            the toolbox's loader falls back to one that runs code.

    Raises:
        CheckpointError: If the file cannot be read safely, or tensors other than
            output norms (``norm0``, ...) are left unfilled.
    """
    init_cfg = getattr(backbone, 'init_cfg', None)
    if not isinstance(init_cfg, dict) or init_cfg.get('type') != 'Pretrained':
        raise CheckpointError(
            f'{type(backbone).__name__} would not load {path}: its init_cfg is '
            f"{init_cfg!r}; set init_cfg=dict(type='Pretrained', checkpoint=FILE)"
        )
    read_checkpoint(path)
    own = {k: v for k, v in backbone.state_dict().items() if v.is_floating_point()}
    before = {key: tensor.clone() for key, tensor in own.items()}
    for tensor in own.values():
        tensor.fill_(torch.nan)
    try:
        backbone.init_weights()
    # Each toolbox raises what its own loader happens to raise.
    except Exception as error:
        raise CheckpointError(
            f'{type(backbone).__name__} cannot load {path}: '
            f'{type(error).__name__}: {error}. {_TOOLBOX_CURE}'
        ) from error
    own = backbone.state_dict()
    unfilled = [key for key in before if own[key].isnan().any()]
    for key in unfilled:
        own[key].copy_(before[key])
    unfilled = [key for key in unfilled if not _OUTPUT_NORM.match(key)]
    if unfilled:
        raise CheckpointError(
            f'{type(backbone).__name__} loads {path}, but {len(unfilled)} of '
            f'{len(before)} tensors stay unfilled: {join_some(unfilled)}. '
            f'{_TOOLBOX_CURE}'
        )


def part_of(key):
    """Cut a key to the part that a reader knows: 'stages.3', 'head.fc', 'norm1'."""
    return '.'.join(key.split('.')[:-1][:2])


def count_by_part(parts, count=5):
    """Write {'head.fc': 2} as 'head.fc (2)'."""
    return join_some([f'{name} ({number})' for name, number in parts.items()], count)


def compare_tensors(own, given, optional=()):
    """Say in what ``given`` differs from what ``own`` needs.

    Args:
        own (dict[str, torch.Tensor]): The state dict that is to be filled.
        given (dict[str, torch.Tensor]): The tensors at hand.
        optional (Collection[str]): Keys of ``own`` that may be missing.

    Returns:
        list[str]: One phrase for what is missing, one for other shapes, one for
        unknown keys; empty where all fits.
    """
    missing = [key for key in own if key not in given and key not in optional]
    unknown = [key for key in given if key not in own]
    shapes = [
        f'{key} is {_shape(tensor)} in the file and {_shape(own[key])} in the model'
        for key, tensor in given.items()
        if key in own and tensor.shape != own[key].shape
    ]
    problems = []
    if missing:
        names = [f'{key} {_shape(own[key])}' for key in missing]
        problems.append(
            f'missing {len(missing)} of {len(own)} tensors: {join_some(names)}'
        )
    if shapes:
        problems.append(f'another shape for {len(shapes)}: {join_some(shapes)}')
    if unknown:
        names = [f'{key} {_shape(given[key])}' for key in unknown]
        problems.append(f'no place for {len(unknown)}: {join_some(names)}')
    return problems


def _shape(tensor):
    return tuple(tensor.shape)
