"""Reading checkpoints safely, and filling models with them completely."""

from .coverage import Coverage, load_pretrained
from .reader import read_checkpoint
from .whole import load_whole, missing_tensors, vet_toolbox_backbone

__all__ = [
    'Coverage',
    'load_pretrained',
    'load_whole',
    'missing_tensors',
    'read_checkpoint',
    'vet_toolbox_backbone',
]
