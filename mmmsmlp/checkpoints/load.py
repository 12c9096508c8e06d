"""Filling a backbone or a whole model from a checkpoint, completely or not at all."""

import logging
import os
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..errors import CheckpointError, GeometryError, join_some
from ..geometry import MARK, Geometry, check_geometry, holds_mix_weights
from .compare import compare_tensors, refuse_non_finite
from .keys import Found, find_state, is_backbone, refuse_unknown_prefix, to_own_names
from .read import FileName, lent_checkpoint, peek_checkpoint, read_checkpoint

_OUTPUT_NORM = re.compile(r'norm\d+\.')
_STAGE = re.compile(r'stages\.([0-3])\.')


@dataclass(frozen=True)
class Coverage:
    """What was loaded and what was not.

    Attributes:
        file: Where it came from.
        layout: How it was found in the file, and the family of its keys.
        geometry: The name of the mix-shift geometry, where there is one.
        loaded: The backbone's tensors that were filled.
        total: How many tensors the backbone has; the mark is not counted.
        num_parameters: Elements of the loaded tensors.
        fresh: The backbone's tensors that keep their initial values.
        ignored: Parts of the file that the backbone does not have, and how many
            tensors each.
    """

    file: str
    layout: str
    geometry: str | None
    loaded: tuple[str, ...]
    total: int
    num_parameters: int
    fresh: tuple[str, ...]
    ignored: dict[str, int]

    def __str__(self) -> str:
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


def _log(message: str) -> None:
    print_log(message, logger='current')


def load_pretrained(
    backbone: nn.Module,
    checkpoint: FileName,
    fresh: str | Sequence[str] = (),
    log: Callable[[str], None] = _log,
    prefix: str = '',
) -> Coverage:
    """Fill a backbone from a checkpoint, completely or not at all.

    Every parameter and persistent buffer must be in the file with its exact shape,
    but for the output norms ``norm0`` to ``norm3`` and what ``fresh`` names. The
    file may hold, beside it, a head, output norms and late stages that the backbone
    does not build; anything else unknown is refused.

    Args:
        backbone: With a buffer ``geometry`` if it has mix-shift blocks.
        checkpoint: A file of any layout that
            :func:`~mmmsmlp.checkpoints.keys.to_own_names` knows.
        fresh: Parts of the backbone that keep their initial values, such as
            'stages.0'; what the file holds for them is not read.
        log: Receives the one line of the coverage.
        prefix: Before the keys of the backbone that is meant, where the file holds
            several.

    Returns:
        What was loaded.

    Raises:
        CheckpointError: The file cannot be read safely or does not fit.
        GeometryError: Its mix-shift geometry is another one, or not stated.
        ValueError: ``fresh`` names nothing that the backbone has.
    """
    if not isinstance(checkpoint, (str, os.PathLike)):
        raise CheckpointError(f'checkpoint must be a file, got {checkpoint!r}')
    found = to_own_names(read_checkpoint(checkpoint), checkpoint, prefix)
    return fill_backbone(backbone, found, checkpoint, fresh, log)


def fill_backbone(
    backbone: nn.Module,
    found: Found,
    file: FileName,
    fresh: str | Sequence[str] = (),
    log: Callable[[str], None] = _log,
) -> Coverage:
    """Fill a backbone from what was found in ``file``, as :func:`load_pretrained`."""
    own = backbone.state_dict()
    fresh = (fresh,) if isinstance(fresh, str) else tuple(fresh)
    _check_fresh(fresh, own)
    tensors = dict(found.tensors)
    ignored = found.ignored + _drop_extras(tensors, own, fresh)
    try:
        geometry = _check_mark(own, tensors)
    except GeometryError as error:
        raise GeometryError(f'{file} [layout {found}]: {error}') from None
    optional = [k for k in own if _OUTPUT_NORM.match(k) or _is_under(k, fresh)]
    if problems := compare_tensors(own, tensors, optional):
        raise CheckpointError(
            f'{file} [layout {found}] does not fit this '
            f'{type(backbone).__name__}: {"; ".join(problems)}. Nothing was loaded. '
            'Use the file that belongs to this arch, or name the parts that shall '
            "start from scratch, as in init_cfg=dict(..., fresh=['stages.0'])."
        )
    refuse_non_finite(own, tensors, file)
    with torch.no_grad():
        for key, tensor in tensors.items():
            own[key].copy_(tensor)
    coverage = Coverage(
        file=str(file),
        layout=str(found),
        geometry=geometry,
        loaded=tuple(tensors),
        total=len(own),
        num_parameters=sum(tensor.numel() for tensor in tensors.values()),
        fresh=tuple(key for key in own if key not in tensors),
        ignored=dict(ignored),
    )
    log(str(coverage))
    return coverage


