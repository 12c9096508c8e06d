"""Any config of the toolboxes with another backbone, ours above all."""

import inspect
import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path as File
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS as ROOT

from ..errors import BadInput, did_you_mean, one_line
from ..registry import MODELS
from . import settings
from .fit import Model
from .places import Path, at, backbone_places, put, spell, walk
from .probe import enter_scope, train_step

SAME_MEANING = ('in_channels', 'with_cp', 'drop_path_rate')


def with_backbone(
    config: str | File | Config,
    type: str = 'MSMLP',
    arch: str | Mapping = 'tiny',
    recipe: bool = False,
    **kwargs: Any,
) -> Config:
    """Put a backbone in the place of every one that a config trains.

    ``out_indices``, the channels that necks and heads take, and the settings around it
    follow from what is measured: the old backbone's outputs, and steps of training on
    noise. What a user should know is logged as warnings.

    Args:
        config: A file, ``'mmdet::atss/atss_r50_fpn_1x_coco.py'``, or a Config, which
            stays as it is.
        type: 'MSMLP', 'MSMLPSwin', 'MSMLPFocal', 'SwinTransformer',
            'FocalTransformer', or any that the config's toolbox knows; of a name that
            both have, 'mmdet.SwinTransformer' is the toolbox's.
        arch: Its size, for those that take one.
        recipe: Also the paper's AdamW and drop path.
        **kwargs: Arguments of the backbone, such as ``init_cfg``.

    Returns:
        A new Config, which needs nothing but ``custom_imports``.

    Raises:
        BadInput: It cannot be read or fitted; says why.
    """
    cfg, notes = swap(read_config(config), type, arch, recipe, **kwargs)
    for note in notes:
        print_log(f'with_backbone: {note}', logger='current', level=logging.WARNING)
    return cfg


def read_config(config: str | File | Config) -> Config:
    """A copy of a Config, or the config of a file or of a toolbox's own name.

    Raises:
        BadInput: It does not exist or cannot be read.
    """
    if isinstance(config, Config):
        return deepcopy(config)
    name = str(config)
    package, colons, rest = name.partition('::')
    file = File(name)
    if colons:
        spec = find_spec(package) if package.isidentifier() else None
        if not spec or not spec.origin:
            raise BadInput(f'{name}: there is no toolbox {package!r} here; install it')
        # mmengine's own lookup goes by a distribution's name, which may be a fork's.
        file = File(spec.origin).parent / '.mim' / 'configs' / rest
    if not file.is_file():
        beside = [path.name for path in file.parent.glob('*.py')]
        raise BadInput(
            f'config {name} does not exist ({file})'
            + did_you_mean(file.name, beside, most=3)
        )
    try:
        return Config.fromfile(str(file))
    except Exception as error:  # a config is a program: it can raise anything
        raise BadInput(f'config {name} cannot be read: {one_line(error)}') from error


def swap(
    cfg: Config, type: str, arch: str | Mapping, recipe: bool, **kwargs: Any
) -> tuple[Config, list[str]]:
    """As :func:`with_backbone`, changing ``cfg``; what a user should know is returned.

    Raises:
        BadInput: It cannot be fitted; says why.
    """
    if not isinstance(cfg.get('model'), dict):
        raise BadInput(f'{_name(cfg)} has no model: it is a part of a config')
    enter_scope(cfg)
    name, takes = _find_backbone(type)
    given = {'type': name, **({'arch': arch} if 'arch' in takes else {}), **kwargs}
    places = backbone_places(cfg.model)
    if not places:
        raise BadInput(f'{_name(cfg)} names no backbone in its model')
    tables = {place: _table(at(cfg.model, place), given, takes) for place in places}
    if all(tables[place] == at(cfg.model, place) for place in places):
        return cfg, _use_recipe(cfg, places, arch) if recipe else []
    if 'out_indices' in kwargs:
        raise BadInput('out_indices follows from what the model takes; leave it out')
    ours = settings.is_ours(given)
    model = Model(cfg, places)
    notes = _fit(cfg, model, tables)
    step = train_step(cfg, cfg.model, model.size)
    if step.error:
        raise BadInput(f'with the new backbone no step of training works: {step.error}')
    notes += settings.fit_optimizer(cfg, model.names, step.names) if ours else []
    notes += settings.set_pixels(cfg) if ours else []
    if recipe:
        notes += _use_recipe(cfg, places, arch)
    elif ours and settings.trains_with_sgd(cfg):
        notes.append("SGD stays; --recipe takes the paper's AdamW")
    idle = [name for name in step.idle if name not in model.first.idle]
    if idle and not cfg.get('find_unused_parameters'):
        cfg.find_unused_parameters = True
        notes.append(f'find_unused_parameters=True, for {idle[0]} and the like')
    if ours:
        _import_us(cfg)
    return cfg, notes


