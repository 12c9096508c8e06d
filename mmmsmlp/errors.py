"""What can go wrong with what a user gave, and how its names are listed."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot, or must not, be used as it was asked for."""


class GeometryError(CheckpointError):
    """Mix-shift weights of one geometry were met where another is built."""


class BadInput(Exception):
    """Something the user gave cannot be used; the message says what and the cure."""


def join_some(names, count=5):
    """Join at most ``count`` names and say how many more there are."""
    names = [str(name) for name in names]
    more = len(names) - count
    return ', '.join(names[:count]) + (f' and {more} more' if more > 0 else '')
