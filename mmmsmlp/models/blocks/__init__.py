"""The parts that the backbones are composed of."""

from .ms_block import MixShift, MSBlock
from .norm import LayerNorm2d
from .patch_embed import PatchEmbed
from .stage import Stage

__all__ = ['LayerNorm2d', 'MSBlock', 'MixShift', 'PatchEmbed', 'Stage']
