"""What else in a config speaks of its backbone: weights, pixels, the optimizer."""

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config

from ..errors import BadInput
from .places import Path, at, spell, walk

# Of the pictures that our backbones' weights were trained on, as RGB.
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
NO_DECAY = {
    'gamma': dict(decay_mult=0.0),
    'relative_position_bias_table': dict(decay_mult=0.0),
}
# Decisions D2, D4: learning rate at 16 images a step (1024 to classify), weight decay.
RECIPES = {
    'mmdet': (1e-4, 16, 0.05),
    'mmseg': (6e-5, 16, 0.01),
    'mmpretrain': (1e-3, 1024, 0.05),
}
DROP_PATH = {
    'mmdet': {'b': 0.3, 's': 0.2, 't': 0.2},
    'mmseg': {'b': 0.3, 's': 0.2, 't': 0.2},
    'mmpretrain': {'b': 0.5, 's': 0.3, 't': 0.2},
}


def drop_weights(cfg: Config, place: Path) -> list[str]:
    """Remove what would load the old backbone's weights; say so."""
    notes = []
    for path in [place[:i] for i in range(len(place) + 1)]:
        table = at(cfg.model, path)
        for key in ('init_cfg', 'pretrained'):
            value = table.get(key) if isinstance(table, dict) else None
            file = value.get('checkpoint') if isinstance(value, dict) else value
            if isinstance(file, str):
                del table[key]
                notes.append(
                    f'{spell((*path, key))} dropped: {file} is of the old backbone'
                )
    if cfg.get('load_from'):
        notes.append(f'load_from dropped: {cfg.load_from} holds the old backbone')
        cfg.load_from = None
    return notes


def set_pixels(cfg: Config) -> list[str]:
    """Give every preprocessor the mean and deviation that our weights were made with.

    Others are Caffe's BGR, raw pixels, and so on.
    """
    notes = []
    for path, table in walk(dict(cfg.items())):
        if not str(path[-1]).endswith('data_preprocessor') or not isinstance(
            table, dict
        ):
            continue
        kind = str(table.get('type'))
        inner = isinstance(table.get('data_preprocessor'), dict)
        if inner or kind.endswith('MultiBranchDataPreprocessor'):
            continue
        order = 'to_rgb' if cfg.get('default_scope') == 'mmpretrain' else 'bgr_to_rgb'
        wanted = {'mean': MEAN, 'std': STD, order: True}
        was = {key: table.get(key) for key in wanted}
        same = all(
            [float(v) for v in was[key] or ()] == wanted[key] for key in ('mean', 'std')
        )
        if not same or not was[order]:
            table.update(wanted)
            notes.append(
                f'{".".join(map(str, path))}: {was} became ImageNet mean and deviation '
                'of RGB, which the weights of our backbones want'
            )
    return notes


def fit_optimizer(cfg: Config, old: list[str], new: list[str]) -> list[str]:
    """Weight decay off the vectors; multipliers by names that are no more go.

    Args:
        cfg: Config; ``optim_wrapper`` changes.
        old: Names of the parameters of the old backbones.
        new: Those of the new model.
    """
    wrapper = cfg.get('optim_wrapper')
    if not wrapper or not isinstance(wrapper.get('optimizer'), dict):
        return []
    notes = _own_layer_decay(wrapper)
    rules = wrapper.get('paramwise_cfg') or {}
    keys = dict(rules.get('custom_keys') or {})
    dead = [
        key
        for key in keys
        if any(key in name for name in old) and not any(key in name for name in new)
    ]
    for key in dead:
        del keys[key]
    if dead:
        notes.append(
            f'optim_wrapper.paramwise_cfg.custom_keys: {len(dead)} of the old '
            f'backbone dropped, such as {dead[0]!r}'
        )
    covering = [  # mmengine takes the longest key that a name holds
        key for key in keys
        if len(key) > len('gamma') and any(key in n and 'gamma' in n for n in new)
    ]  # fmt: skip
    if covering:
        notes.append(
            f'custom_keys {covering[0]!r} decides on the weight decay of all it '
            'matches, norms and gamma with it'
        )
    keys.update({k: v for k, v in NO_DECAY.items() if any(k in name for name in new)})
    wrapper['paramwise_cfg'] = {
        **rules, 'norm_decay_mult': 0.0, 'bias_decay_mult': 0.0, 'custom_keys': keys,
    }  # fmt: skip
    return notes


def _own_layer_decay(wrapper: Any) -> list[str]:
    """The toolboxes' layer decay knows few backbones; ours asks ``get_layer_depth``."""
    constructor = str(wrapper.get('constructor', ''))
    rules = wrapper.get('paramwise_cfg') or {}
    if 'Decay' not in constructor or constructor.startswith('mmmsmlp.'):
        return []
    rate = rules.pop('decay_rate', None) or rules.get('layer_decay_rate')
    for key in ('num_layers', 'decay_type', 'layer_wise'):
        rules.pop(key, None)
    wrapper['constructor'] = 'mmmsmlp.LayerDecayOptimWrapperConstructor'
    wrapper['paramwise_cfg'] = {**rules, 'layer_decay_rate': rate}
    return [f'{constructor} became our own, which knows the depths of our layers']


def use_recipe(cfg: Config) -> list[str]:
    """The paper's AdamW in place of SGD and the like, scaled to the batch."""
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer')
    if not isinstance(optimizer, dict):
        raise BadInput('--recipe: the config has no optim_wrapper.optimizer to replace')
    if optimizer['type'] == 'AdamW':
        return ['--recipe: the config has AdamW, which stays']
    rate, images, decay = RECIPES[cfg.get('default_scope', 'mmdet')]
    base = (cfg.get('auto_scale_lr') or {}).get('base_batch_size', images)
    cfg.optim_wrapper.optimizer = dict(
        type='AdamW', lr=rate * base / images, betas=(0.9, 0.999), weight_decay=decay
    )
    rules = cfg.optim_wrapper.get('paramwise_cfg') or {}
    if rules.get('bias_lr_mult') == 2.0:  # SGD's habit of Caffe's days
        del rules['bias_lr_mult']
    return [f'--recipe: {optimizer["type"]} became AdamW, lr {rate * base / images:g}']


def trains_with_sgd(cfg: Config) -> bool:
    """Is the optimizer SGD, with which none of our backbones was trained?"""
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    return optimizer.get('type') == 'SGD'


def drop_path(scope: str, arch: Any) -> float:
    """The paper's rate for 'tiny', 'small' or 'base' (A.1, A.2)."""
    return DROP_PATH.get(scope, DROP_PATH['mmdet']).get(str(arch)[:1], 0.2)


def is_ours(table: Mapping) -> bool:
    """Is it one of this package's backbones?"""
    return str(table.get('type')).startswith('mmmsmlp.')
