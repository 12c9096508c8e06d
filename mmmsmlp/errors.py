"""What can go wrong with what a user gave, and how its names are listed."""

import difflib
import os
import traceback
from collections.abc import Iterable
from contextlib import suppress


class CheckpointError(RuntimeError):
    """A checkpoint that cannot, or must not, be used as it was asked for."""


class GeometryError(CheckpointError):
    """Mix-shift weights of one geometry were met where another is built."""


class BadInput(Exception):
    """Something the user gave cannot be used; the message says what and the cure."""


class SampleError(BadInput):
    """An image or its annotations could not be prepared.

    torch wraps what a data worker raises into its traceback, whose last line is ours.
    """

    def __str__(self) -> str:
        return super().__str__().rpartition(f'{__name__}.SampleError: ')[2].strip()


class Diverged(BadInput):
    """Training gives numbers that are none; the message says where, and the cures."""


def one_line(error: Exception) -> str:
    """An error's first line; of a bare assert, which has no words, its source."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else traceback.extract_tb(error.__traceback__)[-1].line
    return f'{type(error).__name__}: {text}'


def did_you_mean(
    name: str, known: Iterable[str], most: int = 1, likeness: float = 0.6
) -> str:
    """The end of a sentence: known names near this one, or nothing.

    Args:
        name: What was given.
        known: What was allowed.
        most: How many to name at most.
        likeness: Of those named, from 0 (any) to 1 (the same).
    """
    near = difflib.get_close_matches(name, known, most, likeness)
    return f'; did you mean {" or ".join(map(repr, near))}?' if near else ''


def is_there_another(path: str) -> str:
    """The end of a sentence: what lies beside a missing path under a similar name."""
    folder, name = os.path.split(os.path.abspath(path))
    with suppress(OSError):
        return did_you_mean(name, os.listdir(folder) if path else ())
    return ''


def join_some(names: Iterable[object], count: int = 5) -> str:
    """Join at most ``count`` names and say how many more there are."""
    texts = [str(name) for name in names]
    more = len(texts) - count
    return ', '.join(texts[:count]) + (f' and {more} more' if more > 0 else '')
