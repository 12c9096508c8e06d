"""The configs of other heads: short, and what the swap makes of the toolbox's own."""

import pytest

import mmmsmlp
from mmmsmlp.run.config import load_config
from mmmsmlp.swap import read_config, swap
from mmmsmlp.swap.exercise import exercise
from tests.helpers.recipes import CONFIGS

NAMES = sorted(path.stem for path in (CONFIGS / 'heads').glob('*.py'))
# Of DINO and panoptic Mask2Former a step takes longer; docs/heads.md has them.
SOURCES = {
    'atss_msmlp_t_1x': 'atss/atss_r50_fpn_1x_coco.py',
    'faster-rcnn_msmlp_t_1x': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'mask2former_msmlp_t_50e': 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
    'rtmdet_msmlp_t_300e': 'rtmdet/rtmdet_s_8xb32-300e_coco.py',
}
HERE = [
    'deeplabv3plus_msmlp_t_160k', 'mask2former-semantic_msmlp_t_160k',
    'segformer_msmlp_t_160k',
]  # fmt: skip


def test_there_are_nine():
    assert len(NAMES) == 9 and SOURCES.keys() < {*NAMES}
    assert mmmsmlp.list_configs('heads/*') == [f'heads/{name}' for name in NAMES]


@pytest.mark.parametrize('name', NAMES)
def test_it_is_short(name):
    assert len((CONFIGS / 'heads' / f'{name}.py').read_text().splitlines()) <= 10


@pytest.mark.parametrize('name', ['dino_msmlp_t_12e', *SOURCES, *HERE])
def test_consumers_take_what_the_backbone_gives(name):
    model = load_config(f'heads/{name}').model
    stages = model.backbone.get('out_indices', (0, 1, 2, 3))
    part = model.get('neck') or model.get('panoptic_head') or model.decode_head
    widths = [96 * 2**stage for stage in stages]
    if name.startswith('deeplab'):
        other = model.auxiliary_head
        assert [part.c1_in_channels, other.in_channels, part.in_channels] == widths
        assert (other.in_index, part.in_index) == (1, 2)
    else:
        assert part.in_channels == widths


def without_scopes(node):
    """The table without the marks that inheriting from another package leaves."""
    if isinstance(node, dict):
        return {k: without_scopes(v) for k, v in node.items() if k != '_scope_'}
    return [without_scopes(v) for v in node] if isinstance(node, list) else node


@pytest.mark.full
@pytest.mark.parametrize('name', SOURCES)
def test_it_is_what_the_swap_makes(name):
    """Which trains a step to see that it fits."""
    cfg = load_config(f'heads/{name}')
    swapped, _ = swap(
        read_config(f'mmdet::{SOURCES[name]}'),
        'MSMLP',
        'tiny',
        True,
        drop_path_rate=0.2,
    )
    cfg.model.backbone.setdefault('out_indices', (0, 1, 2, 3))
    assert without_scopes(cfg.model.to_dict()) == swapped.model.to_dict()
    assert cfg.optim_wrapper.optimizer == swapped.optim_wrapper.optimizer


@pytest.mark.full
@pytest.mark.parametrize('name', HERE)
def test_it_trains_a_step_and_predicts(name):
    assert exercise(load_config(f'heads/{name}')) == ''
