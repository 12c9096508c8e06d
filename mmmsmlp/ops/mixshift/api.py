"""The public mix-shift function, and the check of what it is given."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..torch_private import autocast_dtype, is_transformed, is_unobserved
from .dispatch import AUTO, asked_backend, implementation, select_backend
from .library import mix_shift_op
from .reference import mix_shift_reference
from .spec import ORDERS, Filters, Groups
from .trust import trusted_backend


def mix_shift(
    x: Tensor,
    weights_h: Sequence[Tensor],
    biases_h: Sequence[Tensor],
    weights_v: Sequence[Tensor],
    biases_v: Sequence[Tensor],
    shift_dist: Sequence[int],
    order: str = 'mix_shift',
) -> Tensor:
    """Regional mixing and circular shifting along both axes, summed (Eq. 2, Fig. 2).

    Channels fall into S groups, in order; group n has ``c_n`` channels, a horizontal
    and a vertical filter of size ``r_n`` and a distance ``d_n``.

    Args:
        x: Feature map (N, C, H, W), any memory format; channels_last is the fast one.
        weights_h: S filters (c_n, 1, r_n, r_n), or (c_n, c_n, r_n, r_n) for a full
            convolution inside the group (Table 13), of the branch shifted along W.
        biases_h: S biases (c_n,) of that branch.
        weights_v: S filters of the branch shifted along H, shaped as ``weights_h``.
        biases_v: S biases (c_n,) of that branch.
        shift_dist: S distances in tokens, taken modulo the map's size.
        order: ``'mix_shift'``, the paper's: mix, then roll by ``-d``; ``'shift_mix'``,
            the released code's: roll by ``+d``, then mix.

    Returns:
        Tensor (N, C, H, W). Under autocast, of autocast's dtype, as a convolution.

    Raises:
        BackendError: The backend asked for with :func:`use_backend` or
            MMMSMLP_BACKEND cannot run.
        ValueError: Lists of unequal length, an x that is not 4-D, filters that do not
            add up to C or are not odd squares, biases that do not fit them, or an
            unknown order.
    """
    filters = Filters(weights_h, biases_h, weights_v, biases_v)
    _check(x, filters, shift_dist, order)
    groups = Groups.of(weights_h, shift_dist, order)
    backend = select_backend(x, [*weights_h, *weights_v])
    if backend == 'reference' or is_transformed():
        return mix_shift_reference(x, filters, groups)
    dtype = autocast_dtype(x.device.type)
    if dtype is not None:
        x = x.to(dtype)
        filters = Filters(*([t.to(dtype) for t in tensors] for tensors in filters))
    if backend == 'triton' and asked_backend() == AUTO:
        backend = AUTO  # decided where it runs: a compiler cannot try the kernels
    # An operator's dispatch takes a tenth of the time of a small map on a CPU.
    if is_unobserved(x):
        backend = trusted_backend(backend, x, groups, with_gradients=False)
        return implementation(backend).forward(x, filters, groups)
    return mix_shift_op(x, *map(list, filters), list(shift_dist), order, backend)


def _check(x: Tensor, filters: Filters, shift_dist: Sequence[int], order: str) -> None:
    if order not in ORDERS:
        raise ValueError(f'order must be one of {ORDERS}, got {order!r}')
    lengths = list(map(len, filters))
    if any(length != len(shift_dist) for length in lengths):
        raise ValueError(
            'every group needs two filters, two biases and a distance, got '
            f'{lengths} filters and biases for {len(shift_dist)} distances'
        )
    if x.dim() != 4:
        raise ValueError(f'x must be (N, C, H, W), got shape {tuple(x.shape)}')
    weights_h, biases_h, weights_v, biases_v = filters
    channels = sum(weight.shape[0] for weight in weights_h)
    if channels != x.shape[1]:
        raise ValueError(
            f'the groups hold {channels} channels but x has {x.shape[1]}; '
            'give filters whose first dimensions add up to the channels of x'
        )
    for n, (weight_h, weight_v) in enumerate(zip(weights_h, weights_v, strict=True)):
        shape = weight_h.shape
        if weight_v.shape != shape or not _is_odd_square(shape):
            raise ValueError(
                'the two filters of a group must share one odd square shape, (c, 1, r, '
                f'r) or (c, c, r, r), got {tuple(shape)} and {tuple(weight_v.shape)}'
            )
        if not biases_h[n].shape == biases_v[n].shape == shape[:1]:
            raise ValueError(
                f'group {n} has {shape[0]} channels, but biases of shape '
                f'{tuple(biases_h[n].shape)} and {tuple(biases_v[n].shape)}'
            )


def _is_odd_square(shape: torch.Size) -> bool:
    if len(shape) != 4 or shape[1] not in (1, shape[0]):
        return False
    return shape[2] == shape[3] and shape[3] % 2 == 1
