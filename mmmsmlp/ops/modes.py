"""How does PyTorch run the operations that follow?"""

import torch
from torch import Tensor


def is_eager_cpu(x: Tensor) -> bool:
    """Whether operations run one by one on a CPU, in the precision of their inputs.

    Elsewhere plain compositions are better: a compiler fuses them, a GPU wants all of
    its work at once, and autocast chooses the precisions.
    """
    return (
        x.device.type == 'cpu' and not torch.is_autocast_enabled('cpu') and is_eager()
    )


def is_eager() -> bool:
    """Whether PyTorch runs operations as they come, and no transform collects them."""
    return not (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._are_functorch_transforms_active()
    )
