"""Reading checkpoints safely, and filling models with them completely."""

from .coverage import Coverage, load_pretrained
from .errors import CheckpointError, GeometryError
from .geometry import check_geometry, encode_geometry, mark_geometry
from .reader import read_checkpoint
from .whole import load_whole, missing_tensors, vet_toolbox_backbone

__all__ = [
    'CheckpointError',
    'Coverage',
    'GeometryError',
    'check_geometry',
    'encode_geometry',
    'load_pretrained',
    'load_whole',
    'mark_geometry',
    'missing_tensors',
    'read_checkpoint',
    'vet_toolbox_backbone',
]
