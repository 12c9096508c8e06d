"""Key names: where tensors lie in a file, and what other projects call them."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from math import isqrt

import torch

from ..errors import CheckpointError

# The first one that holds tensors is taken. `state_dict` of a Runner file with an
# EMA hook is the averaged model already (mmengine swaps the two when it saves), so
# its `ema_state_dict`, the unaveraged copy, is never read. `model` goes before
# `model_ema`: it is what the authors evaluate and report.
WRAPPERS = ('state_dict', 'model', 'model_ema', 'state_dict_ema')


@dataclass
class FoundState:
    """A state dict taken out of a checkpoint.

    Attributes:
        tensors (dict[str, torch.Tensor]): Without the prefixes named in layout.
        layout (str): The way to it, such as 'state_dict > backbone.' or 'bare'.
        left_aside (tuple[str]): Other wrappers that hold tensors too.
        ignored (dict[str, int]): What was left out, and how many tensors each.
        shift_dist (tuple[int] or None): The distances that the authors' config, which
            their files carry, says.
    """

    tensors: dict
    layout: str
    left_aside: tuple = ()
    ignored: dict = field(default_factory=dict)
    shift_dist: tuple | None = None


def find_state(checkpoint):
    """Take the whole model's state dict out of a checkpoint.

    Args:
        checkpoint (dict): What ``read_checkpoint`` returns.

    Returns:
        FoundState: Its keys without a ``module.`` that stands before each.

    Raises:
        CheckpointError: If no known layout fits.
    """
    candidates = {name: _tensors(checkpoint.get(name)) for name in WRAPPERS}
    candidates['bare'] = _tensors(checkpoint)
    holding = [name for name, tensors in candidates.items() if tensors]
    if not holding:
        raise CheckpointError(
            f'no state dict found: neither {", ".join(WRAPPERS)} nor the top level '
            f'holds tensors; the entries are {", ".join(map(str, checkpoint))}'
        )
    layout, *left_aside = holding
    tensors = candidates[layout]
    while all(key.startswith('module.') for key in tensors):
        tensors = _under('module.', tensors)
        layout += ' > module.'
    left_aside = tuple(name for name in left_aside if name != 'bare')
    shift_dist = _configured_distances(checkpoint.get('config'))
    return FoundState(tensors, layout, left_aside, shift_dist=shift_dist)


def find_backbone_state(checkpoint):
    """Take the backbone's state dict out of a checkpoint.

    Where any key starts with ``backbone.``, the file is a whole detector,
    segmentor or classifier, and everything else in it is ignored.

    Args:
        checkpoint (dict): What ``read_checkpoint`` returns.

    Returns:
        FoundState: Its keys as the file's author named them in the backbone.

    Raises:
        CheckpointError: If no known layout fits.
    """
    found = find_state(checkpoint)
    backbone = _under('backbone.', found.tensors)
    if not backbone:
        return found
    ignored = Counter(
        key.split('.')[0] for key in found.tensors if not key.startswith('backbone.')
    )
    layout = f'{found.layout} > backbone.'
    return replace(found, tensors=backbone, layout=layout, ignored=dict(ignored))


def _configured_distances(config):
    """Find SHIFT_DIST in a config's stand-in, at whatever depth."""
    if not isinstance(config, dict):
        return None
    given = config.get('SHIFT_DIST')
    given = given if isinstance(given, (list, tuple)) else ()
    if given and all(isinstance(distance, int) for distance in given):
        return tuple(given)
    inner = map(_configured_distances, config.values())
    return next((distances for distances in inner if distances), None)


def _tensors(content):
    if not isinstance(content, dict):
        return {}
    return {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, torch.Tensor)
    }


def _under(prefix, tensors):
    return {
        key[len(prefix) :]: value
        for key, value in tensors.items()
        if key.startswith(prefix)
    }


@dataclass(frozen=True)
class KeyMap:
    """One family's key names.

    Attributes:
        family (str): The name in logs.
        marker (str): A pattern that a key of this family, and of no other, matches.
        rules (tuple[tuple[str, str], ...]): Patterns for whole keys and what they
            become; a replacement may be a function, as in ``re.sub``.
        geometry (str or None): The mix-shift geometry that this layout implies.
    """

    family: str
    marker: str
    rules: tuple
    geometry: str = None

    def fits(self, keys):
        """Tell whether these are this family's keys."""
        return any(re.fullmatch(self.marker, key) for key in keys)

    def rename(self, key):
        """Return the key's name here, or None where it has none."""
        for pattern, replacement in self.rules:
            if re.fullmatch(pattern, key):
                return re.sub(pattern, replacement, key)
        return None

    def apply(self, tensors):
        """Rename every tensor.

        Args:
            tensors (dict[str, torch.Tensor]): A state dict of this family.

        Returns:
            dict[str, torch.Tensor]: The same tensors: the backbone's under its own
            names, the classifier's under ``head.fc.``.

        Raises:
            CheckpointError: If a key has no name here, or two get the same.
        """
        renamed = {key: self.rename(key) for key in tensors}
        unknown = [key for key, name in renamed.items() if name is None]
        if unknown:
            raise CheckpointError(
                f'the keys are of the {self.family} layout, but {len(unknown)} of them '
                f'are unknown in it: {", ".join(unknown[:5])}; is it a variant model?'
            )
        if len(set(renamed.values())) < len(renamed):
            raise CheckpointError(
                f'two keys of the {self.family} layout map to the same tensor'
            )
        return {renamed[key]: tensor for key, tensor in tensors.items()}


def next_stage(match):
    """Name what reduces the resolution behind a layer: it is the next stage's embed."""
    return f'stages.{int(match[1]) + 1}.embed.{match[2]}'


BLOCK = r'layers\.(\d+)\.blocks\.(\d+)\.'
AFFINE = r'(weight|bias)'

# The authors' released MS-MLP: the four patch embeddings are the stem's and one at
# the end of each layer but the last; lr/td are the horizontal and vertical branch.
MSMLP = KeyMap(
    family='msmlp',
    marker=BLOCK + r'dwconv_lr\.\d+\.weight',
    geometry='released',
    rules=(
        (rf'patch_embed\.((?:proj|norm)\.{AFFINE})', r'stages.0.embed.\1'),
        (rf'layers\.(\d+)\.downsample\.((?:proj|norm)\.{AFFINE})', next_stage),
        (
            rf'{BLOCK}dwconv_lr\.(\d+)\.{AFFINE}',
            r'stages.\1.blocks.\2.mix.horizontal.\3.\4',
        ),
        (
            rf'{BLOCK}dwconv_td\.(\d+)\.{AFFINE}',
            r'stages.\1.blocks.\2.mix.vertical.\3.\4',
        ),
        (rf'{BLOCK}pwconv([12])\.{AFFINE}', r'stages.\1.blocks.\2.fc\3.\4'),
        (rf'{BLOCK}(norm\.{AFFINE}|gamma)', r'stages.\1.blocks.\2.\3'),
        (rf'norm\.{AFFINE}', r'norm3.\1'),
        (rf'head\.{AFFINE}', r'head.fc.\1'),
    ),
)


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
FAMILIES = (MSMLP, *HOSTS)


def find_family(keys: Collection[str]) -> KeyMap | None:
    """Return the map of the family whose keys these are, or None."""
    return next((family for family in FAMILIES if family.fits(keys)), None)
