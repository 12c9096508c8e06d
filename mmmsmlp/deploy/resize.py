"""From a picture to the graph's input: what a test pipeline does before packing.

Steps are dicts with ``type`` and, in pixels:

- ``Resize``: ``scale`` (width, height, or one for both), ``keep_ratio``: to fit in;
- ``ResizeEdge``: ``scale``, ``edge`` (short, long, width, height);
- ``CenterCrop``: ``crop_size`` (height, width);

with ``backend`` (cv2, pillow) and ``interpolation`` as in mmcv.
"""

from typing import Any

import cv2
import numpy as np

from ..errors import BadInput

CV2 = dict(
    nearest=cv2.INTER_NEAREST,
    bilinear=cv2.INTER_LINEAR,
    bicubic=cv2.INTER_CUBIC,
    area=cv2.INTER_AREA,
    lanczos=cv2.INTER_LANCZOS4,
)


def read_picture(path: str) -> np.ndarray:
    """Read a picture as (H, W, 3), uint8, RGB, turned as its EXIF says.

    Raises:
        BadInput: It cannot be read.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise BadInput(f'{path} cannot be read: {error.strerror}') from error
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    if image is None:
        raise BadInput(
            f'{path} is no picture that OpenCV reads (videos are not drawn here)'
        )
    return np.ascontiguousarray(image[..., ::-1])


def prepare(image: np.ndarray, steps: list[dict[str, Any]]) -> np.ndarray:
    """Apply the steps to a picture (H, W, 3), uint8."""
    for step in steps:
        image = globals()[STEPS[step['type']]](image, step)
    return np.ascontiguousarray(image)


STEPS = dict(Resize='_resize', ResizeEdge='_resize_edge', CenterCrop='_center_crop')


def _resize(image: np.ndarray, step: dict[str, Any]) -> np.ndarray:
    width, height = pair(step['scale'])
    if step.get('keep_ratio'):
        ratio = _fitting(image.shape, (width, height))
        width, height = (int(side * ratio + 0.5) for side in image.shape[1::-1])
    return _to(image, width, height, step)


def _fitting(shape: tuple[int, ...], scale: tuple[int, int]) -> float:
    """The ratio that brings the long edge to the scale's, or the short one to its."""
    height, width = shape[:2]
    return min(max(scale) / max(height, width), min(scale) / min(height, width))


def _resize_edge(image: np.ndarray, step: dict[str, Any]) -> np.ndarray:
    height, width = image.shape[:2]
    scale, edge = step['scale'], step.get('edge', 'short')
    across = {'short': width < height, 'long': width > height, 'width': True}
    if across.get(edge, False):
        return _to(image, scale, int(scale * height / width), step)
    return _to(image, int(scale * width / height), scale, step)


def _center_crop(image: np.ndarray, step: dict[str, Any]) -> np.ndarray:
    down, across = pair(step['crop_size'])
    height, width = image.shape[:2]
    top, left = (
        max(0, round((a - b) / 2)) for a, b in ((height, down), (width, across))
    )
    return image[top : top + down, left : left + across]


def pair(size: Any) -> tuple[int, int]:
    """Two lengths, of two or of one for both."""
    return (size, size) if isinstance(size, int) else tuple(size)


def _to(image: np.ndarray, width: int, height: int, step: dict[str, Any]) -> np.ndarray:
    width, height = max(width, 1), max(height, 1)  # of a strip, the short side
    if image.shape[:2] == (height, width):
        return image
    kind = step.get('interpolation', 'bilinear')
    if step.get('backend', 'cv2') == 'cv2':
        return cv2.resize(image, (width, height), interpolation=CV2[kind])
    from PIL import Image

    way = Image.Resampling[kind.upper()]
    return np.asarray(Image.fromarray(image).resize((width, height), way))
