"""Index tables and masks, computed once per map shape and device."""

from collections.abc import Callable
from functools import lru_cache, wraps

import torch

MAX_SHAPES = 32


def table_cache(build: Callable) -> Callable:
    """Cache ``build(*shape)``, made of CPU tensors, per shape and device.

    The decorated function takes the device after the arguments of ``build``. The
    cache is bounded, since multi-scale training brings ever new shapes.
    """

    @lru_cache(maxsize=MAX_SHAPES)
    def cached(*args):
        *shape, device = args
        # A tensor born in inference mode could never enter a backward pass later.
        with torch.inference_mode(False):
            tables = build(*shape)
            if isinstance(tables, tuple):
                return tuple(t if t is None else t.to(device) for t in tables)
            return tables.to(device)

    return wraps(build)(cached)
