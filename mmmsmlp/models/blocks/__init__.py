"""The parts that the backbones are composed of."""

from .focal_attention import FocalAttention
from .ms_block import MixShift, MSBlock
from .norm import LayerNorm2d
from .patch_embed import PatchEmbed
from .patch_merging import PatchMerging
from .stage import Stage
from .transformer_block import HOST_EPS, TransformerBlock
from .window_attention import WindowAttention

__all__ = [
    'HOST_EPS',
    'FocalAttention',
    'LayerNorm2d',
    'MSBlock',
    'MixShift',
    'PatchEmbed',
    'PatchMerging',
    'Stage',
    'TransformerBlock',
    'WindowAttention',
]
