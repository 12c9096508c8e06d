"""What an exported file says of itself: a table that the runtime goes by."""

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import BadInput

KEY = 'mmmsmlp'
FORMAT = 1

# What comes out, by the kind of model.
OUTPUTS = {
    'detection': ('boxes', 'scores', 'labels', 'batch_index'),
    'instances': ('boxes', 'scores', 'labels', 'batch_index', 'masks'),
    'segmentation': ('map',),
    'classification': ('scores',),
}


@dataclass
class Metadata:
    """Of an exported model.

    Attributes:
        task: A key of :data:`OUTPUTS`.
        classes: By label.
        palette: A colour (red, green, blue) a class.
        resize: Steps before the graph, each a dict with ``type``; see
            :mod:`mmmsmlp.deploy.resize`.
        shape: Height and width of the graph's pictures; None where they are open.
        batch: Pictures at a time; None where that is open.
        thresholds: Of a detector: the score, and the overlap of suppression.
        limit: Boxes a picture that a detector keeps.
        origin: The config, the checkpoint and its sha256.
        versions: Of the packages that exported it.
        verified: How far it was from PyTorch on which pictures.
        precision: float32, float16 (its weights) or int8.
    """

    task: str
    classes: list[str]
    palette: list[list[int]]
    resize: list[dict[str, Any]]
    shape: list[int] | None = None
    batch: int | None = None
    thresholds: list[float] = field(default_factory=list)
    limit: int | None = None
    origin: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    verified: dict[str, Any] = field(default_factory=dict)
    precision: str = 'float32'

    def summary(self, file: str) -> list[str]:
        """Lines for a person on what was written."""
        seen = self.verified
        size = 'x'.join(map(str, self.shape)) if self.shape else 'any size'
        half = self.precision == 'float16'
        verdict = 'with half weights near' if half else 'in float32 equal to'
        lines = [
            f'{file}: {self.task}, {len(self.classes)} classes, pictures of {size}, '
            f'{self.batch or "any number"} at a time, {self.precision}',
            f'{verdict} PyTorch on {seen["pictures"]} pictures: '
            f'{seen["alike"]} of {seen["count"]} results alike; farthest by '
            f'{seen["score"]:.1e} in score, {seen["box"]:.1e} pixels',
        ]
        if near := seen.get('int8'):
            lines.append(
                f'with 8 bits {near["alike"]} of {near["count"]} results are near '
                "PyTorch's; tools/test.py tells the metric"
            )
        return lines

    def to_text(self) -> str:
        return json.dumps(dict(asdict(self), format=FORMAT))


def read_metadata(text: str | None, file: str) -> Metadata:
    """Read what :meth:`Metadata.to_text` wrote.

    Raises:
        BadInput: The file was not exported by ``tools/export.py``, or by a newer one.
    """
    if not text:
        raise BadInput(
            f'{file} says nothing of its classes and sizes: it was not made by '
            'tools/export.py, which writes that into the file'
        )
    table = json.loads(text)
    if (number := table.pop('format')) != FORMAT:
        raise BadInput(
            f'{file} has format {number}, and this mmmsmlp reads {FORMAT}: '
            'pip install -U mmmsmlp, or export it again'
        )
    names = {known.name for known in fields(Metadata)}
    return Metadata(**{key: value for key, value in table.items() if key in names})
