"""Key names: where tensors lie in a file, and what other projects call them."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import isqrt
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError, join_some
from ..geometry import MARK, Geometry
from .read import FileName

# The first one that holds tensors is taken. `state_dict` of a Runner file with an
# EMA hook is the averaged model already (mmengine swaps the two when it saves), so
# its `ema_state_dict`, the unaveraged copy, is never read. `model` goes before
# `model_ema`: it is what the authors evaluate and report.
WRAPPERS = (
    *('state_dict', 'model', 'model_state_dict', 'net', 'module'),
    *('model_ema', 'state_dict_ema', 'ema_model'),
)
AVERAGES = ('ema_model.', 'model_ema.', 'ema.')
# What DDP, FSDP, torch.compile, Lightning and averaging put before keys, in the order
# in which they are tried; `backbone.` is a detector's, a segmentor's, a classifier's.
PREFIXES = (
    *('module.', '_orig_mod.', '_fsdp_wrapped_module.', 'model.', 'net.', 'network.'),
    *('backbone.', 'encoder.', *AVERAGES),
)
HEAD = ('head.fc.weight', 'head.fc.bias')
# Where single modules were compiled or wrapped, they stand in the middle of a key.
_INSIDE = re.compile(
    r'(?<=\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.'
)
_BLOCK_KEY = re.compile(
    r'(?:^|\.)((?:(?:stage0|stages\.[0-3])\.(?:embed|blocks\.\d+)'
    r'|layers\.\d+\.blocks\.\d+)\.)'
)


@dataclass
class Found:
    """Tensors of a checkpoint, and where they were found.

    Attributes:
        tensors: Without the prefixes that ``layout`` names.
        layout: The way to them, such as 'state_dict > backbone.' or 'bare'.
        ignored: What stood beside them, and how many tensors each.
        left_aside: Other wrappers that hold tensors too.
        versions: Of the modules, which torch keeps as ``_metadata`` of a state dict.
        shift_dist: The distances that the authors' config says, which their files
            carry.
        head: A classifier's ``head.fc`` that stood beside its backbone.
        family: The map of another project's keys, by which they were renamed.
        geometry: What mix-shift weights were trained as, where it is known.
    """

    tensors: Mapping[str, Tensor]
    layout: str
    ignored: Counter = field(default_factory=Counter)
    left_aside: tuple[str, ...] = ()
    versions: Mapping[str, Any] | None = None
    shift_dist: tuple[int, ...] | None = None
    head: dict[str, Tensor] = field(default_factory=dict)
    family: 'KeyMap | None' = None
    geometry: Geometry | None = None

    def __str__(self) -> str:
        said = self.layout
        if self.left_aside:
            said += f', not {" or ".join(self.left_aside)}'
        return f'{said}, {self.family.family} keys' if self.family else said

    def under(self, prefix: str) -> 'Found':
        """Those whose key starts with ``prefix``, without it."""
        beside = {k: t for k, t in self.tensors.items() if not k.startswith(prefix)}
        head = {key: beside.pop(key) for key in HEAD if key in beside} or self.head
        return replace(
            self,
            tensors={
                key[len(prefix) :]: tensor
                for key, tensor in self.tensors.items()
                if key.startswith(prefix)
            },
            layout=f'{self.layout} > {prefix}',
            ignored=self.ignored + Counter(key.split('.')[0] for key in beside),
            head=head,
        )

    def unwrapped(self, fits: Callable[[Collection[str]], bool]) -> 'Found':
        """Without known prefixes, if ``fits`` says that the keys behind them fit."""
        return self._way_in(fits) or self

    def _way_in(
        self, fits: Callable[[Collection[str]], bool], depth: int = 9
    ) -> 'Found | None':
        keys = [_INSIDE.sub('', key) for key in self.tensors]
        if fits(keys):
            inside = dict.fromkeys(n for k in self.tensors for n in _INSIDE.findall(k))
            if not inside:
                return self
            tensors = dict(zip(keys, self.tensors.values(), strict=True))
            layout = ' > '.join([self.layout, *inside])
            return replace(self, tensors=tensors, layout=layout)
        for prefix in PREFIXES if depth else ():
            inner = self.under(prefix)
            if inner.tensors and (found := inner._way_in(fits, depth - 1)):
                return found
        return None


_EMA_ALONE = (
    '. ema_state_dict alone is half of what mmengine saves: the average lies in '
    'state_dict beside it; give the whole file, or name the tensors state_dict'
)


def find_state(content: Mapping[str, Any], file: FileName) -> Found:
    """Take the state dict out of the content of ``file``, its keys as they are.

    Raises:
        CheckpointError: No known layout fits.
    """
    places: dict[str, Any] = {}
    for outer in (*WRAPPERS, 'ema'):
        inner = content.get(outer)
        if outer != 'ema':
            places[outer] = inner
        if isinstance(inner, dict):
            places |= {f'{outer} > {name}': inner.get(name) for name in WRAPPERS}
    places['bare'] = content
    holding = [name for name, place in places.items() if _tensors(place)]
    if not holding:
        raise CheckpointError(
            f'{file}: no state dict found: neither {", ".join(WRAPPERS)} nor the top '
            f'level holds tensors; the entries are {", ".join(map(str, content))}'
            + _cure(content)
        )
    layout, *others = holding
    return Found(
        tensors=_tensors(places[layout]),
        layout=layout,
        left_aside=tuple(name for name in others if name != 'bare'),
        versions=getattr(places[layout], '_metadata', None),
        shift_dist=_configured_distances(content.get('config')),
    )


def _cure(content: Mapping[str, Any]) -> str:
    if 'ema_state_dict' in content:
        return _EMA_ALONE
    name = next((name for name, value in content.items() if _tensors(value)), None)
    if name is None:
        return ''
    return (
        f'. {name} holds some; if they are the weights, name them: '
        f"torch.save({{'state_dict': torch.load(FILE)[{name!r}]}}, DST)"
    )


def _tensors(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        return {}
    return {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }


def _configured_distances(config: Any) -> tuple[int, ...] | None:
    """Find SHIFT_DIST in a config's stand-in, at whatever depth."""
    if not isinstance(config, dict):
        return None
    given = config.get('SHIFT_DIST')
    given = given if isinstance(given, (list, tuple)) else ()
    if given and all(isinstance(distance, int) for distance in given):
        return tuple(given)
    inner = map(_configured_distances, config.values())
    return next((distances for distances in inner if distances), None)


