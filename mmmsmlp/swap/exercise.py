"""A whole model put through its paces on noise: losses, gradients, predictions."""

from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from ..errors import one_line
from .batch import make_batch, make_test_batch
from .probe import (
    SIZES,
    CannotMeasure,
    build,
    enter_scope,
    on_a_cpu,
    quiet,
    tell_time,
)

ODD = 31  # pixels less: no stride divides what is left


def exercise(cfg: Config) -> str:
    """Train a step with backward, predict, and predict on an odd size.

    Returns:
        What went wrong, or nothing.
    """
    enter_scope(cfg)
    whys = ['']
    for size in SIZES:
        try:
            net = build(on_a_cpu(_model(cfg), size))
        except CannotMeasure as error:
            return str(error)
        why = _train(cfg, net, size)
        why = why or _predict(cfg, net, size) or _predict(cfg, net, size - ODD)
        if why in whys:  # nothing, or the size is not what fails
            break
        whys.append(why)
    return why


def _model(cfg: Config) -> dict:
    return {'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model}


def _train(cfg: Config, net: Any, size: int) -> str:
    net.train()
    torch.manual_seed(0)
    tell_time()
    try:
        with quiet():
            batch = net.data_preprocessor(make_batch(cfg, size), True)
            loss, _ = net.parse_losses(net(**batch, mode='loss'))
            loss.backward()
    except Exception as error:
        return f'training: {one_line(error)}'
    if not torch.isfinite(loss):
        return f'training: the loss is {loss.item()}'
    return _gradients(net, cfg.get('find_unused_parameters', False))


def _gradients(net: nn.Module, find_unused: bool) -> str:
    """A backbone of ours whose gradients would stop DDP, or are not numbers."""
    for name, part in net.named_modules():
        if not type(part).__module__.startswith('mmmsmlp.models.'):
            continue
        for key, parameter in part.named_parameters():
            gradient = parameter.grad
            if parameter.requires_grad and gradient is None and not find_unused:
                return f'training: {name}.{key} has no gradient'
            if gradient is not None and not gradient.isfinite().all():
                return f'training: the gradient of {name}.{key} is not finite'
    return ''


def _predict(cfg: Config, net: Any, size: int) -> str:
    if hasattr(net, 'target_generator'):  # self-supervision has nothing to predict
        return ''
    net.eval()
    try:
        with torch.no_grad(), quiet():
            batch = make_test_batch(cfg, size)
            net(**net.data_preprocessor(batch, False), mode='predict')
    except Exception as error:
        return f'predicting at {size}x{size}: {one_line(error)}'
    return ''
