"""Device code of the mix-shift operator: mix, weight gradient, packing of filters.

Every tensor is NHWC. A program works on ``SLAB`` neighbouring channels, since groups
are 20, 39 or 77 wide and would break vector loads; ``layout.py`` lists the *passes*
(one filter size, one shift) that a slab needs.

A pass convolves in one coordinate system, its *frame*. Order ``mix_shift``: an output
pixel is first moved by the shift to its place in the frame; taps that leave the map
there are zero. Order ``shift_mix`` (``ROLL_FIRST``): the frame is the output itself;
a tap that leaves the map is zero, any other is then moved by the shift to where it
lies in x. Shifts arrive in [0, size of the map).
"""

import triton
import triton.language as tl

# Sizes that Triton would otherwise compile a kernel for anew where one is 1, or a
# multiple of 16: a detector's pictures come in hundreds of shapes.
MIX_SIZES = ['n_items', 'columns', 'height', 'width']
CORRELATE_SIZES = [
    'n_jobs', 'n_units', 'units_per_range', 'columns', 'height', 'width',
]  # fmt: skip


@triton.jit
def wrap(index, size):
    """``index % size`` for an index in [0, 2 * size)."""
    return tl.where(index >= size, index - size, index)


@triton.jit
def zeros(COUNT: tl.constexpr, SHAPE: tl.constexpr):
    """A tuple of fp32 accumulators; tuples are unrolled, so they stay in registers."""
    tiles = ()
    for _ in tl.static_range(COUNT):
        tiles = tiles + (tl.zeros(SHAPE, tl.float32),)
    return tiles


@triton.jit
def mix_rows(sums, tile, taps, T: tl.constexpr, ROWS: tl.constexpr, SIZE: tl.constexpr):
    """Add row ``T`` of the window to each output row that has a tap on it."""
    added = ()
    for row in tl.static_range(ROWS):
        if T - row >= 0 and T - row < SIZE:
            added = added + (sums[row] + taps[T - row] * tile,)
        else:
            added = added + (sums[row],)
    return added


