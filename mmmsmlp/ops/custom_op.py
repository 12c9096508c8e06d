"""``torch.library.custom_op``, which PyTorch has from 2.4 on, and the same for older.

For both the schema is written out: PyTorch 2.4 cannot read it from ``list[Tensor]``.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_libraries: dict[str, torch.library.Library] = {}


class CustomOp:
    """An operator by ``torch.library.Library``, with custom_op's three methods.

    It is for functions of tensors, lists of tensors and settings that return new
    tensors and change none; shapes, autograd and dispatch are then as custom_op's.
    """

    def __init__(self, name: str, function: Callable, schema: str):
        namespace, _, self.name = name.partition('::')
        if namespace not in _libraries:  # unloaded when nothing holds it
            _libraries[namespace] = torch.library.Library(namespace, 'FRAGMENT')
        self.library = _libraries[namespace]
        self.library.define(self.name + schema)
        self.library.impl(self.name, function, 'CompositeExplicitAutograd')
        self.overload = getattr(getattr(torch.ops, namespace), self.name).default

    def __call__(self, *arguments: Any) -> Any:
        return self.overload(*arguments)

    def register_fake(self, function: Callable) -> Callable:
        """Take the function that gives empty outputs, for shapes alone."""
        self.library.impl(self.name, function, 'Meta')
        return function

    def register_autograd(self, backward: Callable, *, setup_context: Callable) -> None:
        """Take what ``torch.library.register_autograd`` takes."""

        def recorded(*arguments: Any) -> Any:
            lengths = [len(a) if isinstance(a, list) else None for a in arguments]
            formula = self.overload, backward, setup_context, lengths
            return _Recorded.apply(formula, *_flat(arguments, lengths))

        self.library.impl(self.name, recorded, 'Autograd')


class _Recorded(torch.autograd.Function):
    """The operator in a graph: autograd sees tensors in arguments, none in lists."""

    @staticmethod
    def forward(ctx: Any, formula: tuple, *flat: Any) -> Tensor:
        overload, _, setup_context, lengths = ctx.formula = formula
        remaining = iter(flat)
        arguments = tuple(
            next(remaining) if n is None else [next(remaining) for _ in range(n)]
            for n in lengths
        )
        with torch._C._AutoDispatchBelowAutograd():
            output = overload(*arguments)
        setup_context(ctx, arguments, output)
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        _, backward, _, lengths = ctx.formula
        return None, *_flat(backward(ctx, grad), lengths)


def _flat(arguments: Iterable, lengths: list[int | None]) -> list:
    """Lists among arguments, or among their gradients, in place; None for a list."""
    flat: list = []
    for argument, length in zip(arguments, lengths, strict=True):
        if length is None:
            flat.append(argument)
        else:
            flat += [None] * length if argument is None else argument
    return flat


def custom_op(name: str, schema: str) -> Callable[[Callable], Any]:
    """Define an operator of a function that changes none of its arguments.

    Args:
        name: With its namespace, ``'mmmsmlp::mix_shift'``.
        schema: Arguments and results, ``'(Tensor x, Tensor[] ws) -> Tensor'``.
    """
    known = getattr(torch.library, 'custom_op', None)
    if known is not None:
        return known(name, mutates_args=(), schema=schema)
    return lambda function: CustomOp(name, function, schema)
