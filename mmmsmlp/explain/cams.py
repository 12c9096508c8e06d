"""Grad-CAM and EigenCAM by pytorch-grad-cam, stage by stage, for three toolboxes.

Grad-CAM asks what raised a score: a logit of a classifier, the mean logit of a class
over the pixels taken for it, or the sum of the scores of detections. EigenCAM asks
nothing: it shows the first principal component of the features.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import BadInput
from .features import stages_of

MOST_TOKENS = 48  # a side, for EigenCAM: its matrix is of all tokens by all tokens
INSTALL = 'python -m pip install grad-cam'


class Asked(NamedTuple):
    """A score whose cause is looked for."""

    value: Tensor  # a scalar
    said: str  # what it is
    boxes: Sequence[Sequence[float]] = ()  # x1, y1, x2, y2 of the detections that it is


Score = Callable[[Any, Tensor], Asked]  # of a model and its images


def library() -> ModuleType:
    """pytorch-grad-cam.

    Raises:
        BadInput: It is not installed.
    """
    try:
        import pytorch_grad_cam
    except ImportError as error:
        raise BadInput(
            f'class activation maps need pytorch-grad-cam ({error}): {INSTALL}; '
            '--maps features does without'
        ) from error
    return pytorch_grad_cam


def logit_of(chosen: int | None, names: Sequence[str]) -> Score:
    """A classifier's logit of a class, or of the best."""

    def score(model: Any, images: Tensor) -> Asked:
        (logits,) = model(images, mode='tensor')
        index = int(logits.argmax()) if chosen is None else chosen
        share = float(logits.detach().softmax(0)[index])
        return Asked(logits[index], f'{names[index]} ({share:.3f})')

    return score


def pixels_of(chosen: int | None, names: Sequence[str], samples: Sequence) -> Score:
    """A segmentor's mean logit of a class over its pixels; else of the largest."""

    def score(model: Any, images: Tensor) -> Asked:
        metas = [sample.metainfo for sample in samples]
        (logits,) = model.encode_decode(images, metas)
        if len(logits) == 1:  # of the second class; below its threshold is the first
            labels = (logits[0].sigmoid() > model.decode_head.threshold).long()
            logits = torch.cat([-logits, logits])
        else:
            labels = logits.argmax(0)
        index = int(labels.flatten().mode().values) if chosen is None else chosen
        region = labels == index
        if not region.any():
            present = ', '.join(names[i] for i in labels.unique().tolist())
            raise BadInput(
                f'no pixel is taken for {names[index]}; the image has {present}'
            )
        share = 100 * float(region.float().mean())
        said = f'{names[index]} ({share:.1f} % of the pixels)'
        return Asked(logits[index][region].mean(), said)

    return score


def boxes_of(
    chosen: int | None, names: Sequence[str], samples: Sequence, least: float
) -> Score:
    """A detector's sum of the scores from ``least`` on, of a class or of all."""

    def score(model: Any, images: Tensor) -> Asked:
        with _undetached():
            (sample,) = model.predict(images, deepcopy(samples), rescale=False)
        found = sample.pred_instances
        if chosen is not None:
            found = found[found.labels == chosen]
        taken = found[found.scores >= least]
        kind = 'box' if chosen is None else f'{names[chosen]} box'
        if not len(taken):
            best = max(found.scores.tolist(), default=0)
            raise BadInput(
                f'no {kind} has a score from {least:g} on, the best has {best:.3f}; '
                'lower --score-thr'
            )
        scores = taken.scores
        if not scores.requires_grad:
            raise BadInput(
                f'the scores of {type(model).__name__} carry no gradient; '
                '--maps features eigencam needs none'
            )
        low, high = min(scores.tolist()), max(scores.tolist())
        said = f'{len(scores)} x {kind}, scores {low:.2f} to {high:.2f}'
        return Asked(scores.sum(), said, taken.bboxes.detach().tolist())

    return score


@contextmanager
def _undetached() -> Iterator[None]:
    """Let mmdet's dense heads keep their scores in the graph when they predict."""
    name = 'select_single_mlvl'  # takes one image of each level, and detaches it

    def select(levels: Sequence[Tensor], image: int, detach: bool = True) -> list:
        return [level[image] for level in levels]

    heads = [
        module
        for path, module in [*sys.modules.items()]
        if path.startswith('mmdet.models.') and name in vars(module)
    ]
    with ExitStack() as stack:
        for head in heads:
            stack.enter_context(mock.patch.object(head, name, select))
        yield


