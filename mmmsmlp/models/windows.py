"""Windows of a feature map, softmax attention inside them, and the block around it."""

from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, Protocol, TypeVar, cast

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from ..ops import channel_mlp
from ..ops.torch_private import (
    are_plain,
    is_eager,
    is_exporting,
    is_transformed,
    outside_of_modes,
)
from .layers import LayerNorm

HOST_EPS = 1e-5  # both hosts' LayerNorms, where MS-MLP has 1e-6
CHUNK = 16  # windows whose keys, queries and outputs stay in cache; measured
MAX_SHAPES = 32  # that tables are kept for


Tables = TypeVar('Tables', covariant=True)  # a tensor, or a tuple of them and None


class CachedTables(Protocol[Tables]):
    """What :func:`table_cache` makes of a function; ``cached`` is its lru_cache."""

    cached: Callable

    def __call__(self, *args: Any) -> Tables: ...


def table_cache(build: Callable[..., Tables]) -> CachedTables[Tables]:
    """Cache ``build(*shape)``, made of CPU tensors, per shape and device.

    The decorated function takes the device after the arguments of ``build``. The
    cache is bounded, since multi-scale training brings ever new shapes.
    """

    @wraps(build)
    def look_up(*args: Any) -> Tables:
        # Inside a transform of torch.func a tensor is wrapped, and dies with it.
        return _build(*args) if is_transformed() else cached(*args)

    def _build(*args: Any) -> Any:
        *shape, device = args
        with outside_of_modes():
            tables: Any = build(*shape)
            if isinstance(tables, tuple):
                return tuple(t if t is None else t.to(device) for t in tables)
            return tables.to(device)

    table = cast('CachedTables[Tables]', look_up)
    cached = table.cached = lru_cache(maxsize=MAX_SHAPES)(_build)
    return table