def _check_fresh(fresh: Sequence[str], own: Mapping[str, Tensor]) -> None:
    for name in fresh:
        if not any(_is_under(key, (name,)) for key in own):
            parts = dict.fromkeys('.'.join(key.split('.')[:2]) for key in own)
            raise ValueError(
                f'fresh names {name!r}, of which the backbone has no tensor; its parts '
                f'are {join_some(parts, 12)}'
            )


def _is_under(key: str, prefixes: Iterable[str]) -> bool:
    return any(key == p or key.startswith(f'{p}.') for p in prefixes)


def _drop_extras(
    tensors: dict[str, Tensor], own: Mapping[str, Tensor], fresh: Sequence[str]
) -> Counter:
    """Remove what the backbone can do without, in place, and count it by part."""
    built = [int(match[1]) for key in own if (match := _STAGE.match(key))]
    last = max(built, default=3)

    def is_extra(key: str) -> bool:
        if _is_under(key, fresh) or key.startswith('head.'):
            return True
        stage = _STAGE.match(key)
        is_late = stage is not None and int(stage[1]) > last
        return key not in own and (is_late or _OUTPUT_NORM.match(key) is not None)

    extras = [key for key in tensors if is_extra(key)]
    for key in extras:
        del tensors[key]
    return Counter(map(part_of, extras))


def _check_mark(own: dict[str, Tensor], tensors: dict[str, Tensor]) -> str | None:
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


def load_whole(model: nn.Module, path: FileName) -> dict:
    """Fill a whole detector, segmentor or classifier, or refuse.

    For evaluation and inference, where a tensor left at random gives numbers that
    look like results. Tensors that the model does not have are named in the log.

    Args:
        model: Built, without a DDP wrapper.
        path: The checkpoint.

    Returns:
        The checkpoint's ``meta`` (``dataset_meta`` and so on), or {}.

    Raises:
        CheckpointError: The file cannot be read safely, or leaves any tensor of the
            model unfilled, or has another shape for it.
        GeometryError: Its mix-shift geometry is another one, or not stated.
    """
    content = read_checkpoint(path)
    fill_whole(model, find_state(content, path), path)
    meta = content.get('meta')
    return meta if isinstance(meta, dict) else {}


def fill_whole(model: nn.Module, found: Found, file: FileName) -> None:
    """Fill a whole model from the state dict of ``file``, as :func:`load_whole`."""
    own = model.state_dict()
    found = fit_names(own, found, file)
    try:
        for name, module in model.named_modules():
            expected = getattr(module, '_geometry', None)
            if isinstance(expected, Geometry):
                check_geometry(expected, found.tensors, f'{name}.' if name else '')
    except CheckpointError as error:
        raise type(error)(f'{file} [layout {found}]: {error}') from None
    known = {key: value for key, value in found.tensors.items() if key in own}
    if problems := compare_tensors(own, known):
        raise CheckpointError(
            f'{file} [layout {found}] does not fill this {type(model).__name__}: '
            f'{"; ".join(problems)}. {_cure(own, found.tensors)}'
        )
    refuse_non_finite(own, known, file)
    state = OrderedDict(known)
    vars(state)['_metadata'] = found.versions
    model.load_state_dict(state)
    extra = [key for key in found.tensors if key not in own]
    extra += [f'{part}.*' for part in found.ignored]
    _log(
        f'loaded {len(own)}/{len(own)} tensors of {type(model).__name__} from {file} '
        f'[layout {found.layout}]'
        + (f'; unused: {join_some(extra)} ({len(extra)})' if extra else '')
    )


def fill_partly(model: nn.Module, found: Found, file: FileName) -> None:
    """Fill what fits, as ``load_from`` does, and say in one line what does not.

    Raises:
        CheckpointError: Nothing fits, or a tensor holds a NaN.
        GeometryError: Its mix-shift geometry is another one.
    """
    own = model.state_dict()
    found = fit_names(own, found, file)
    fits = {
        k: t for k, t in found.tensors.items() if k in own and own[k].shape == t.shape
    }
    problems = compare_tensors(own, found.tensors)
    if not fits:
        held = f'it holds {join_some(found.tensors)}'
        if not own.keys().isdisjoint(found.tensors):
            held = '; '.join(problems)
        raise CheckpointError(
            f'{file} [layout {found}] holds none of the {len(own)} tensors of '
            f'{type(model).__name__}, which would start from random weights; {held}. '
            'Weights of a backbone alone are for --pretrained.'
        )
    refuse_non_finite(own, fits, file)
    state = OrderedDict(fits)
    vars(state)['_metadata'] = found.versions
    model.load_state_dict(state, strict=False)
    line = (
        f'loaded {len(fits)}/{len(own)} tensors of {type(model).__name__} from {file}'
    )
    whole = len(fits) == len(own)
    print_log(
        '; '.join([f'{line} [layout {found}]', *problems])
        + ('' if whole else '; the rest keeps its initial values'),
        logger='current',
        level=logging.INFO if whole else logging.WARNING,
    )


