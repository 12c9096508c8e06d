"""Comparing the tensors of a file with those of the model that they shall fill."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from ..errors import CheckpointError, join_some
from .keys import Found
from .read import FileName


def compare_tensors(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    optional: Collection[str] = (),
) -> list[str]:
    """Say in what ``given`` differs from what ``own`` needs.

    Args:
        own: The state dict that is to be filled.
        given: The tensors at hand.
        optional: Keys of ``own`` that may be missing.

    Returns:
        One phrase for what is missing, one for other shapes, one for unknown keys;
        empty where all fits.
    """
    covered = {*given, *optional}
    missing = [f'{key} {_shape(own[key])}' for key in own if key not in covered]
    shapes = [
        f'{key} is {_shape(tensor)} in the file and {_shape(own[key])} in the model'
        for key, tensor in given.items()
        if key in own and tensor.shape != own[key].shape
    ]
    unknown = [f'{key} {_shape(given[key])}' for key in given if key not in own]
    problems = {
        f'missing {len(missing)} of {len(own)} tensors': missing,
        f'another shape for {len(shapes)}': shapes,
        f'no place for {len(unknown)}': unknown,
    }
    return [f'{what}: {join_some(names)}' for what, names in problems.items() if names]


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)


def refuse_other_shapes(
    own: Mapping[str, Tensor], found: Found, file: FileName, name: str
) -> None:
    """For ``--resume``: refuse a file that is not of this very model.

    Raises:
        CheckpointError: Names the tensors that differ, with both shapes.
    """
    if problems := compare_tensors(own, found.tensors):
        raise CheckpointError(
            f'{file} cannot be resumed with this {name}: {"; ".join(problems)}. Resume '
            'with the config of that run, or start a new run from its weights: '
            f'without --resume, with --cfg-options load_from={file}'
        )


def non_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Name the tensors that hold a NaN or an infinity; it waits for the device."""
    floating = {
        name: tensor
        for name, tensor in tensors.items()
        if isinstance(tensor, Tensor) and tensor.is_floating_point()
    }
    sound = [tensor.isfinite().all() for tensor in floating.values()]
    flags = torch.stack([flag.cpu() for flag in sound]).tolist() if sound else []
    return [name for name, flag in zip(floating, flags, strict=True) if not flag]


def refuse_non_finite(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], file: FileName
) -> None:
    """Refuse weights of a run that diverged.

    Args:
        own: The model's tensors before they are filled; some have infinities on
            purpose.
        given: Those of ``file``.
        file: For the message.

    Raises:
        CheckpointError: One holds a NaN or an infinity; names it.
    """
    broken = non_finite(given)
    meant = set(non_finite({name: own[name] for name in broken if name in own}))
    if broken := [name for name in broken if name not in meant]:
        raise CheckpointError(
            f'{file} holds NaN or infinity in {len(broken)} of {len(given)} tensors: '
            f'{join_some(broken)}. The run that wrote it had diverged; take an earlier '
            'checkpoint.'
        )
