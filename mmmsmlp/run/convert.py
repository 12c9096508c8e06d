"""Conversion of a foreign checkpoint to a file that every tool here loads."""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import models
from ..checkpoints import load_pretrained
from ..checkpoints.compare import compare_tensors, refuse_non_finite
from ..checkpoints.convert import HEAD, Converted, convert_state
from ..checkpoints.writing import atomic_write
from ..errors import BadInput, CheckpointError
from ..geometry import MARK, Geometry
from ..models.pyramid import PyramidBackbone
from ..version import __version__

Oracle = Callable[[nn.Module], AbstractContextManager]
TASKS = ('backbone', 'cls')
TOLERANCE = 1e-4


def convert_file(
    src: str,
    dst: str,
    family: str = 'auto',
    geometry: str | None = None,
    shift_dist: Sequence[int] | None = None,
    task: str = 'backbone',
    verify: Oracle | None = None,
) -> list[str]:
    """Convert a checkpoint; the new file appears complete or not at all.

    Args:
        src: File to read; no code in it runs.
        dst: File to write, tensors and plain values: ``state_dict`` and ``meta``.
        family, geometry, shift_dist: As :func:`convert_state` takes them.
        task: 'cls' keeps the classifier, and names ImageNet's classes.
        verify: ``verify(net)`` is a context in which a backbone computes by other code,
            to compare with.

    Returns:
        Lines that say what was written and how to use it.

    Raises:
        CheckpointError: ``src`` is unsafe, damaged, foreign or incomplete, or what was
            written computes something else.
        BadInput: A choice does not fit ``src``.
    """
    _check_target(src, dst)
    try:
        converted = convert_state(src, family, geometry, shift_dist)
    except ValueError as error:
        raise BadInput(f'{src}: {error}') from error
    check_complete(converted, src)
    refuse_non_finite({}, {**converted.backbone, **converted.head}, src)
    head, notes = {}, list(converted.notes)
    model = describe(converted)
    facts = dict(version=__version__, model=model, **converted.source)
    meta: dict[str, dict] = dict(mmmsmlp=facts)
    if task == 'cls':
        classes, head = _classes(converted, src), converted.head
        if classes:
            meta['dataset_meta'] = dict(classes=classes)
        else:
            notes.append(f'no class names: {len(head[HEAD[1]])} outputs, ImageNet 1000')
    elif converted.head:
        notes.append('the classifier was left out; --task cls keeps it')
    weights = {f'backbone.{key}': t for key, t in converted.backbone.items()}
    with atomic_write(dst) as part:
        with part.open('wb') as file:  # by name, a full disk is no OSError
            torch.save(dict(meta=meta, state_dict={**weights, **head}), file)
        if verify:
            notes.append(check_numbers(part, converted, verify))
    return [
        f'{dst}: {len(weights) - (MARK in converted.backbone)} tensors of {model}'
        + (f', and a classifier of {len(head[HEAD[1]])} classes' if head else ''),
        f'from {src}, layout {converted.source["layout"]}, '
        f'{converted.source["keys"]} keys, sha256 {converted.source["sha256"]}',
        *notes,
    ]


def _check_target(src: str, dst: str) -> None:
    if Path(src).exists() and Path(dst).exists() and Path(src).samefile(dst):
        raise BadInput(f'{dst} is the file that is read; name another one to write')
    if Path(dst).suffix == '.safetensors':
        raise BadInput(
            f'{dst}: what is written is a PyTorch file, which holds class names and '
            'the source too; name it .pth'
        )


def describe(converted: Converted) -> str:
    """Write the backbone as a config would build it."""
    kwargs = dict(converted.kwargs, arch=_arch_name(converted))
    if 'geometry' in kwargs:
        geometry = Geometry(kwargs['geometry'], kwargs['shift_dist'])
        if geometry.has_default_distances:
            del kwargs['shift_dist']
    usual = signature(getattr(models, converted.kind)).parameters
    words = [
        f'{key}={value!r}'
        for key, value in kwargs.items()
        if key == 'arch' or value != usual[key].default
    ]
    return f'mmmsmlp.{converted.kind}({", ".join(words)})'


def _arch_name(converted: Converted) -> str | dict:
    """'tiny' and so on, where the architecture is one of these."""
    backbone, arch = getattr(models, converted.kind), converted.kwargs['arch']
    hybrid = hasattr(backbone, 'archs')
    table = backbone.archs if hybrid else sys.modules[backbone.__module__].ARCHS
    unread = {'num_heads', 'focal_levels', 'focal_windows', 'expand_sizes'}

    def read(settings: dict) -> dict:
        # Of a hybrid's entries for stage 1 the weights tell the depth alone.
        return {k: v[1:] if hybrid and k in unread else v for k, v in settings.items()}

    same = (name for name, settings in table.items() if read(settings) == read(arch))
    return next(same, arch)