def is_backbone(keys: Collection[str]) -> bool:
    """Tell whether a backbone of this package, or of a known family, has such keys."""
    return any(_BLOCK_KEY.match(key) for key in keys) or find_family(keys) is not None


def to_own_names(content: Mapping[str, Any], file: FileName, prefix: str = '') -> Found:
    """Take the backbone out of the content of ``file``, under this package's names.

    Where the file is a whole detector, segmentor or classifier, everything else in it
    is ignored, but for a classifier's ``head.fc``. A ``prefix`` says which of several
    backbones is meant, such as 'teacher.backbone.'.

    Returns:
        The tensors, with the mark of their geometry where it is known: from the file,
        or from a layout that is the authors'.

    Raises:
        CheckpointError: No known layout fits, the keys stand behind a prefix that is
            not known, or a key of another project's layout is unknown in it.
        GeometryError: The file's mark cannot be read.
    """
    found = _behind(prefix, find_state(content, file), file).unwrapped(is_backbone)
    if not is_backbone(found.tensors):
        refuse_unknown_prefix(found, file)
    try:
        family = found.family = find_family(found.tensors)
        tensors = dict(family.apply(found.tensors) if family else found.tensors)
        if MARK in tensors:
            found.geometry = Geometry.from_mark(tensors[MARK])
        elif family and family.geometry:
            found.geometry = Geometry.of(family.geometry, found.shift_dist)
            tensors[MARK] = found.geometry.mark()
    except CheckpointError as error:
        raise type(error)(f'{file} [layout {found}]: {error}') from None
    found.tensors = {**tensors, **found.head}
    return found


def _behind(prefix: str, found: Found, file: FileName) -> Found:
    """What stands behind a prefix that was asked for.

    Raises:
        CheckpointError: Nothing does, and it is none that a file may lack.
    """
    prefix = prefix and prefix.removesuffix('.') + '.'
    chosen = found.under(prefix) if prefix else found
    if chosen.tensors:
        return chosen
    # Of a file that holds the backbone alone.
    if prefix in PREFIXES and prefix not in AVERAGES:
        return found
    begin = dict.fromkeys(repr(key.split('.')[0] + '.') for key in found.tensors)
    raise CheckpointError(
        f'{file} [layout {found}]: no key starts with prefix={prefix!r}; they start '
        f'with {join_some(begin)}'
    )


