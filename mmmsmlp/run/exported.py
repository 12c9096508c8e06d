"""What the tools do with exported models: export one, evaluate one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from ..checkpoints import load_whole
from ..demo.scene import compose
from ..deploy.export import export, sha256
from ..deploy.metadata import Metadata
from ..deploy.pictures import find_images
from ..deploy.pipeline import without_truth
from ..deploy.resize import pair
from ..deploy.runtime import load
from ..errors import BadInput
from .config import building
from .preflight import datasets_of

# Height and width of generated pictures: wide, high, and odd.
GENERATED = ((240, 320), (300, 200), (223, 223))
TASKS = dict(
    mmdet=('detection', 'instances'),
    mmseg=('segmentation',),
    mmpretrain=('classification',),
)


def use_exported(cfg: Config, file: str) -> str:
    """Put an exported model in place of a config's, and its resizing in its pipelines.

    Returns:
        One line for the log.

    Raises:
        BadInput: The file cannot be run here, or is for another task.
    """
    model = load(file)
    task = model.metadata.task
    if task not in TASKS[cfg.default_scope]:
        raise BadInput(
            f'{file} is for {task}, and {cfg.filename} evaluates '
            f'{" or ".join(TASKS[cfg.default_scope])}'
        )
    cfg.model = dict(type='mmmsmlp.DeployedModel', file=file)
    for _, dataset in datasets_of(cfg, ('test',)):
        kinds = [str(table['type']).rpartition('.')[2] for table in dataset['pipeline']]
        kept = [
            table
            for kind, table in zip(kinds, dataset['pipeline'], strict=True)
            if kind not in ('Resize', 'ResizeEdge', 'CenterCrop', 'Pad')
        ]
        steps = [_with_tuples(step) for step in model.metadata.resize]
        dataset['pipeline'] = [kept[0], *steps, *kept[1:]]
    return f'{file} is run by {model.runtime}'


def _with_tuples(step: dict[str, Any]) -> dict[str, Any]:
    """A step as mmcv's transforms take it; JSON knows lists alone."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in step.items()}


def pipeline_of(cfg: Config, shape: tuple[int, int] | None) -> list[dict[str, Any]]:
    """The pipeline of a config's tests, with one Resize where a shape is given.

    A pipeline that crops to this shape stays: it gives the accuracy that was measured.
    """
    try:
        dataset = next(dataset for _, dataset in datasets_of(cfg, ('test',)))
    except StopIteration:
        raise BadInput(
            f'config {cfg.filename} has no test_dataloader, whose pipeline says how '
            'pictures are resized'
        ) from None
    tables = without_truth([dict(table) for table in dataset['pipeline']])
    crops = [table['crop_size'] for table in tables if 'crop_size' in table]
    if shape is None or (crops and pair(crops[-1]) == shape):
        return tables
    resize = dict(type='Resize', scale=shape[::-1], keep_ratio=False)
    return [tables[0], resize, tables[-1]]


@contextmanager
def pictures_for(source: str | None) -> Iterator[list[str]]:
    """The pictures to compare on: the user's, or generated ones of several sizes."""
    if source:
        yield find_images(source)
        return
    with TemporaryDirectory() as folder:
        files = []
        for i, (height, width) in enumerate(GENERATED):
            scene, _ = compose(np.random.default_rng(i), max(height, width))
            files.append(str(Path(folder, f'{i}.png')))
            cv2.imwrite(files[-1], scene[:height, :width])
        yield files


def export_checkpoint(
    cfg: Config,
    checkpoint: str,
    file: str,
    source: str | None,
    shape: tuple[int, int] | None,
    **options: Any,
) -> Metadata:
    """Build a config's model, fill it, and export it; see :func:`export`."""
    init_default_scope(cfg.default_scope)
    with building(cfg.filename):
        model = MODELS.build(cfg.model)
    meta = load_whole(model, checkpoint)
    dataset = meta.get('dataset_meta') or {}
    origin = dict(
        config=Path(cfg.filename).name,
        checkpoint=Path(checkpoint).name,
        sha256=sha256(checkpoint),
    )
    with pictures_for(source) as pictures:
        return export(
            model,
            pipeline_of(cfg, shape),
            cfg.default_scope,
            file,
            pictures,
            dataset,
            origin,
            shape=shape,
            **options,
        )