def build(converted: Converted, **more: Any) -> PyramidBackbone:
    """Build the backbone that the weights describe, with the last stage's norm."""
    backbone = getattr(models, converted.kind)
    return backbone(**converted.kwargs, out_indices=(3,), **more)


def check_complete(converted: Converted, src: str) -> None:
    """Refuse weights that lack a tensor of their backbone, or have one too many.

    Raises:
        CheckpointError: Names them.
    """
    try:
        with torch.device('meta'):
            own = build(converted).state_dict()
    except ValueError as error:
        raise CheckpointError(f'{src} describes no model: {error}') from error
    # A dense model's file has output norms that this one lacks.
    norms = ('norm0.', 'norm1.', 'norm2.')
    given = {k: t for k, t in converted.backbone.items() if not k.startswith(norms)}
    if problems := compare_tensors(own, given, ('norm3.weight', 'norm3.bias')):
        raise CheckpointError(
            f'{src} does not hold a whole {converted.kind}: {"; ".join(problems)}'
        )


def _classes(converted: Converted, src: str) -> tuple[str, ...]:
    head = converted.head
    if set(head) != set(HEAD) or 'norm3.weight' not in converted.backbone:
        raise BadInput(
            f'--task cls: {src} holds no classifier, only a backbone; leave --task out'
        )
    try:
        from mmpretrain.datasets.categories import IMAGENET_CATEGORIES
    except ImportError as error:
        raise BadInput(
            "--task cls takes ImageNet's class names from mmpretrain, which is not "
            "installed (pip install -e '.[cls]')"
        ) from error
    names = tuple(IMAGENET_CATEGORIES)
    return names if len(names) == len(head[HEAD[1]]) else ()


def check_numbers(file: Path, converted: Converted, independent: Oracle) -> str:
    """``--verify``: does the loaded model compute what its weights say?

    Images of two sizes are computed twice in float32: with the model that the file was
    loaded into, and with one that the converted weights were put into, in the context
    ``independent``, which lets it compute by other code.

    Returns:
        One line with the largest relative difference.

    Raises:
        CheckpointError: It exceeds 1e-4.
    """
    loaded, given = (
        build(converted, gap_before_final_norm=converted.kind == 'MSMLP').eval()
        for _ in range(2)
    )
    load_pretrained(loaded, file, log=lambda line: None)
    given.load_state_dict(converted.backbone, strict=False)  # check_complete was here
    generator, differences = torch.Generator().manual_seed(0), []
    for count, *size in _image_sizes(converted):
        x = torch.randn(count, loaded.in_channels, *size, generator=generator)
        ours = _maps_and_logits(loaded, x, converted.head)
        with independent(given):
            theirs = _maps_and_logits(given, x, converted.head)
        differences += [
            (one - other).abs().max() / other.abs().max()
            for one, other in zip(ours, theirs, strict=True)
        ]
    worst = torch.stack(differences).max().item()
    what = 'logits and stages' if converted.head else 'features and stages'
    if not worst < TOLERANCE:  # nor is NaN
        raise CheckpointError(
            f'--verify: {what} of the loaded model differ from the independent '
            f're-computation by {worst:.1e} of their largest value, above '
            f'{TOLERANCE:.0e}; no file was written'
        )
    return f'verified: {what} equal the independent re-computation to {worst:.1e}'


def _image_sizes(converted: Converted) -> tuple[tuple[int, int, int], ...]:
    """Number, height and width of the images.

    In windows, no map may be a single window along one axis alone, where
    implementations differ (C10): the smallest one gets two along both.
    """
    window = converted.kwargs['arch'].get('window_size')
    sides = (32 * (window + 1), 32 * (window + 3)) if window else (96, 160)
    return (2, 224, 224), (1, *sides)


@torch.no_grad()
def _maps_and_logits(
    net: PyramidBackbone, x: torch.Tensor, head: dict
) -> list[torch.Tensor]:
    """The maps of stages 1-4 before any norm, and the logits or, without, features."""
    maps: list[torch.Tensor] = []
    hooks = [
        stage.register_forward_hook(lambda *args: maps.append(args[-1]))
        for stage in net.stages
    ]
    features = net(x)[0]
    for hook in hooks:
        hook.remove()
    if features.dim() == 4:
        features = features.mean((2, 3))
    if head:
        weight, bias = (head[key].float() for key in HEAD)
        features = nn.functional.linear(features, weight, bias)
    return [*maps, features]
