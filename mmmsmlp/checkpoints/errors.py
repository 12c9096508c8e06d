"""What can be wrong with a checkpoint."""


class CheckpointError(RuntimeError):
    """A checkpoint that cannot, or must not, be used as it was asked for."""


class GeometryError(CheckpointError):
    """Mix-shift weights of one geometry were met where another is built."""
