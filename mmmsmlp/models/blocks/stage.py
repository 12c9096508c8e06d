"""A stage: an embedding that sets resolution and width, then blocks."""

from collections.abc import Iterable

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Stage(nn.Module):
    """``embed``, then ``blocks``; each maps (N, C, H, W) to (N, C', H', W').

    Args:
        embed: Patch embedding or patch merging in front of the blocks.
        blocks: The blocks, all of one width.
        with_cp: Recompute each block in the backward pass instead of keeping its
            activations.
    """

    def __init__(
        self, embed: nn.Module, blocks: Iterable[nn.Module], with_cp: bool = False
    ):
        super().__init__()
        self.embed = embed
        self.blocks = nn.ModuleList(blocks)
        self.with_cp = with_cp

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            if self.with_cp and self.training:
                # The re-entrant form breaks DDP and drops gradients of frozen inputs.
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x