def fit_names(own: Mapping[str, Tensor], found: Found, file: FileName) -> Found:
    """Strip the prefixes of a file that a model's own keys do not have.

    Raises:
        CheckpointError: They stand behind one of which we know nothing.
    """
    found = found.unwrapped(lambda keys: any(key in own for key in keys))
    if own.keys().isdisjoint(found.tensors):
        refuse_unknown_prefix(found, file)
    return found


def _cure(own: Collection[str], held: Collection[str]) -> str:
    filled = {key.split('.')[0] for key in held if key in own}
    heads = [k for k in held if k not in own and not k.startswith('backbone.')]
    if filled <= {'backbone'} and any('head' in key for key in heads):
        return (
            f'It is of another model: it has {heads[0]!r}, which this one lacks. Use '
            'the checkpoint that was trained with this config.'
        )
    if filled <= {'backbone'} and not all(key.startswith('backbone.') for key in own):
        return (
            'It holds a backbone at most, and a model cannot be evaluated with random '
            'heads: train it first, or give the checkpoint that tools/train.py wrote.'
        )
    return 'Use the checkpoint that was trained with this config.'


_TOOLBOX_CURE = (
    "Check init_cfg (a prefix such as 'backbone.'?), options that rename keys "
    '(convert_weights=True for the official Swin files), and the arch.'
)


def vet_toolbox_backbone(backbone: BaseModule, path: FileName) -> None:
    """Find out whether a toolbox's own loader fills its own backbone.

    The backbone (mmdet's Swin, a ResNet, ...) reads the file in its own way, with
    its own key names. So every floating tensor is set to NaN, its ``init_weights``
    is called, and what is still NaN was not filled.

    Args:
        backbone: Built, not initialised, with an ``init_cfg`` of type Pretrained that
            names ``path``.
        path: The file. It is read safely first, because the toolbox's loader falls
            back to one that runs code.

    Raises:
        CheckpointError: The file cannot be read safely, or tensors other than output
            norms (``norm0``, ...) are left unfilled.
    """
    name = type(backbone).__name__
    init_cfg = getattr(backbone, 'init_cfg', None)
    if not isinstance(init_cfg, dict) or init_cfg.get('type') != 'Pretrained':
        raise CheckpointError(
            f'{name} would not load {path}: its init_cfg is '
            f"{init_cfg!r}; set init_cfg=dict(type='Pretrained', checkpoint=FILE)"
        )
    found = find_state(peek_checkpoint(path), path).unwrapped(is_backbone)
    layout = found.layout
    refuse_non_finite({}, found.tensors, path)
    own = {k: v for k, v in backbone.state_dict().items() if v.is_floating_point()}
    before = {key: tensor.clone() for key, tensor in own.items()}
    for tensor in own.values():
        tensor.fill_(torch.nan)
    try:
        with lent_checkpoint(path):
            backbone.init_weights()
    except Exception as error:  # whatever a toolbox's own loader happens to raise
        raise CheckpointError(
            f'{name} cannot load {path} [layout {layout}]: '
            f'{type(error).__name__}: {error}. {_TOOLBOX_CURE}'
        ) from error
    own = backbone.state_dict()
    nan = [key for key in before if own[key].isnan().any()]
    for key in nan:
        own[key].copy_(before[key])
    if unfilled := [key for key in nan if not _OUTPUT_NORM.match(key)]:
        raise CheckpointError(
            f'{name} loads {path} [layout {layout}], but {len(unfilled)} of '
            f'{len(before)} tensors stay unfilled: {join_some(unfilled)}. '
            f'{_TOOLBOX_CURE}'
        )


def part_of(key: str) -> str:
    """Cut a key to the part that a reader knows: 'stages.3', 'head.fc', 'norm1'."""
    return '.'.join(key.split('.')[:-1][:2])


def count_by_part(parts: Mapping[str, int]) -> str:
    """Write {'head.fc': 2} as 'head.fc (2)'."""
    return join_some(f'{name} ({number})' for name, number in parts.items())
