"""The choice of the backend that computes mix-shift, and why another one cannot."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

ENV = 'MMMSMLP_BACKEND'
AUTO = 'auto'
# Fastest first: auto takes the first that can run.
BACKENDS = ('triton', 'eager', 'reference')
# GPUs, as text, on which ``auto`` no longer takes Triton; see :mod:`.trust`.
distrusted: set[str] = set()
_chosen: list[str] = []


class BackendError(RuntimeError):
    """A backend that was asked for by name cannot run."""


class use_backend(AbstractContextManager):  # noqa: N801  reads as a verb, like no_grad
    """Choose the backend by name, until called again or for a ``with`` block.

    Args:
        name: 'triton', 'eager', 'reference', or 'auto' for the fastest that can run.
            It wins over the environment variable MMMSMLP_BACKEND, in every thread.

    Derivatives that no backend has by hand (second ones, forward-mode ones, transforms
    of torch.func) are the reference's, whatever the backend. A layer that is replaced
    or carries hooks is called itself, and no backend takes its place.

    Raises:
        BackendError: The name is unknown. Whether the backend can run is known, and
            said, when the operator meets its first input.
    """

    def __init__(self, name: str):
        self._outer = _chosen[-1:]
        _chosen[:] = [_known(name, 'use_backend')]

    def __exit__(self, *exc: object) -> None:
        _chosen[:] = self._outer


def select_backend(x: Tensor, weights: Sequence[Tensor]) -> str:
    """Name the backend that computes this input.

    Args:
        x: The map (N, C, H, W).
        weights: The filters of both branches.

    Raises:
        BackendError: The backend asked for by name cannot run; the reason is in the
            message. Nothing falls back silently.
    """
    if (asked := asked_backend()) != AUTO:
        reason = why_not(asked, x, weights)
        if reason:
            raise BackendError(
                f'the mix-shift backend {asked!r} was asked for but cannot run: '
                f"{reason.rstrip('.')}. Choose '{AUTO}' to take the fastest that can."
            )
        return asked
    return next(
        name
        for name in BACKENDS
        if (name != 'triton' or auto_takes_triton(x))
        and why_not(name, x, weights) is None
    )


def asked_backend() -> str:
    """The name that was asked for last, or AUTO."""
    return _chosen[-1] if _chosen else _known(os.environ.get(ENV, AUTO), ENV)


def auto_takes_triton(x: Tensor) -> bool:
    """Whether ``x`` is on a GPU that was not found to compute other numbers."""
    # Triton's interpreter on a CPU is for debugging. Compilers see an empty set alone.
    return x.is_cuda and not (distrusted and str(x.device) in distrusted)


def why_not(name: str, x: Tensor, weights: Sequence[Tensor]) -> str | None:
    """Say in a sentence why a backend cannot compute this input, or None if it can.

    Args:
        name: As in :class:`use_backend`.
        x: The map (N, C, H, W).
        weights: The filters of both branches.

    Raises:
        BackendError: The name is unknown.
    """
    if _known(name, 'why_not') in ('reference', AUTO):
        return None
    if torch.onnx.is_in_onnx_export() or torch.jit.is_tracing():
        return 'an exported graph holds no custom operator'
    if any(weight.shape[1] != 1 for weight in weights):
        return 'it is depth-wise only, and these filters are full convolutions'
    if name == 'triton':
        if not x.is_cuda and os.environ.get('TRITON_INTERPRET') != '1':
            return f'it needs a CUDA device, and the input is on {x.device}'
        return implementation(name).unavailable(x, weights)
    return None


def implementation(name: str) -> ModuleType:
    """The module of a backend: its ``forward`` and ``backward``."""
    return import_module(f'.{name}', __package__)


def _known(name: str, source: str) -> str:
    if name not in (AUTO, *BACKENDS):
        raise BackendError(
            f'{source} got the unknown backend {name!r}; choose one of '
            f'{", ".join((AUTO, *BACKENDS))}'
        )
    return name