class TransformerBlock(nn.Module):
    """``x + attn(norm1(x))``, then ``x + mlp(norm2(x))``; (N, C, H, W) in and out.

    Args:
        channels: Width C.
        attn: Maps (N, H, W, C) to the same.
        drop_path: Probability of dropping either branch for a sample.
    """

    def __init__(self, channels: int, attn: nn.Module, drop_path: float = 0.0):
        super().__init__()
        self.norm1 = LayerNorm(channels, eps=HOST_EPS)
        self.attn = attn
        self.norm2 = LayerNorm(channels, eps=HOST_EPS)
        self.mlp = MLP(channels, 4 * channels)
        self.drop_path = DropPath(drop_path) if drop_path else None

    def forward(self, x: Tensor) -> Tensor:
        keep = None
        change = self.attn(self.norm1(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        if self.training and self.drop_path is not None:
            change = self.drop_path(change)
            keep = self.drop_path(x.new_ones(len(x), 1, 1, 1))
        x = x + change
        mlp, norm2 = self.mlp, self.norm2
        if (
            are_plain(MLP, mlp)
            and are_plain(LayerNorm, norm2)
            and are_plain(nn.Linear, mlp.fc1, mlp.fc2)
        ):
            norm = norm2.weight, norm2.bias, norm2.eps
            fc1, fc2 = (mlp.fc1.weight, mlp.fc1.bias), (mlp.fc2.weight, mlp.fc2.bias)
            return channel_mlp(x, x, norm, fc1, fc2, keep=keep)
        change = mlp(norm2(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return x + (change if keep is None else keep * change)


class MLP(nn.Module):
    """Two linear layers with GELU between them, on (..., C)."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def pad_to_windows(x: Tensor, window_size: int) -> Tensor:
    """Zero-pad (N, H, W, C) at the bottom and right to whole windows."""
    bottom, right = -x.shape[1] % window_size, -x.shape[2] % window_size
    return F.pad(x, (0, 0, 0, right, 0, bottom)) if bottom or right else x


def to_windows(x: Tensor, window_size: int) -> Tensor:
    """Cut (N, H, W, C), H and W whole windows, into (N, windows, window_size**2, C)."""
    n, height, width, channels = x.shape
    rows, columns = height // window_size, width // window_size
    x = x.view(n, rows, window_size, columns, window_size, channels)
    return x.transpose(2, 3).reshape(n, rows * columns, window_size**2, channels)


def from_windows(windows: Tensor, grid: tuple[int, int], window_size: int) -> Tensor:
    """Undo :func:`to_windows` for a ``grid`` of (rows, columns) of windows."""
    x = windows.unflatten(2, (window_size, window_size)).unflatten(1, grid)
    return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def window_grid(x: Tensor, window_size: int) -> tuple[int, int]:
    """Rows and columns of windows of (N, H, W, C), H and W whole windows."""
    # Plain integers also while tracing, where a shape is made of tensors.
    return int(x.shape[1]) // window_size, int(x.shape[2]) // window_size


def over_windows(
    attention: Callable[..., Tensor],
    layers: Sequence[nn.Module],
    windows: Tensor,
    per_image: Sequence[Tensor] = (),
    per_window: Sequence[Tensor | None] = (),
) -> Tensor:
    """``attention(windows, *per_image, *per_window)``, in chunks where that is faster.

    That is in eager inference on a CPU. A GPU wants all windows at once, a backward
    pass would add up one gradient of all tokens for each chunk, and a layer with hooks
    would be called for each.

    Args:
        attention: Maps some windows of some images to tensors of their shape.
        layers: The linear layers that it calls.
        windows: (N, windows, tokens, C).
        per_image: Tensors (N, ...) that the attention takes besides.
        per_window: Tensors (windows, ...) or None that it takes behind these.

    Returns:
        Tensor, shaped as ``windows``.
    """
    chunked = (
        windows.device.type == 'cpu'
        and not torch.is_grad_enabled()
        and is_eager()
        and len(windows) > 0
        and are_plain(nn.Linear, *layers)
    )
    if not chunked:
        return attention(windows, *per_image, *per_window)
    out: Tensor | None = None
    images = max(1, CHUNK // windows.shape[1])
    for first in range(0, len(windows), images):
        image = slice(first, first + images)
        for start in range(0, windows.shape[1], CHUNK):
            part = slice(start, start + CHUNK)
            result = attention(
                windows[image, part],
                *(t[image] for t in per_image),
                *(t if t is None else t[part] for t in per_window),
            )
            if out is None:  # autocast may have chosen another dtype
                out = result.new_empty(windows.shape)
            out[image, part] = result
    assert out is not None  # there is an image, and it has a window
    return out


def gather_tokens(tokens: Tensor, index: Tensor) -> Tensor:
    """Take rows of (N, tokens, C) by an index of any shape: (N, *index.shape, C)."""
    n, length, channels = tokens.shape
    if n == 0:
        return tokens[:, index]
    if n > 1:
        image = torch.arange(0, n * length, length, device=index.device)
        index = image.view(-1, *[1] * index.dim()) + index
    else:
        index = index[None]
    tokens = tokens.reshape(n * length, channels)
    if tokens.is_cuda:
        return tokens.index_select(0, index.flatten()).view(*index.shape, channels)
    # On CPU the backward of index_select walks row by row; that of embedding does not.
    return F.embedding(index, tokens)


def attend(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, mask: Tensor | None = None
) -> Tensor:
    """``softmax(q k^T / sqrt(d) + bias + mask) v`` in each window and head.

    Args:
        q: Queries (N, windows, Q, heads, d).
        k: Keys (N, windows, K, heads, d).
        v: Values, shaped as ``k``.
        bias: Added to the logits of every window, (heads, Q, K).
        mask: Added to the logits of every head, (windows, 1 or Q, K).

    Returns:
        Tensor (N, windows, Q, heads * d).
    """
    n = q.shape[0]  # len() would fix it in an exported graph, as a loop would
    if mask is None:
        flat_q, flat_k, flat_v = (t.flatten(0, 1) for t in (q, k, v))
        out = _fused(flat_q, flat_k, flat_v, bias[None])
        return out.unflatten(0, q.shape[:2])
    bias = bias + mask[:, None]
    if is_exporting() or n == 0 or (n > 1 and q.is_cuda):
        return fold_windows(q, k, v, bias)
    images = zip(q, k, v, strict=True)
    return torch.stack([_fused(*image, bias) for image in images])


def fold_windows(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """:func:`attend` in one launch, with a bias (windows, heads, Q, K).

    Windows join the heads, so that the bias broadcasts over the images; this copies
    q, k and v.
    """
    n, windows, tokens, heads, width = q.shape
    q, k, v = (t.transpose(1, 2).flatten(2, 3) for t in (q, k, v))
    out = _fused(q, k, v, bias.flatten(0, 1)[None])
    return out.view(n, tokens, windows, heads * width).transpose(1, 2)


def _fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attention on (batch, tokens, heads, d), to (batch, tokens, heads * d)."""
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    bias = bias.to(q.dtype)
    if _wants_composition(q):
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1) + bias
        out = logits.softmax(-1) @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v, bias)
    return out.transpose(1, 2).flatten(2)


def _wants_composition(q: Tensor) -> bool:
    """Whether PyTorch's fused attention is slower for (batch, ...), or will not do.

    With gradients on a CPU it is slower and has no second derivative; transforms and
    batches of none do not go through it; counters of operations know products only.
    """
    return (
        (q.is_cpu and torch.is_grad_enabled())
        or torch.jit.is_tracing()
        or is_transformed()
        or q.shape[0] == 0
    )


def relative_index(query_size: int, key_size: int) -> Tensor:
    """Entry of a relative position table for each pair of two squares' tokens.

    Args:
        query_size: Side of the query square.
        key_size: Side of the key square.

    Returns:
        int64 (query_size**2, key_size**2), below (query_size + key_size - 1)**2.
    """
    steps = torch.arange(query_size)[:, None] - torch.arange(key_size) + key_size - 1
    rows, columns = steps[:, None, :, None], steps[None, :, None, :]
    index = rows * (query_size + key_size - 1) + columns
    return index.reshape(query_size**2, key_size**2)


@table_cache
def window_index(query_size: int, key_size: int) -> Tensor:
    """:func:`relative_index`, cached per device."""
    return relative_index(query_size, key_size)


def check_heads(channels: int, num_heads: int) -> None:
    """Refuse a number of heads that does not divide the width."""
    if channels % num_heads:
        raise ValueError(
            f'{channels} channels cannot be divided among {num_heads} heads; choose '
            "num_heads so that each stage's width is a multiple of it"
        )
