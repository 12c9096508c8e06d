"""Is the paper's row found for a config, with its doubts, and never another's?"""

import pytest

from mmmsmlp.configs import Leaf
from zoo.paper import printed


@pytest.mark.parametrize(
    ('name', 'table', 'cells'),
    [
        ('retinanet_msmlp_t_1x', 6, dict(AP=42.7, params_m=39.6, flops_g=265)),
        ('mask-rcnn_msmlp-focal_b_1x', 8, dict(AP=47.9, mask_AP=43.4, flops_g=647)),
        ('cascade-mask-rcnn_swin_s_3x', 11, dict(AP=51.8, flops_g=832)),
        ('upernet_focal_s_160k', 7, dict(ss_miou=48.0, ms_miou=50.0, params_m=85)),
        ('msmlp_b_300e', 3, dict(top1=83.8, params_m=88)),
        ('msmlp-swin_t_300e', 5, dict(top1=81.9, throughput=779)),
    ],
)
def test_the_row_is_the_configs(name, table, cells):
    found = printed(Leaf.parse(name))
    assert found.table == table
    assert cells.items() <= found.row.items()


@pytest.mark.parametrize(
    'name',
    [
        'retinanet_msmlp_t_3x',
        'cascade-mask-rcnn_msmlp_t_1x',
        'mask-rcnn_msmlp-swin_t_3x',
        'upernet_msmlp-swin_t_160k',
    ],
)
def test_no_row_where_the_paper_has_none(name):
    assert printed(Leaf.parse(name)) is None


def test_doubts_travel_with_their_cells():
    row = printed(Leaf.parse('mask-rcnn_msmlp_t_1x'))
    assert row.suspect.keys() == {'params_m', 'flops_g'}
    assert 'Table 11' in row.suspect['flops_g']
    assert printed(Leaf.parse('mask-rcnn_msmlp_t_3x')).suspect == {}
