"""Focal Transformer as Microsoft's release formulates it: the benchmark's baseline.

The same parameters as :class:`mmmsmlp.FocalTransformer`, computed the way of the
released code: keys and values rolled to four corners, cut into windows, filtered and
concatenated; pooled windows unfolded; biases and masks added slice by slice.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmsmlp.models.focal import FocalAttention
from mmmsmlp.models.windows import TransformerBlock, relative_index


@contextmanager
def focal_reference(backbone: nn.Module) -> Iterator[nn.Module]:
    """Let every focal block of ``backbone`` compute as the release does."""
    with ExitStack() as stack:
        for block in backbone.modules():
            attn = getattr(block, 'attn', None)
            if isinstance(block, TransformerBlock) and isinstance(attn, FocalAttention):
                forward = partial(_block, block, ReferenceAttention(attn))
                stack.enter_context(patch.object(block, 'forward', forward))
        yield backbone


def _block(block: TransformerBlock, attn: 'ReferenceAttention', x: Tensor) -> Tensor:
    drop_path = block.drop_path or nn.Identity()
    x = x.permute(0, 2, 3, 1).contiguous()
    x = x + drop_path(attn(block.norm1(x)))
    hidden = F.gelu(block.mlp.fc1(block.norm2(x)))
    x = x + drop_path(block.mlp.fc2(hidden))
    return x.permute(0, 3, 1, 2)


class ReferenceAttention:
    """The release's forward pass on the parameters of ``layer``.

    Index tables are made once, as the release keeps them in buffers; the mask of the
    pooled windows is made in every call, as the release makes it.
    """

    def __init__(self, layer: FocalAttention):
        self.layer = layer
        size, reach = layer.window_size, layer.focal_window
        self.tables = {'own': relative_index(size, size).flatten()}
        if reach:
            self.tables['pooled'] = relative_index(size, reach).flatten()
        self.tables['kept'] = _kept_of_rolls(size, layer.expand_size)

    def __call__(self, x: Tensor) -> Tensor:
        self.tables = {name: t.to(x.device) for name, t in self.tables.items()}
        layer, size = self.layer, self.layer.window_size
        height, width = x.shape[1:3]
        x = F.pad(x, (0, 0, 0, -width % size, 0, -height % size))
        n, rows, columns, channels = x.shape
        q, k, v = self._project(x)
        q, own_k, own_v = (self._heads(_partition(t, size)) for t in (q, k, v))
        keys, values = [own_k], [own_v]
        if layer.expand_size:
            keys.append(self._rolled(k))
            values.append(self._rolled(v))
        mask = None
        if layer.focal_window:
            pooled, mask = self._pooled(x)
            keys.append(pooled[0])
            values.append(pooled[1])
        keys, values = torch.cat(keys, 2), torch.cat(values, 2)
        logits = (q * q.shape[-1] ** -0.5) @ keys.transpose(-2, -1)
        self._add_biases(logits, mask, n)
        out = logits.softmax(-1) @ values
        out = layer.proj(out.transpose(1, 2).reshape(-1, size * size, channels))
        out = out.view(n, rows // size, columns // size, size, size, channels)
        out = out.permute(0, 1, 3, 2, 4, 5).contiguous().view(n, rows, columns, -1)
        return out[:, :height, :width].contiguous()

    def _project(self, x: Tensor) -> Tensor:
        qkv = self.layer.qkv(x).unflatten(-1, (3, -1))
        return qkv.permute(3, 0, 1, 2, 4).contiguous()

    def _heads(self, windows: Tensor) -> Tensor:
        return windows.unflatten(-1, (self.layer.num_heads, -1)).transpose(1, 2)

    def _rolled(self, t: Tensor) -> Tensor:
        far, size = self.layer.expand_size, self.layer.window_size
        corners = [(-far, -far), (-far, far), (far, -far), (far, far)]
        rolled = [_partition(t.roll(corner, (1, 2)), size) for corner in corners]
        return self._heads(torch.cat(rolled, 1))[:, :, self.tables['kept']]

    def _pooled(self, x: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        size, reach = self.layer.window_size, self.layer.focal_window
        n, height, width, channels = x.shape
        rows, columns = height // size, width // size
        windows = x.view(n, rows, size, columns, size, channels).transpose(2, 3)
        windows = windows.reshape(n, rows, columns, size * size, channels)
        pooled = self.layer.pool(windows.transpose(3, 4)).flatten(-2)
        _, k, v = self._project(pooled).permute(0, 1, 4, 2, 3).contiguous()
        unfolded = []
        for t in (k, v):
            t = F.unfold(t, reach, padding=reach // 2)
            t = t.view(n, channels, reach * reach, -1).permute(0, 3, 2, 1).contiguous()
            unfolded.append(self._heads(t.view(-1, reach * reach, channels)))
        inside = F.unfold(x.new_ones(1, 1, rows, columns), reach, padding=reach // 2)
        mask = inside[0].t().masked_fill(inside[0].t() == 0, -100.0)
        return tuple(unfolded), mask.masked_fill(mask > 0, 0.0)

    def _add_biases(self, logits: Tensor, mask: Tensor | None, n: int) -> None:
        layer, area = self.layer, self.layer.window_size**2
        table = layer.relative_position_bias_table[self.tables['own']]
        bias = table.view(area, area, -1).permute(2, 0, 1).contiguous()
        logits[..., :area] = logits[..., :area] + bias
        end = area
        if layer.expand_size:
            bias = layer.relative_position_bias_table_to_neighbors
            end += bias.shape[-1]
            logits[..., area:end] = logits[..., area:end] + bias
        if mask is not None:
            table = layer.relative_position_bias_table_to_windows[0]
            bias = table[:, self.tables['pooled']].view(layer.num_heads, area, -1)
            logits[..., end:] = logits[..., end:] + bias
            logits[..., end:] = logits[..., end:] + mask.repeat(n, 1)[:, None, None]


def _partition(t: Tensor, size: int) -> Tensor:
    n, height, width, channels = t.shape
    t = t.view(n, height // size, size, width // size, size, channels)
    return t.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, size * size, channels)


def _kept_of_rolls(size: int, far: int) -> Tensor:
    """Which tokens of the four rolled windows are not the window's own."""
    rows, columns = torch.arange(size)[:, None], torch.arange(size)
    kept = []
    for down in (far, -far):
        for right in (far, -far):
            row, column = rows + down, columns + right
            inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
            kept.append(~inside.flatten())
    return torch.cat(kept).nonzero().flatten()
