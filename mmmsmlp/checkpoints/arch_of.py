"""Which backbone, of which architecture, do these weights belong to?"""

import re
from math import isqrt

from ..errors import CheckpointError
from ..geometry import MARK, decode_geometry

_OWN = re.compile(
    r'geometry|(stage0|stages\.[0-3])\.(embed|blocks\.\d+)\..+'
    r'|norm[0-3]\.(weight|bias)|head\.fc\.(weight|bias)'
)
_KINDS = {  # of stage 1, of stages 2-4
    ('mix', 'mix'): 'MSMLP',
    ('mix', 'swin'): 'MSMLPSwin',
    ('mix', 'focal'): 'MSMLPFocal',
    ('swin', 'swin'): 'SwinTransformer',
    ('focal', 'focal'): 'FocalTransformer',
}


def has_own_names(tensors):
    """Tell whether every key is one that this package's backbones use."""
    return bool(tensors) and all(_OWN.fullmatch(key) for key in tensors)


def find_arch(tensors):
    """Read class and arguments of the backbone off the shapes of its weights.

    Args:
        tensors (dict[str, torch.Tensor]): A backbone's state dict of four stages,
            under this package's names, the head's or not.

    Returns:
        tuple[str, dict]: The class and the arguments that build it; ``arch`` is a
        dict.

    Raises:
        CheckpointError: If a tensor that tells is missing, or no class is composed
            like that.
    """
    weights = _Weights(tensors)
    kinds = [weights.kind(stage) for stage in range(4)]
    name = _KINDS.get((kinds[0], kinds[1])) if len(set(kinds[1:])) == 1 else None
    if name is None:
        raise CheckpointError(
            f'stages 1-4 are of the kinds {", ".join(kinds)}, and no backbone here is '
            'composed like that'
        )
    first = 'stage0' if weights.depth('stage0') else 'stages.0'
    arch = dict(
        embed_dims=weights.width(kinds[0]),
        depths=[weights.depth(f'stages.{stage}') for stage in range(4)],
    )
    kwargs = dict(arch=arch, in_channels=weights[f'{first}.embed.proj.weight'].shape[1])
    if name != 'FocalTransformer':
        kwargs['patch_size'] = 2 if first == 'stage0' else 4
    if kinds[0] == 'mix':
        kwargs['geometry'], kwargs['shift_dist'] = decode_geometry(weights[MARK])
        sizes = [
            weights.mix_sizes(stage) for stage in range(4) if kinds[stage] == 'mix'
        ]
        arch['mix_sizes'] = sizes if name == 'MSMLP' else sizes[0]
        if weights['stages.0.blocks.0.mix.horizontal.0.weight'].shape[1] > 1:
            kwargs['mix_conv'] = 'full'
        if 'stages.0.blocks.0.gamma' not in tensors:
            kwargs['layer_scale_init_value'] = 0
    if kinds[1] != 'mix':
        # A hybrid's arch has entries for stage 1 too, of which only the depth counts.
        stages = [max(stage, kinds.index(kinds[1])) for stage in range(4)]
        arch['num_heads'] = [weights.heads(stage) for stage in stages]
        arch['window_size'] = weights.window(3)
        if kinds[1] == 'focal':
            arch.update(weights.focus(stages))
    return name, kwargs


class _Weights:
    """Reads what single tensors tell."""

    def __init__(self, tensors):
        self.tensors = tensors

    def __getitem__(self, key):
        if key not in self.tensors:
            raise CheckpointError(f'{key} is missing, so the architecture is unknown')
        return self.tensors[key]

    def get(self, stage, rest):
        return self.tensors.get(f'stages.{stage}.blocks.0.attn.{rest}')

    def depth(self, stage):
        match = re.compile(re.escape(stage) + r'\.blocks\.(\d+)\.').match
        return max((int(m[1]) for m in map(match, self.tensors) if m), default=-1) + 1

    def kind(self, stage):
        block = f'stages.{stage}.blocks.0.'
        if block + 'mix.horizontal.0.weight' in self.tensors:
            return 'mix'
        focal = ('pool.weight', 'relative_position_bias_table_to_neighbors')
        if any(self.get(stage, rest) is not None for rest in focal):
            return 'focal'
        self[block + 'attn.qkv.weight']
        return 'swin'

    def width(self, kind):
        norm = 'norm' if kind == 'mix' else 'norm1'
        return self[f'stages.0.blocks.0.{norm}.weight'].shape[0]

    def mix_sizes(self, stage):
        start = f'stages.{stage}.blocks.0.mix.horizontal.'
        groups = sum(key.startswith(start) for key in self.tensors) // 2
        return [self[f'{start}{n}.weight'].shape[-1] for n in range(groups)]

    def _table(self, stage):
        return self[f'stages.{stage}.blocks.0.attn.relative_position_bias_table']

    def heads(self, stage):
        return self._table(stage).shape[1]

    def window(self, stage):
        return (isqrt(self._table(stage).shape[0]) + 1) // 2

    def focus(self, stages):
        """What an arch of the Focal Transformer says besides heads and window."""
        size, focus = self.window(3), dict(focal_levels=[])
        focus.update(focal_windows=[], expand_sizes=[])
        for stage in stages:
            pooled = self.get(stage, 'relative_position_bias_table_to_windows.0')
            around = self.get(stage, 'relative_position_bias_table_to_neighbors')
            reach = 0 if pooled is None else isqrt(pooled.shape[1]) - size + 1
            margin = 0 if around is None else around.shape[-1] // 4
            focus['focal_levels'].append(2 if reach else 1)
            focus['focal_windows'].append(reach)
            focus['expand_sizes'].append(size - isqrt(size**2 - margin))
        return focus
