"""What a model's data preprocessor does, as a part of the graph."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import BadInput


class Pixels(nn.Module):
    """Normalise and pad a batch of pictures as a config's ``data_preprocessor`` does.

    uint8 RGB (N, H, W, 3) to float32 (N, 3, H', W') in the model's order of channels,
    padded at the bottom and right to multiples of the divisor.

    Attributes:
        pad: ``size`` (height, width) and ``value`` of a ``Pad`` in the test pipeline,
            which comes before normalising; None for none.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessor: Any) -> None:
        super().__init__()
        self.rgb = _is_rgb(preprocessor)
        mean = getattr(preprocessor, 'mean', torch.zeros(3))
        self.register_buffer('mean', mean.detach().clone().float().reshape(-1, 1, 1))
        std = getattr(preprocessor, 'std', torch.ones(3))
        self.register_buffer('std', std.detach().clone().float().reshape(-1, 1, 1))
        self.divisor, self.value = _padding(preprocessor)
        self.pad: dict[str, Any] | None = None

    def shape(self, image: Tensor) -> tuple[int, int]:
        """Height and width of what the model takes for the picture."""
        return self.pad['size'] if self.pad else (image.shape[1], image.shape[2])

    def forward(self, image: Tensor) -> Tensor:
        x = image.permute(0, 3, 1, 2).float()
        if self.pad:
            height, width = self.pad['size']
            right, down = width - x.shape[3], height - x.shape[2]
            x = F.pad(x, (0, right, 0, down), value=self.pad['value'])
        x = (x if self.rgb else x.flip(1)) - self.mean
        x = x / self.std
        if self.divisor == 1:
            return x
        down, right = -x.shape[2] % self.divisor, -x.shape[3] % self.divisor
        return F.pad(x, (0, right, 0, down), value=self.value)


def _is_rgb(preprocessor: Any) -> bool:
    """Whether the model sees RGB; every pipeline here reads pictures as BGR.

    ``rgb_to_bgr`` swaps the channels, too: mmengine has one way of swapping.
    """
    # mmengine's and mmdet's, mmseg 1.2's, mmpretrain's
    for name in '_channel_conversion', 'channel_conversion', 'to_rgb':
        if hasattr(preprocessor, name):
            return bool(getattr(preprocessor, name))
    return False


def _padding(preprocessor: Any) -> tuple[int, float]:
    """The divisor of padded sizes, 1 for none, and the value of the padding."""
    test = getattr(preprocessor, 'test_cfg', None)
    if test is not None:
        if test.get('size'):
            raise BadInput(
                f'data_preprocessor.test_cfg.size={tuple(test["size"])} pads every '
                'picture to one size, which an exported graph does not; '
                'size_divisor=32 is what it can do'
            )
        divisor, value = test.get('size_divisor'), preprocessor.pad_val
    elif hasattr(preprocessor, 'size'):  # mmseg's, which pads in training alone
        divisor, value = 1, 0
    else:
        divisor = getattr(preprocessor, 'pad_size_divisor', 1)
        value = getattr(preprocessor, 'pad_value', 0)
    return int(divisor or 1), float(value)
