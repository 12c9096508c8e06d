"""Any config of the toolboxes with one of our backbones in the old one's place."""

from .api import diff, read_config, swap, with_backbone
from .places import backbone_places

__all__ = ['backbone_places', 'diff', 'read_config', 'swap', 'with_backbone']