def refuse_unknown_prefix(found: Found, file: FileName) -> None:
    """Refuse keys of a backbone that stand behind a prefix of which we know nothing.

    Raises:
        CheckpointError: Names it, and how to save the weights without it.
    """
    blocks = [match for key in found.tensors if (match := _BLOCK_KEY.search(key))]
    prefixes = dict.fromkeys(
        match.string[: match.start(1)].removesuffix('backbone.') for match in blocks
    )
    prefixes.pop('', None)
    if prefixes:
        first = next(iter(prefixes))
        every = all(key.startswith(first) for key in found.tensors)
        raise CheckpointError(
            f'{file} [layout {found}]: {"every key" if every else "its backbone"} '
            f'stands under {join_some(map(repr, prefixes))}, and only known prefixes '
            f'are stripped: {", ".join(PREFIXES)}. Save the weights without it: '
            f'torch.save({{k.removeprefix({first!r}): v for k, v in state_dict.items() '
            f'if k.startswith({first!r})}}, FILE)'
        )


@dataclass(frozen=True)
class KeyMap:
    """One family's key names.

    Attributes:
        family: The name in logs.
        marker: A pattern that a key of this family, and of no other, matches.
        rules: Patterns for entire keys and what they become, as in ``re.sub``.
        geometry: The mix-shift geometry that this layout implies.
        unfolded: Its patch merging counts the 2x2 neighbours of a channel before the
            channels, as ``torch.nn.Unfold`` does.
    """

    family: str
    marker: str
    rules: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]
    geometry: str | None = None
    unfolded: bool = False

    def fits(self, keys: Iterable[str]) -> bool:
        """Tell whether these are this family's keys."""
        return any(re.fullmatch(self.marker, key) for key in keys)

    def rename(self, key: str) -> str | None:
        """The key's name here, or None where it has none."""
        for pattern, replacement in self.rules:
            if re.fullmatch(pattern, key):
                return re.sub(pattern, replacement, key)
        return None

    def apply(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename every tensor of a state dict, a classifier's to ``head.fc.``.

        What windows derive from their size is left out, and patch merging brought into
        the official order.

        Raises:
            CheckpointError: A key has no name here, two get the same, or an index
                buffer says that the position tables are ordered differently.
        """
        for key, tensor in tensors.items():
            if _INDEX.fullmatch(key) and not is_relative_index(tensor):
                raise CheckpointError(
                    f'{key} differs from the published index, so the position tables '
                    'of this file mean something else; is it a variant model?'
                )
        names = {
            key: self.rename(key) for key in tensors if not _DERIVED.fullmatch(key)
        }
        unknown = [key for key, name in names.items() if name is None]
        if unknown:
            raise CheckpointError(
                f'the keys are of the {self.family} layout, but {len(unknown)} of them '
                f'are unknown in it: {", ".join(unknown[:5])}; is it a variant model?'
            )
        renamed = {name: tensors[key] for key, name in names.items() if name}
        if len(renamed) < len(names):
            raise CheckpointError(
                f'two keys of the {self.family} layout map to the same tensor'
            )
        if self.unfolded:
            for key in filter(_MERGING.fullmatch, renamed):
                renamed[key] = merge_order(renamed[key])
        return renamed


_INDEX = re.compile(r'.*\.relative_position_index(_\d+)?')
_DERIVED = re.compile(r'.*\.(relative_position_index(_\d+)?|valid_ind_\w+|attn_mask)')
_MERGING = re.compile(r'stages\.[1-3]\.embed\.(norm|reduction)\.(weight|bias)')


def is_relative_index(index: Tensor) -> bool:
    """Tell whether an index (queries, keys) into a position table is the published one.

    Queries and keys are the tokens of two squares.
    """
    if index.dim() != 2:
        return False
    query, key = (torch.arange(isqrt(size)) for size in index.shape)
    step = query[:, None] - key + len(key) - 1
    expected = step[:, None, :, None] * (len(query) + len(key) - 1)
    expected = (expected + step[None, :, None, :]).flatten(0, 1).flatten(1)
    return expected.shape == index.shape and torch.equal(expected, index.long().cpu())


def merge_order(tensor: Tensor) -> Tensor:
    """Reorder patch merging's last dimension from OpenMMLab's order to the official.

    Of the 2x2 patch, (..., 4 C) as channel, row, column becomes column, row, channel.
    """
    patches = tensor.unflatten(-1, (-1, 2, 2))
    return patches.transpose(-1, -3).flatten(-3).contiguous()


def next_stage(match: re.Match[str]) -> str:
    """Name what reduces the resolution behind a layer: it is the next stage's embed."""
    return f'stages.{int(match[1]) + 1}.embed.{match[2]}'


def _in_blocks(theirs: str, ours: str) -> tuple[str, str]:
    """The rule for the blocks of stages that are called layers."""
    return BLOCK + theirs, r'stages.\1.blocks.\2.' + ours


BLOCK = r'layers\.(\d+)\.blocks\.(\d+)\.'
AFFINE = r'(weight|bias)'
# Of four patch embeddings one is the stem's, and one ends each layer but the last.
_STEM = (rf'patch_embed\.((?:proj|norm)\.{AFFINE})', r'stages.0.embed.\1')
_DOWNSAMPLE = (rf'layers\.(\d+)\.downsample\.((?:proj|norm)\.{AFFINE})', next_stage)
_MERGE = rf'\.(\d+)\.downsample\.(norm\.{AFFINE}|reduction\.weight)'
_HEAD = ((rf'norm\.{AFFINE}', r'norm3.\1'), (rf'head\.{AFFINE}', r'head.fc.\1'))
_SAME_IN_BLOCK = _in_blocks(
    rf'((?:norm[12]|attn\.qkv|attn\.proj|mlp\.fc[12])\.{AFFINE}'
    r'|attn\.relative_position_bias_table(?:_to_neighbors|_to_windows\.0)?)',
    r'\3',
)

# The authors' released MS-MLP; lr/td are the horizontal and vertical branch.
MSMLP = KeyMap(
    family='msmlp',
    marker=BLOCK + r'dwconv_lr\.\d+\.weight',
    geometry='released',
    rules=(
        _STEM,
        _DOWNSAMPLE,
        _in_blocks(rf'dwconv_lr\.(\d+)\.{AFFINE}', r'mix.horizontal.\3.\4'),
        _in_blocks(rf'dwconv_td\.(\d+)\.{AFFINE}', r'mix.vertical.\3.\4'),
        _in_blocks(rf'pwconv([12])\.{AFFINE}', r'fc\3.\4'),
        _in_blocks(rf'(norm\.{AFFINE}|gamma)', r'\3'),
        *_HEAD,
    ),
)
FOCAL = KeyMap(
    family='focal',
    marker=BLOCK + r'pool_layers\.0\.weight',
    rules=(
        _STEM,
        _DOWNSAMPLE,
        _in_blocks(rf'pool_layers\.0\.{AFFINE}', r'attn.pool.\3'),
        _SAME_IN_BLOCK,
        *_HEAD,
    ),
)
SWIN = KeyMap(
    family='swin',
    marker=r'layers\.\d+\.downsample\.reduction\.weight',
    rules=(_STEM, ('layers' + _MERGE, next_stage), _SAME_IN_BLOCK, *_HEAD),
)
_MM_BLOCK = r'stages\.(\d+)\.blocks\.(\d+)\.'
OPENMMLAB_SWIN = KeyMap(
    family='openmmlab-swin',
    marker=_MM_BLOCK + r'attn\.w_msa\.qkv\.weight',
    unfolded=True,
    rules=(
        (rf'patch_embed\.projection\.{AFFINE}', r'stages.0.embed.proj.\1'),
        (rf'patch_embed\.norm\.{AFFINE}', r'stages.0.embed.norm.\1'),
        ('stages' + _MERGE, next_stage),
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


FAMILIES = (MSMLP, FOCAL, SWIN, OPENMMLAB_SWIN)


def find_family(keys: Collection[str]) -> KeyMap | None:
    """The map of the family whose keys these are, or None."""
    return next((family for family in FAMILIES if family.fits(keys)), None)
