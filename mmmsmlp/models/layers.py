"""Layers that the pyramids share: norms of tokens, and patch embeddings."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.derivatives import layer_norm
from ..ops.patches import project_patches
from ..ops.torch_private import are_plain, is_compiling, is_transformed


class LayerNorm(nn.LayerNorm):
    """Normalise tokens (..., C) over C, see :func:`mmmsmlp.ops.derivatives.layer_norm`.

    A subclass of ``nn.LayerNorm``, so that weight-decay exemptions find it.
    """

    def forward(self, x: Tensor) -> Tensor:
        return layer_norm(x, self.weight, self.bias, self.eps)


class LayerNorm2d(LayerNorm):
    """Normalise each token of (N, C, H, W) over C.

    On channels_last memory both permutations are views.
    """

    def __init__(self, channels: int, eps: float = 1e-6):
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PatchEmbed(nn.Module):
    """A convolution with kernel = stride = ``patch_size``, then LayerNorm (A13).

    Any input size: the map is zero-padded at the right and bottom to a multiple of
    the patch, so (N, in_channels, H, W) becomes
    (N, out_channels, ceil(H / patch_size), ceil(W / patch_size)). ``eps`` is the
    norm's; MS-MLP's own is the default.
    """

    def __init__(
        self, in_channels: int, out_channels: int, patch_size: int, eps: float = 1e-6
    ):
        super().__init__()
        self.patch_size = patch_size
        self.proj = nn.Conv2d(in_channels, out_channels, patch_size, patch_size)
        self.norm = LayerNorm2d(out_channels, eps)

    def forward(self, x: Tensor) -> Tensor:
        x = pad_to_multiple(x, self.patch_size)
        # From an (N, 3, H, W) image in NCHW the same convolution takes 10 times as
        # long at patch size 2 on a CPU, and gives a map that the blocks must reorder.
        if not is_transformed():  # vmap knows no memory format
            x = x.contiguous(memory_format=torch.channels_last)
        proj = self.proj
        if are_plain(nn.Conv2d, proj):
            x = project_patches(x, proj.weight, proj.bias)  # type: ignore[arg-type]
        else:
            x = proj(x)
        return self.norm(x)


def pad_to_multiple(x: Tensor, divisor: int) -> Tensor:
    """Zero-pad (N, C, H, W) at the right and bottom to a multiple of ``divisor``."""
    height, width = x.shape[-2:]
    bottom = (height + divisor - 1) // divisor * divisor - height
    right = (width + divisor - 1) // divisor * divisor - width
    # A compiled or exported graph always pads, so that one graph serves every size.
    if is_compiling() or bottom or right:
        x = F.pad(x, (0, right, 0, bottom))
    return x
