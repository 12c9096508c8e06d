"""What are the tensors of the hybrids' hosts called, and how do they differ?"""

import re
from dataclasses import dataclass
from math import isqrt

import torch

from ..errors import CheckpointError
from .key_maps import AFFINE, BLOCK, KeyMap, next_stage

_INDEX = re.compile(r'.*\.relative_position_index(_\d+)?')
_DERIVED = re.compile(r'.*\.(relative_position_index(_\d+)?|valid_ind_\w+|attn_mask)')
_MERGING = re.compile(r'stages\.[1-3]\.embed\.(norm|reduction)\.(weight|bias)')


@dataclass(frozen=True)
class HostKeyMap(KeyMap):
    """A host's key names; its index buffers are checked and left out.

    Attributes:
        unfolded (bool): Its patch merging counts the 2x2 neighbours of a channel
            before the channels, as ``torch.nn.Unfold`` does.
    """

    unfolded: bool = False

    def apply(self, tensors):
        """Rename every tensor, and bring patch merging into the official order.

        Args:
            tensors (dict[str, torch.Tensor]): A state dict of this family.

        Returns:
            dict[str, torch.Tensor]: The tensors under their names here.

        Raises:
            CheckpointError: As :meth:`KeyMap.apply`, or if an index buffer says that
                the position tables are ordered differently.
        """
        for key, tensor in tensors.items():
            if _INDEX.fullmatch(key) and not is_relative_index(tensor):
                raise CheckpointError(
                    f'{key} differs from the published index, so the position tables '
                    'of this file mean something else; is it a variant model?'
                )
        kept = {k: t for k, t in tensors.items() if not _DERIVED.fullmatch(k)}
        renamed = super().apply(kept)
        if self.unfolded:
            for key, tensor in renamed.items():
                if _MERGING.fullmatch(key):
                    renamed[key] = merge_order(tensor)
        return renamed


def is_relative_index(index):
    """Tell whether an index into a position table is the published one.

    Args:
        index (torch.Tensor): (queries, keys), of two squares of tokens.

    Returns:
        bool: False if any entry differs.
    """
    query, key = (torch.arange(isqrt(size)) for size in index.shape)
    step = query[:, None] - key + len(key) - 1
    expected = step[:, None, :, None] * (len(query) + len(key) - 1)
    expected = (expected + step[None, :, None, :]).flatten(0, 1).flatten(1)
    return expected.shape == index.shape and torch.equal(expected, index.long().cpu())


def merge_order(tensor):
    """Reorder patch merging's last dimension from OpenMMLab's order to the official.

    Args:
        tensor (torch.Tensor): (..., 4 C) as channel, row, column of the 2x2 patch.

    Returns:
        torch.Tensor: (..., 4 C) as column, row, channel.
    """
    patches = tensor.unflatten(-1, (-1, 2, 2))
    return patches.transpose(-1, -3).flatten(-3).contiguous()


_STEM = (rf'patch_embed\.((?:proj|norm)\.{AFFINE})', r'stages.0.embed.\1')
_HEAD = (
    (rf'norm\.{AFFINE}', r'norm3.\1'),
    (rf'head\.{AFFINE}', r'head.fc.\1'),
)
_SAME_IN_BLOCK = (
    rf'{BLOCK}((?:norm[12]|attn\.qkv|attn\.proj|mlp\.fc[12])\.{AFFINE}'
    r'|attn\.relative_position_bias_table(?:_to_neighbors|_to_windows\.0)?)',
    r'stages.\1.blocks.\2.\3',
)

FOCAL = HostKeyMap(
    family='focal',
    marker=BLOCK + r'pool_layers\.0\.weight',
    rules=(
        _STEM,
        (rf'layers\.(\d+)\.downsample\.((?:proj|norm)\.{AFFINE})', next_stage),
        (rf'{BLOCK}pool_layers\.0\.{AFFINE}', r'stages.\1.blocks.\2.attn.pool.\3'),
        _SAME_IN_BLOCK,
        *_HEAD,
    ),
)
SWIN = HostKeyMap(
    family='swin',
    marker=r'layers\.\d+\.downsample\.reduction\.weight',
    rules=(
        _STEM,
        (
            rf'layers\.(\d+)\.downsample\.(norm\.{AFFINE}|reduction\.weight)',
            next_stage,
        ),
        _SAME_IN_BLOCK,
        *_HEAD,
    ),
)
_MM_BLOCK = r'stages\.(\d+)\.blocks\.(\d+)\.'
OPENMMLAB_SWIN = HostKeyMap(
    family='openmmlab-swin',
    marker=_MM_BLOCK + r'attn\.w_msa\.qkv\.weight',
    unfolded=True,
    rules=(
        (rf'patch_embed\.projection\.{AFFINE}', r'stages.0.embed.proj.\1'),
        (rf'patch_embed\.norm\.{AFFINE}', r'stages.0.embed.norm.\1'),
        (
            rf'stages\.(\d+)\.downsample\.(norm\.{AFFINE}|reduction\.weight)',
            next_stage,
        ),
        (rf'{_MM_BLOCK}(norm[12]\.{AFFINE})', r'stages.\1.blocks.\2.\3'),
        (
            rf'{_MM_BLOCK}attn\.w_msa\.((?:qkv|proj)\.{AFFINE}'
            r'|relative_position_bias_table)',
            r'stages.\1.blocks.\2.attn.\3',
        ),
        (rf'{_MM_BLOCK}ffn\.layers\.0\.0\.{AFFINE}', r'stages.\1.blocks.\2.mlp.fc1.\3'),
        (rf'{_MM_BLOCK}ffn\.layers\.1\.{AFFINE}', r'stages.\1.blocks.\2.mlp.fc2.\3'),
        (rf'(norm[0-3]\.{AFFINE})', r'\1'),
    ),
)
HOSTS = (FOCAL, SWIN, OPENMMLAB_SWIN)