@triton.jit
def mix_region(
    sums,
    source,
    taps_at,
    row,
    column,
    inside,
    row_shift,
    column_shift,
    height,
    width,
    channels,
    ROLL_FIRST: tl.constexpr,
    SIZE: tl.constexpr,
    SLAB: tl.constexpr,
    ROWS: tl.constexpr,
):
    """One pass over ``ROWS`` output rows: a SIZE x SIZE window around every pixel.

    A row of the window is loaded once per column tap and serves every output row of
    the tile: ``(ROWS + SIZE - 1) * SIZE`` loads instead of ``ROWS * SIZE * SIZE``.
    """
    if not ROLL_FIRST:
        row = wrap(row + row_shift, height)
        column = wrap(column + column_shift, width)
    for b in range(SIZE):
        taps = ()
        for a in tl.static_range(SIZE):
            taps = taps + (tl.load(taps_at + (b * SIZE + a) * SLAB),)
        tap_column = column + (b - SIZE // 2)
        column_ok = inside & (tap_column >= 0) & (tap_column < width)
        if ROLL_FIRST:
            tap_column = wrap(tap_column + column_shift, width)
        at = source + tap_column * channels
        for t in tl.static_range(ROWS + SIZE - 1):
            tap_row = row + (t - SIZE // 2)
            ok = column_ok & (tap_row >= 0) & (tap_row < height)
            if ROLL_FIRST:
                tap_row = wrap(tap_row + row_shift, height)
            tile = tl.load(at + tap_row * (width * channels), mask=ok, other=0.0)
            sums = mix_rows(sums, tile.to(tl.float32), taps, t, ROWS, SIZE)
    return sums


@triton.jit(do_not_specialize=MIX_SIZES)
def mix_kernel(
    x_ptr,
    y_ptr,
    pack_ptr,
    items_ptr,
    passes_ptr,
    n_items,
    columns,
    height,
    width,
    channels,
    ROLL_FIRST: tl.constexpr,
    SIZES: tl.constexpr,
    SLAB: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Both axes of every group, summed, and the biases: x is read, y written.

    A program owns ``ROWS`` rows x ``COLUMNS`` columns x ``SLAB`` channels. Columns run
    over the whole batch (``columns = N * W``), so that 7x7 maps fill the lanes too.
    """
    item = items_ptr + (tl.program_id(0) % n_items) * 5
    block = tl.program_id(0) // n_items
    slab, first_row, last_row = tl.load(item), tl.load(item + 1), tl.load(item + 2)
    first_pass, last_pass = tl.load(item + 3), tl.load(item + 4)

    flat_column = block * COLUMNS + tl.arange(0, COLUMNS)[:, None]
    lane = tl.arange(0, SLAB)[None, :]
    channel = slab * SLAB + lane
    inside = (flat_column < columns) & (channel < channels)
    image, column = flat_column // width, flat_column % width
    start = image.to(tl.int64) * (height * width * channels) + channel
    source = x_ptr + start

    bias = tl.load(pack_ptr + channel)
    sums = zeros(ROWS, (COLUMNS, SLAB))
    for p in range(first_pass, last_pass):
        entry = passes_ptr + p * 4
        size, row_shift = tl.load(entry), tl.load(entry + 1)
        column_shift = tl.load(entry + 2)
        # Said aloud, or the taps would be loaded one by one.
        taps_at = pack_ptr + tl.multiple_of(tl.load(entry + 3), SLAB) + lane
        for s in tl.static_range(len(SIZES)):
            if size == SIZES[s]:
                sums = mix_region(
                    sums, source, taps_at, first_row, column, inside, row_shift,
                    column_shift, height, width, channels,
                    ROLL_FIRST, SIZES[s], SLAB, ROWS,
                )  # fmt: skip

    for r in tl.static_range(ROWS):
        row = first_row + r
        target = y_ptr + start + (row * width + column) * channels
        value = (sums[r] + bias).to(y_ptr.dtype.element_ty)
        tl.store(target, value, mask=inside & (row < last_row))


@triton.jit
def correlate_rows(sums, x, grads, T: tl.constexpr, SIZE: tl.constexpr):
    """Multiply row ``T`` of the window by each output row that has a tap on it."""
    added = ()
    for a in tl.static_range(SIZE):
        if T - a >= 0 and T - a < len(grads):
            added = added + (sums[a] + grads[T - a] * x,)
        else:
            added = added + (sums[a],)
    return added


@triton.jit
def correlate_region(
    grad_ptr,
    x_ptr,
    partial_ptr,
    job,
    first_unit,
    last_unit,
    columns,
    height,
    width,
    channels,
    ROLL_FIRST: tl.constexpr,
    SIZE: tl.constexpr,
    SLAB: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Weight gradient of one pass over a fixed range of pixels, to ``partial_ptr``.

    The column taps are a dimension of the tile (padded to a power of two), so that one
    load of neighbouring pixels serves them all; every gradient is loaded in that shape
    too, for a layout of its own would be exchanged through shared memory. A pixel
    here is one of the frame, so the gradient is read where the pass wrote it.
    """
    TAPS: tl.constexpr = triton.next_power_of_2(SIZE)
    LANES: tl.constexpr = COLUMNS // TAPS
    slab, row_shift, column_shift = tl.load(job), tl.load(job + 2), tl.load(job + 3)
    weights_at, bias_at = tl.load(job + 4), tl.load(job + 5)
    tap = tl.arange(0, TAPS)[:, None, None]
    lane = tl.arange(0, SLAB)[None, None, :]
    channel = slab * SLAB + lane
    row_tiles = tl.cdiv(height, ROWS)

    sums = zeros(SIZE, (TAPS, LANES, SLAB))
    bias = tl.zeros((TAPS, LANES, SLAB), tl.float32)
    for step in range(first_unit * TAPS, last_unit * TAPS):
        unit = step // TAPS
        first_row = (unit % row_tiles) * ROWS
        first_column = (unit // row_tiles) * COLUMNS + (step % TAPS) * LANES
        flat_column = first_column + tl.arange(0, LANES)[None, :, None]
        inside = (flat_column < columns) & (channel < channels)
        image, column = flat_column // width, flat_column % width
        start = image.to(tl.int64) * (height * width * channels) + channel

        grad_column = column
        if not ROLL_FIRST:
            grad_column = wrap(column + width - column_shift, width)
        at = grad_ptr + start + grad_column * channels
        at = tl.broadcast_to(at, (TAPS, LANES, SLAB))
        grads = ()
        for r in tl.static_range(ROWS):
            row = first_row + r
            ok = inside & (row < height)
            if not ROLL_FIRST:
                row = wrap(row + height - row_shift, height)
            grad = tl.load(at + row * (width * channels), mask=ok, other=0.0)
            grads = grads + (grad.to(tl.float32),)
            bias += grads[r]

        tap_column = column + tap - SIZE // 2
        column_ok = inside & (tap_column >= 0) & (tap_column < width) & (tap < SIZE)
        if ROLL_FIRST:
            tap_column = wrap(tap_column + column_shift, width)
        at = x_ptr + start + tap_column * channels
        for t in tl.static_range(ROWS + SIZE - 1):
            tap_row = first_row + (t - SIZE // 2)
            ok = column_ok & (tap_row >= 0) & (tap_row < height)
            if ROLL_FIRST:
                tap_row = wrap(tap_row + row_shift, height)
            tile = tl.load(at + tap_row * (width * channels), mask=ok, other=0.0)
            sums = correlate_rows(sums, tile.to(tl.float32), grads, t, SIZE)

    for a in tl.static_range(SIZE):
        at = partial_ptr + weights_at + (tap * SIZE + a) * SLAB + lane
        value = tl.sum(sums[a], axis=1, keep_dims=True)
        tl.store(at, value, mask=tap < SIZE)
    if bias_at >= 0:
        value = tl.sum(bias, axis=1, keep_dims=True)
        tl.store(partial_ptr + bias_at + lane + 0 * tap, value, mask=tap == 0)


@triton.jit(do_not_specialize=CORRELATE_SIZES)
def correlate_kernel(
    grad_ptr,
    x_ptr,
    partial_ptr,
    jobs_ptr,
    n_jobs,
    n_units,
    units_per_range,
    pack_length,
    columns,
    height,
    width,
    channels,
    ROLL_FIRST: tl.constexpr,
    SIZES: tl.constexpr,
    SLAB: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Partial weight and bias gradients, one row of ``partial`` per range of pixels."""
    job = jobs_ptr + (tl.program_id(0) % n_jobs) * 6
    pixels = tl.program_id(0) // n_jobs
    first_unit = pixels * units_per_range
    last_unit = tl.minimum(first_unit + units_per_range, n_units)
    target = partial_ptr + pixels.to(tl.int64) * pack_length
    size = tl.load(job + 1)
    for s in tl.static_range(len(SIZES)):
        if size == SIZES[s]:
            correlate_region(
                grad_ptr, x_ptr, target, job, first_unit, last_unit, columns, height,
                width, channels, ROLL_FIRST, SIZES[s], SLAB, COLUMNS, ROWS,
            )  # fmt: skip


@triton.jit
def pack_kernel(flat_ptr, index_ptr, pack_ptr, length, BLOCK: tl.constexpr):
    """``pack[k] = flat[index[0, k]] + flat[index[1, k]]``; a negative index is zero."""
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for term in tl.static_range(2):
        index = tl.load(index_ptr + term * length + k, mask=k < length, other=-1)
        total += tl.load(flat_ptr + index, mask=index >= 0, other=0.0).to(tl.float32)
    tl.store(pack_ptr + k, total, mask=k < length)


@triton.jit(do_not_specialize=['n_ranges'])
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
