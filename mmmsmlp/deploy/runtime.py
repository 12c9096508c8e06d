"""An exported model on pictures: resize, run, and give each picture its own."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..errors import BadInput
from .metadata import read_metadata
from .resize import prepare, read_picture
from .sessions import open_session

# A path, an array, or an image of PIL, which need not be there.
Picture: TypeAlias = Any


@dataclass
class Detections:
    """What a detector finds in one picture, the best first.

    Attributes:
        boxes: (K, 4) float32, x1, y1, x2, y2 in pixels of the picture.
        scores: (K,) float32.
        labels: (K,) int64, indices of the classes.
        masks: (K, height, width) bool; None where the model makes none.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)


@dataclass
class Classes:
    """The classes of one picture.

    Attributes:
        scores: (classes,) float32, which sum to 1.
        label: The best one.
    """

    scores: np.ndarray
    label: int


Result = Detections | Classes | np.ndarray


def load(file: str | Path, runtime: str | None = None, threads: int = 0) -> 'Deployed':
    """Open a model that ``tools/export.py`` wrote.

    Args:
        file: ``.onnx``, OpenVINO's ``.xml``, or ``.pt2``, for which torch is needed.
        runtime: onnxruntime, openvino or torch; by default what is installed.
        threads: That compute one call; 0 for the runtime's own choice.

    Raises:
        BadInput: The file cannot be run; the message says what is missing.
    """
    return Deployed(str(file), runtime, threads)


class Deployed:
    """An exported model: ``model(picture)``, from any number of threads at once.

    Attributes:
        metadata: :class:`mmmsmlp.deploy.metadata.Metadata`: the classes and the like.
        runtime: The package that runs it.
    """

    def __init__(self, file: str, runtime: str | None, threads: int) -> None:
        self.file, self.threads = file, threads
        self.runtime, self._run, text = open_session(file, runtime, threads)
        self.metadata = read_metadata(text, file)

    def __reduce__(self) -> tuple[Callable, tuple]:
        """A copy, such as a worker's, opens the file anew."""
        return load, (os.path.abspath(self.file), self.runtime, self.threads)

    @property
    def classes(self) -> list[str]:
        """Names of the classes by label."""
        return self.metadata.classes

    def __call__(
        self,
        pictures: Picture | Sequence[Picture],
        score_threshold: float | None = None,
        nms_threshold: float | None = None,
    ) -> Any:
        """Run the model.

        Args:
            pictures: A path, a PIL image, or an array (H, W, 3), uint8, RGB; or several
                of them, of any sizes: each is computed as if it were alone.
            score_threshold: Of a detector; the config's if None.
            nms_threshold: Boxes of a class that overlap by more are one.

        Returns:
            :class:`Detections`; :class:`Classes`; or for a segmentor a map of labels
            (height, width) at the picture's size; a list where a list was given.

        Raises:
            BadInput: A picture cannot be read, or does not fit the model.
        """
        thresholds = (score_threshold, nms_threshold)
        if _are_several(pictures):
            return [self._one(picture, *thresholds) for picture in pictures]
        return self._one(pictures, *thresholds)

    def _one(self, picture: Picture, *thresholds: float | None) -> Result:
        image = as_array(picture)
        ready = prepare(image, self.metadata.resize)
        return self.run_one(ready, image.shape[:2], *thresholds)

    def run_one(
        self, image: np.ndarray, size: Sequence[int], *thresholds: float | None
    ) -> Result:
        """Run the graph on one picture that is resized already; see :meth:`run`."""
        # A graph of a fixed batch takes the same picture as often as it must.
        batch = np.repeat(image[None], self.metadata.batch or 1, 0)
        return self.run(batch, size, *thresholds)[0]

    def run(
        self,
        images: np.ndarray,
        size: Sequence[int],
        score_threshold: float | None = None,
        nms_threshold: float | None = None,
    ) -> list[Result]:
        """Run the graph on a batch that is resized already.

        Args:
            images: (N, H, W, 3), uint8, RGB.
            size: Height and width of all the pictures before they were resized.

        Raises:
            BadInput: The graph was exported for another shape or batch.
        """
        known = self.metadata
        for what, want, got in (
            ('batches of', known.batch, len(images)),
            ('pictures of', known.shape, list(images.shape[1:3])),
        ):
            if want is not None and want != got:
                raise BadInput(
                    f'{self.file} takes {what} {want}, not {got}: it was exported so; '
                    'tools/export.py without --shape and --batch leaves them open'
                )
        inputs: dict[str, Any] = {'image': np.ascontiguousarray(images)}
        if known.task != 'classification':
            inputs['size'] = np.asarray(size, np.int64)
        if known.thresholds:
            inputs.update(self._thresholds(score_threshold, nms_threshold))
        elif (score_threshold, nms_threshold) != (None, None):
            raise BadInput(f'{self.file} is for {known.task}, which has no thresholds')
        return split(self._run(inputs), known.task, len(images))

    def _thresholds(self, *given: float | None) -> dict[str, np.ndarray]:
        inputs = {}
        names = ('score_threshold', 'nms_threshold')
        for name, default, value in zip(
            names, self.metadata.thresholds, given, strict=True
        ):
            if value is not None and not _is_share(value):
                raise BadInput(f'{name} must be from 0 to 1, got {value!r}')
            chosen = default if value is None else value
            inputs[name] = np.array(chosen, np.float32)
        if self.runtime == 'torch':  # a program keeps the second one
            if given[1] not in (None, self.metadata.thresholds[1]):
                raise BadInput(
                    f'nms_threshold={given[1]} cannot be changed in a .pt2; '
                    'a .onnx takes it'
                )
            del inputs['nms_threshold']
        return inputs


