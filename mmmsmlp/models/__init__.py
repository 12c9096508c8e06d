"""The backbones; importing this module registers them."""

from .focal import FocalTransformer
from .hybrids import MSMLPFocal, MSMLPSwin
from .msmlp import MSMLP
from .swin import SwinTransformer

__all__ = ['MSMLP', 'FocalTransformer', 'MSMLPFocal', 'MSMLPSwin', 'SwinTransformer']
