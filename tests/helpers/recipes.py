"""What the tests of the configs share: loading, building, and the optimizer's rule."""

import functools
import logging
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope

from zoo.complexity import build_on_meta

CONFIGS = Path(__file__).parents[2] / 'configs'
LEAVES = sorted(path.stem for path in CONFIGS.glob('*.py'))
HEADS = ('retinanet', 'mask-rcnn', 'cascade-mask-rcnn')
DETECTORS = [name for name in LEAVES if name.split('_')[0] in HEADS]
NO_DECAY = ('gamma', 'relative_position_bias_table')


def by_tier(names):
    """Values for a test: in the fast tier small models at 1x stand for the others."""
    others = 'cascade-mask-rcnn_', '_s_', '_b_', '_3x'
    return [
        pytest.param(name, marks=pytest.mark.full)
        if any(part in name for part in others)
        else name
        for name in names
    ]


@functools.cache
def load(name):
    config = Config.fromfile(CONFIGS / f'{name}.py')
    init_default_scope(config.default_scope)
    return config


@functools.cache
def build(name):
    """A config and its model on the meta device: shapes without memory."""
    config = load(name)
    return config, build_on_meta(config)


def drop_rates(model):
    """The drop path rate of every block that has one."""
    modules = model.modules()
    return [module.drop_prob for module in modules if hasattr(module, 'drop_prob')]


def check_optimizer(model, optim_wrapper, rate, decay):
    """AdamW at one rate; no decay on norms, biases, gamma and position tables (D5)."""
    logging.disable(logging.INFO)  # mmengine writes a line for each parameter
    optimizer = build_optim_wrapper(model, optim_wrapper).optimizer
    logging.disable(logging.NOTSET)
    assert type(optimizer) is torch.optim.AdamW
    settings = {
        id(parameter): (group['lr'], group['weight_decay'])
        for group in optimizer.param_groups
        for parameter in group['params']
    }
    for module_name, module in model.named_modules():
        for own_name, parameter in module.named_parameters(recurse=False):
            exempt = (
                own_name == 'bias'
                or 'norm' in type(module).__name__.lower()
                or any(key in f'{module_name}.{own_name}' for key in NO_DECAY)
            )
            if parameter.requires_grad:
                expected = rate, 0.0 if exempt else decay
                assert settings[id(parameter)] == expected, f'{module_name}.{own_name}'
