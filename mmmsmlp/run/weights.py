"""Are the weights that a run starts from, or is judged by, safe and complete?"""

from inspect import signature

from mmengine.config import Config
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import MODELS, init_default_scope
from torch import nn

from ..checkpoints import load_pretrained, load_whole, read_checkpoint
from ..checkpoints.keys import SWIN, find_backbone_state, find_family
from ..checkpoints.load import vet_toolbox_backbone
from ..errors import BadInput
from ..geometry import MARK, Geometry
from .config import building


def check_start(cfg: Config) -> None:
    """Refuse an unsafe or damaged ``load_from`` (or ``--resume``) before any work.

    Raises:
        CheckpointError: It is missing, damaged, foreign or would run code.
    """
    if cfg.get('load_from') and '://' not in cfg.load_from:
        read_checkpoint(cfg.load_from)


def use_pretrained(cfg: Config, file: str) -> str:
    """``--pretrained``: start the backbone from a file, with the file's geometry.

    The backbone is built and filled once here, so that a file that does not cover it
    is refused before data sets are indexed and processes wait for each other.

    Args:
        cfg: Config; ``model.backbone`` changes.
        file: Checkpoint in any layout that :mod:`mmmsmlp.checkpoints` reads.

    Returns:
        One line for the log.

    Raises:
        CheckpointError: The file is unsafe, damaged, or leaves tensors unfilled.
        BadInput: The model has no backbone, or ``load_from`` would overwrite it.
    """
    if not cfg.model.get('backbone'):
        raise BadInput('--pretrained fills model.backbone, which this config lacks')
    if cfg.get('load_from') and not cfg.get('resume'):
        raise BadInput(
            f'load_from={cfg.load_from} would overwrite what --pretrained loads; use '
            'one of them (--cfg-options load_from=None drops it)'
        )
    backbone = cfg.model.backbone
    ours = str(backbone.type).startswith('mmmsmlp.')
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    geometry = _fit_to_file(backbone, file)
    fresh = (backbone.get('init_cfg') or {}).get('fresh', ()) if ours else ()
    backbone.init_cfg = dict(type='Pretrained', checkpoint=file)
    if fresh:
        backbone.init_cfg.fresh = fresh
    with building('model.backbone'):
        built = MODELS.build(backbone)
        if ours:
            load_pretrained(built, file, fresh=fresh)
        else:
            vet_toolbox_backbone(built, file)
    known = f' ({geometry})' if geometry else ''
    return f'--pretrained: {backbone.type} starts from {file}{known}'


def check_whole(model: nn.Module, file: str) -> None:
    """Refuse a checkpoint that leaves any tensor of the model as it was initialised.

    Args:
        model: Built model, also wrapped for several processes or for TTA.
        file: Checkpoint.

    Raises:
        CheckpointError: Names what is missing.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    load_whole(model, file)


def _fit_to_file(backbone: dict, file: str) -> Geometry | None:
    """Set the arguments that depend on the file; return the geometry set."""
    with MODELS.switch_scope_and_registry(None) as registry:
        kind = registry.get(backbone['type'])
    takes = signature(kind).parameters if kind else ()  # unknown: build() says so
    found = find_backbone_state(read_checkpoint(file))
    family = find_family(found.tensors)
    if 'convert_weights' in takes and family is SWIN:
        # mmdet's own Swin can read the released files, if told to.
        backbone['convert_weights'] = True
    if 'geometry' not in takes:
        return None
    if MARK in found.tensors:
        geometry = Geometry.from_mark(found.tensors[MARK])
    elif family and family.geometry:
        geometry = Geometry.of(family.geometry, found.shift_dist)
    else:
        return None
    backbone['geometry'], backbone['shift_dist'] = geometry.name, geometry.distances
    return geometry