class Probe(nn.Module):
    """A model as pytorch-grad-cam takes one: images in, a list of one score out.

    Args:
        model: Of any toolbox.
        stages: The modules to look at. All are in the graph of the score, even those
            that it does not depend on: the library tells gradients by their number.
        score: Gives the score; what it asked for is in ``asked`` afterwards.
    """

    def __init__(self, model: nn.Module, stages: Sequence[nn.Module], score: Score):
        super().__init__()
        self.model, self.score = model, score
        self._stages = tuple(stages)  # no submodules: they are the model's

    def forward(self, images: Tensor) -> list[Tensor]:
        """The score, in a list as if of a batch."""
        outputs: list[Tensor] = []
        handles = [
            stage.register_forward_hook(lambda m, args, out: outputs.append(out))
            for stage in self._stages
        ]
        try:
            self.asked = self.score(self.model, images)
        finally:
            for handle in handles:
                handle.remove()
        return [self.asked.value + sum(0 * output.sum() for output in outputs)]


def activation_maps(
    method: str, model: Any, images: Tensor, score: Score
) -> tuple[list[np.ndarray], Asked]:
    """Map what counts for a score at each stage.

    Args:
        method: 'gradcam' or 'eigencam'.
        model: With a ``backbone``; its parameters are frozen.
        images: What its backbone takes, (1, C, H, W).
        score: As :func:`logit_of` and its like give it; EigenCAM asks for none.

    Returns:
        For each stage (H, W) from 0 to 1, and what was asked for.

    Raises:
        BadInput: No library, or no such score.
    """
    cams = library()
    model.eval().requires_grad_(False)
    eigen = method == 'eigencam'
    score = _features if eigen else score
    with stages_of(model.backbone, images) as stages:
        probe = Probe(model, stages, score)
        cam = _eigen_cam(cams, probe, stages) if eigen else cams.GradCAM(probe, stages)
        try:
            with torch.set_grad_enabled(not eigen):
                inputs = images.detach().requires_grad_(not eigen)
                targets = [lambda value: value]
                cam(inputs, targets)  # their mean
                maps = cam.compute_cam_per_layer(inputs, targets, False)
        finally:
            cam.activations_and_grads.release()
    return [one[0, 0] for one in maps], probe.asked


def _eigen_cam(cams: ModuleType, probe: Probe, stages: list[nn.Module]) -> Any:
    """The library's, of maps that it can hold, and with a sign that is no chance."""

    class EigenCAM(cams.EigenCAM):  # type: ignore[name-defined]
        def get_cam_image(self, *args: Any) -> np.ndarray:
            (values,) = super().get_cam_image(*args)
            return values[None] if values.max() >= -values.min() else -values[None]

    return EigenCAM(probe, stages, _fewer_tokens)


def _features(model: Any, images: Tensor) -> Asked:
    model.backbone(images)
    return Asked(images.new_zeros(()), 'the features alone')


def _fewer_tokens(features: Tensor) -> Tensor:
    height, width = (min(MOST_TOKENS, side) for side in features.shape[-2:])
    return F.adaptive_avg_pool2d(features, (height, width))


def draw_cams(
    image: np.ndarray, rows: dict[str, list[np.ndarray]], boxes: Any, path: Path
) -> None:
    """Draw a row a method, a column a stage, each over the image.

    Args:
        image: What the model was shown, (H, W, 3) of uint8, RGB; without padding, which
            is cut off the maps.
        rows: The maps of each method, under what stands over the image.
        boxes: (N, 4) to draw first, or none.
        path: The picture to write.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    height, width = image.shape[:2]
    columns = 1 + max(map(len, rows.values()))
    figure, axes = pyplot.subplots(
        len(rows), columns, squeeze=False, layout='constrained',
        figsize=(2.4 * columns, (2.4 * height / width + 0.4) * len(rows)),
    )  # fmt: skip
    for (name, maps), line in zip(rows.items(), axes, strict=True):
        for axis in line:
            axis.set_axis_off()
        line[0].imshow(image)
        line[0].set_title(name, fontsize=8, loc='left')
        for x1, y1, x2, y2 in boxes:
            line[0].add_patch(
                Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor='lime')
            )
        for k, (axis, values) in enumerate(zip(line[1:], maps, strict=False), 1):
            axis.imshow(image)
            axis.imshow(values[:height, :width], cmap='turbo', alpha=0.55)
            axis.set_title(f'stage {k}', fontsize=9)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
