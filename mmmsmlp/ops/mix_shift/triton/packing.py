"""Device code that packs filters for the kernels and unpacks their gradients.

Both go by the index of ``layout.pack_index``, so one is the transpose of the other.
"""

import triton
import triton.language as tl


@triton.jit
def pack_kernel(flat_ptr, index_ptr, pack_ptr, length, BLOCK: tl.constexpr):
    """``pack[k] = flat[index[0, k]] + flat[index[1, k]]``; a negative index is zero."""
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for term in tl.static_range(2):
        index = tl.load(index_ptr + term * length + k, mask=k < length, other=-1)
        total += tl.load(flat_ptr + index, mask=index >= 0, other=0.0).to(tl.float32)
    tl.store(pack_ptr + k, total, mask=k < length)


@triton.jit
def unpack_kernel(
    partial_ptr,
    index_ptr,
    flat_ptr,
    length,
    n_ranges,
    BLOCK: tl.constexpr,
    RANGES: tl.constexpr,
):
    """The transpose of packing: sum the partials in a fixed order, then scatter."""
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    total = tl.zeros((RANGES, BLOCK), tl.float32)
    for first in range(0, n_ranges, RANGES):
        row = first + tl.arange(0, RANGES)[:, None]
        at = partial_ptr + row.to(tl.int64) * length + k
        total += tl.load(at, mask=(row < n_ranges) & (k < length), other=0.0)
    value = tl.sum(total, axis=0, keep_dims=True).to(flat_ptr.dtype.element_ty)
    for term in tl.static_range(2):
        index = tl.load(index_ptr + term * length + k, mask=k < length, other=-1)
        tl.store(flat_ptr + index, value, mask=index >= 0)
