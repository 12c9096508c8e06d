"""The weights that a run starts from, found safe and complete before it starts."""

from inspect import signature

from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope

from ..checkpoints import peek_checkpoint
from ..checkpoints.keys import SWIN, Found, find_state, is_backbone, to_own_names
from ..checkpoints.load import fill_backbone, vet_toolbox_backbone
from ..errors import BadInput, CheckpointError
from ..geometry import Geometry
from ..swap.places import at, backbone_places
from ..swap.settings import is_ours
from .config import building


def use_pretrained(cfg: Config, file: str) -> str:
    """``--pretrained``: start the backbones from a file, with the file's geometry.

    Each is built and filled once here, so that a file that does not cover it
    is refused before data sets are indexed and processes wait for each other.

    Args:
        cfg: Config; ``model.backbone`` changes, or, where there is none, every backbone
            of ours that other parts of the model have, such as a tracker's detector.
        file: Checkpoint in any layout that :mod:`mmmsmlp.checkpoints` reads.

    Returns:
        One line for the log.

    Raises:
        CheckpointError: The file is unsafe, damaged, or leaves tensors unfilled.
        BadInput: The model has no backbone, or ``load_from`` would overwrite it.
    """
    if cfg.model.get('backbone'):
        places = [('backbone',)]
    else:
        places = backbone_places(cfg.model)
    tables = [at(cfg.model, place) for place in places]
    tables = [table for table in tables if len(tables) == 1 or is_ours(table)]
    if not tables:
        raise BadInput('--pretrained fills model.backbone, which this config lacks')
    if cfg.get('load_from') and not cfg.get('resume'):
        raise BadInput(
            f'load_from={cfg.load_from} would overwrite what --pretrained loads; use '
            'one of them (--cfg-options load_from=None drops it)'
        )
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    try:
        content = peek_checkpoint(file)
    except CheckpointError as error:
        raise CheckpointError(f'--pretrained {error}') from error
    return '\n'.join(_start_from(table, content, file) for table in tables)


def _start_from(backbone: Config, content: dict, file: str) -> str:
    ours = is_ours(backbone)
    if ours:
        found = to_own_names(content, file)
    else:  # its own loader knows its own names
        found = find_state(content, file).unwrapped(is_backbone)
    geometry = _fit_to_file(backbone, found)
    fresh = (backbone.get('init_cfg') or {}).get('fresh', ()) if ours else ()
    backbone['init_cfg'] = dict(type='Pretrained', checkpoint=file)
    if fresh:
        backbone['init_cfg']['fresh'] = fresh
    with building('model.backbone'):
        built = MODELS.build(backbone)
        if ours:
            fill_backbone(built, found, file, fresh)
        else:
            vet_toolbox_backbone(built, file)
    known = f' ({geometry})' if geometry else ''
    return f'--pretrained: {backbone.type} starts from {file}{known}'


def _fit_to_file(backbone: dict, found: Found) -> Geometry | None:
    """Set the arguments that depend on the file; return the geometry set."""
    with MODELS.switch_scope_and_registry(None) as registry:
        kind = registry.get(backbone['type'])
    takes = signature(kind).parameters if kind else ()  # unknown: build() says so
    if 'convert_weights' in takes and SWIN.fits(found.tensors):
        # mmdet's own Swin can read the released files, if told to.
        backbone['convert_weights'] = True
    if 'geometry' not in takes or not found.geometry:
        return None
    backbone['geometry'] = found.geometry.name
    backbone['shift_dist'] = found.geometry.distances
    return found.geometry