def _find_backbone(type: str) -> tuple[str, Mapping]:
    """A backbone's name as a config has it, and the parameters of its constructor.

    Raises:
        BadInput: There is no such backbone.
    """
    own = MODELS.get(f'mmmsmlp.{type}') if '.' not in type else None
    name = f'mmmsmlp.{type}' if own else type
    with ROOT.switch_scope_and_registry(None) as registry:
        kind = own or registry.get(name)
    if kind is None:
        raise BadInput(
            f'there is no backbone {type!r}; ours are MSMLP, MSMLPSwin, MSMLPFocal, '
            'SwinTransformer and FocalTransformer'
        )
    return name, inspect.signature(kind).parameters


def _table(old: Mapping, given: Mapping, takes: Mapping) -> dict:
    """The new backbone's table, without what is to be fitted.

    The same type keeps its settings, but weights, and stages frozen with them, only
    where nothing changes; another keeps those that mean the same.
    """
    if old['type'] == given['type']:
        table = {**deepcopy(dict(old)), **deepcopy(dict(given))}
        if table != old and 'init_cfg' not in given:
            for key in {'init_cfg', 'pretrained', 'frozen_stages'} - given.keys():
                table.pop(key, None)
        return table
    kept = {key: old[key] for key in SAME_MEANING if key in old and key in takes}
    if kept.get('in_channels') == 3:
        del kept['in_channels']
    if 'init_cfg' in given and 'frozen_stages' in old:
        kept['frozen_stages'] = old['frozen_stages']
    return {'type': given['type'], **kept, **deepcopy(dict(given))}


def _fit(cfg: Config, model: Model, tables: Mapping[Path, dict]) -> list[str]:
    """Write the backbones and the numbers that follow into a config."""
    notes = []
    for place, table in tables.items():
        old = at(cfg.model, place)
        table.pop('out_indices', None)
        fit = model.fit(place, table)
        notes += fit.notes
        if fit.arguments is None:
            continue
        if old.get('frozen_stages', -1) >= 0 and 'frozen_stages' not in table:
            notes.append(
                f'{spell(place)}: frozen_stages={old["frozen_stages"]} dropped, as it '
                'would freeze random weights; give it with init_cfg'
            )
        notes += settings.drop_weights(cfg, place)
        put(cfg.model, place, {**table, **fit.arguments})
        for path, value in fit.edits.items():
            put(cfg.model, path, value)
    return notes


def _use_recipe(cfg: Config, places: Sequence[Path], arch: str | Mapping) -> list[str]:
    rate = settings.drop_path(cfg.get('default_scope'), arch)
    for table in [at(cfg.model, place) for place in places]:
        if settings.is_ours(table):
            table.setdefault('drop_path_rate', rate)
    return settings.use_recipe(cfg)


def _name(cfg: Config) -> str:
    return f'config {cfg.filename}' if cfg.filename else 'this config'


def _import_us(cfg: Config) -> None:
    imports = cfg.get('custom_imports') or dict(imports=[], allow_failed_imports=False)
    names = imports['imports']
    names = [names] if isinstance(names, str) else [*names]
    if 'mmmsmlp' not in names:
        cfg.custom_imports = {**imports, 'imports': [*names, 'mmmsmlp']}


def diff(before: Config, after: Config) -> str:
    """What changed: a line for each entry, as ``--cfg-options`` names it."""
    old, new = _entries(before), _entries(after)
    lines = []
    for path in dict.fromkeys([*old, *new]):
        if path not in new or path not in old or old[path] != new[path]:
            lines += [f'- {path}={old[path]!r}'] if path in old else []
            lines += [f'+ {path}={new[path]!r}'] if path in new else []
    return '\n'.join(lines)


def _entries(cfg: Config) -> dict[str, Any]:
    """Every entry that holds no table, by its path; a list without tables as one."""
    entries = [*walk(cfg.to_dict())]
    tables = [path for path, value in entries if isinstance(value, dict)]
    outer = {path[:i] for path in tables for i in range(len(path))}
    return {
        '.'.join(map(str, path)): value
        for path, value in entries
        if not isinstance(value, dict)
        and path not in outer
        and (isinstance(path[-1], str) or path[:-1] in outer)
    }
