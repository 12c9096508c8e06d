"""Reading checkpoints safely, and filling models with them completely."""

from .compare import non_finite
from .load import (
    Coverage,
    load_pretrained,
    load_whole,
    vet_toolbox_backbone,
)
from .read import peek_checkpoint, read_checkpoint

__all__ = [
    'Coverage',
    'load_pretrained',
    'load_whole',
    'non_finite',
    'peek_checkpoint',
    'read_checkpoint',
    'vet_toolbox_backbone',
]
