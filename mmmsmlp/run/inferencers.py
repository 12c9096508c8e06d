"""A trained model with its pipeline, of a config and a checkpoint: an inferencer."""

from typing import Any

from mmengine.config import Config

from ..checkpoints import peek_checkpoint
from ..errors import BadInput
from . import mends
from .config import building, check_is_experiment, load_config
from .launch import replace_sync_bn
from .preflight import check_classes

SCOPES = 'mmdet', 'mmseg', 'mmpretrain'


def read_config(name: str) -> Config:
    """Read the config of a model that there is an inferencer for.

    Raises:
        BadInput: There is no such config, or its model is of another kind.
    """
    cfg = load_config(name)
    check_is_experiment(cfg, 'default_scope', 'model')
    if cfg.default_scope not in SCOPES:
        raise BadInput(
            f'{cfg.filename} has default_scope={cfg.default_scope!r}, and pictures are '
            f'drawn for {", ".join(SCOPES)}'
        )
    return cfg


def open_inferencer(cfg: Config, weights: str, device: str) -> Any:
    """Build a model, fill it, and read pictures as its config does.

    Args:
        cfg: As :func:`read_config` gives it; it is changed.
        weights: Checkpoint of the whole model.
        device: Such as 'cpu' or 'cuda:0'.

    Raises:
        BadInput: The model cannot be built, or the classes are not known.
        CheckpointError: The weights are not of this model, or cannot be read.
    """
    mends.install(complete=True)
    peek_checkpoint(weights)
    replace_sync_bn(cfg)
    with building(cfg.filename):
        if cfg.default_scope == 'mmdet':
            from mmdet.apis import DetInferencer

            return DetInferencer(cfg, weights, device, show_progress=False)
        if cfg.default_scope == 'mmseg':
            from mmseg.apis import MMSegInferencer

            check_classes(cfg, weights)
            inferencer = MMSegInferencer(cfg, weights, device=device)
            inferencer.show_progress = False  # no argument of upstream's mmseg
            return inferencer
        from mmpretrain.apis import ImageClassificationInferencer

        return ImageClassificationInferencer(cfg, weights, device)


def batch_of(inferencer: Any, image: str) -> dict[str, Any]:
    """An image as its pipeline gives it: 'inputs' as the reader has it, no norm yet."""
    inputs = inferencer._inputs_to_list(image)
    batch = next(iter(inferencer.preprocess(inputs, batch_size=1)))
    return batch if isinstance(batch, dict) else batch[1]  # mmdet: images first
