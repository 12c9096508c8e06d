"""What are the tensors of other projects' checkpoints called in this one?"""

import re
from dataclasses import dataclass

from ..errors import CheckpointError


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
