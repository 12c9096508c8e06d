"""Reading checkpoints safely, and filling models with them completely."""

from .errors import CheckpointError, GeometryError
from .geometry import check_geometry, encode_geometry, mark_geometry

__all__ = [
    'CheckpointError',
    'GeometryError',
    'check_geometry',
    'encode_geometry',
    'mark_geometry',
]
