"""What can go wrong with what a user gave, and how its names are listed."""

from collections.abc import Iterable


class CheckpointError(RuntimeError):
    """A checkpoint that cannot, or must not, be used as it was asked for."""


class GeometryError(CheckpointError):
    """Mix-shift weights of one geometry were met where another is built."""


class BadInput(Exception):
    """Something the user gave cannot be used; the message says what and the cure."""


class Diverged(BadInput):
    """Training gives numbers that are none; the message says where, and the cures."""


def join_some(names: Iterable[object], count: int = 5) -> str:
    """Join at most ``count`` names and say how many more there are."""
    texts = [str(name) for name in names]
    more = len(texts) - count
    return ', '.join(texts[:count]) + (f' and {more} more' if more > 0 else '')
