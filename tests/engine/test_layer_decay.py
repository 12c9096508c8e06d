"""Layer-wise learning-rate decay, in a detector, a segmentor and a classifier."""

import logging

import pytest
from mmengine.optim import build_optim_wrapper

from tests.helpers.recipes import build

MODELS = ('retinanet_msmlp_t_1x', 'upernet_msmlp-swin_t_160k', 'msmlp-focal_t_300e')


def rates_of(name, **paramwise):
    config, model = build(name)
    wrapper = config.optim_wrapper.copy()
    wrapper.constructor = 'mmmsmlp.LayerDecayOptimWrapperConstructor'
    wrapper.paramwise_cfg = dict(wrapper.paramwise_cfg, **paramwise)
    logging.disable(logging.INFO)
    try:
        groups = build_optim_wrapper(model, wrapper).optimizer.param_groups
    finally:  # else the tests that read a log behind a refused one find none
        logging.disable(logging.NOTSET)
    by_id = {id(group['params'][0]): group for group in groups}
    return {n: by_id[id(p)] for n, p in model.named_parameters()}, config, model


@pytest.mark.parametrize('name', MODELS)
def test_each_block_learns_slower_than_the_one_above(name):
    groups, config, model = rates_of(name, layer_decay_rate=0.9)
    full = config.optim_wrapper.optimizer.lr
    backbone = model.backbone
    stages = [*([backbone.stage0] if backbone.stage0 else []), *backbone.stages]
    blocks = sum(len(stage.blocks) for stage in stages)
    first = 'backbone.stage0' if backbone.stage0 else 'backbone.stages.0'
    last = f'backbone.stages.3.blocks.{len(stages[-1].blocks) - 1}.'
    seen = set()
    for key, group in groups.items():
        if not key.startswith('backbone.') or key.startswith('backbone.norm'):
            assert group['lr'] == full, key
        elif key.startswith(f'{first}.embed'):
            assert group['lr'] == pytest.approx(full * 0.9 ** (blocks + 1)), key
        elif key.startswith(f'{first}.blocks.0.'):
            assert group['lr'] == pytest.approx(full * 0.9**blocks), key
        elif key.startswith(last):
            assert group['lr'] == pytest.approx(full * 0.9), key
        seen.add(round(group['lr'] / full, 9))
    assert len(seen) == blocks + 2


def test_weight_decay_stays_as_the_recipe_says():
    with_decay, config, _ = rates_of(MODELS[0], layer_decay_rate=0.5)
    assert with_decay['backbone.stages.0.blocks.0.gamma']['weight_decay'] == 0
    (matrix,) = [n for n in with_decay if n.endswith('stages.0.blocks.0.fc1.weight')]
    assert with_decay[matrix]['weight_decay'] == 0.05


@pytest.mark.parametrize('rate', [None, 0, 1.5, 'fast'])
def test_a_rate_that_cannot_be(rate):
    with pytest.raises(ValueError, match=f'layer_decay_rate.*got {rate!r}'):
        rates_of(MODELS[0], layer_decay_rate=rate)


def test_a_backbone_that_cannot_name_its_layers():
    with pytest.raises(ValueError, match='SwinTransformer has no get_layer_depth'):
        rates_of('retinanet_swin_t_1x', layer_decay_rate=0.9)