def _is_share(value: Any) -> bool:
    try:
        return bool(0 <= value <= 1)
    except (TypeError, ValueError):  # a text, several numbers
        return False


def _are_several(pictures: Any) -> bool:
    """Whether it holds pictures; an array, a tensor or bytes would hold numbers."""
    single = (str, os.PathLike, bytes, bytearray, memoryview, dict)
    is_one = isinstance(pictures, single) or hasattr(pictures, 'shape')
    return isinstance(pictures, Iterable) and not is_one


def as_array(picture: Any) -> np.ndarray:
    """A picture as (H, W, 3), uint8, RGB; one of PIL as its file would be read.

    Raises:
        BadInput: It is none, or cannot be read.
    """
    if isinstance(picture, np.ndarray):
        return check_picture(picture)
    if isinstance(picture, (str, os.PathLike)):
        return read_picture(os.fspath(picture))
    if hasattr(picture, 'getexif'):
        return check_picture(_of_pil(picture))
    raise BadInput(
        'a picture is an array (height, width, 3) of uint8, red first, a path or a PIL '
        f'image; got {type(picture).__name__}'
    )


def _of_pil(image: Any) -> np.ndarray:
    from PIL import ImageOps

    try:
        turned = ImageOps.exif_transpose(image)
        if turned.mode.startswith('I;16'):  # PIL would cut 256 and more to 255
            grey = np.asarray(turned) >> 8
            return np.repeat(grey.astype(np.uint8)[..., None], 3, 2)
        deep = turned.mode in ('I', 'F')
        return np.asarray(turned if deep else turned.convert('RGB'))
    except OSError as error:  # it decodes what it opened but now
        raise BadInput(f'a PIL image cannot be decoded: {error}') from error


def check_picture(image: np.ndarray) -> np.ndarray:
    """Refuse what is no 8-bit picture of three colours; give it back."""
    colours = image.ndim == 3 and image.shape[2] == 3
    if image.dtype != np.uint8 or not colours or not image.size:
        raise BadInput(
            'a picture is an array (height, width, 3) of uint8, red first, not empty; '
            f'got {image.shape} of {image.dtype}'
        )
    return image


def split(outputs: list[np.ndarray], task: str, count: int) -> list[Result]:
    """Give each picture of a batch its own results."""
    if task == 'classification':
        return [Classes(scores, int(scores.argmax())) for scores in outputs[0]]
    if task == 'segmentation':
        return list(outputs[0])
    boxes, scores, labels, image, *masks = outputs
    results: list[Result] = []
    for i in range(count):
        mine = image == i
        mask = masks[0][mine].astype(bool) if masks else None
        results.append(Detections(boxes[mine], scores[mine], labels[mine], mask))
    return results
