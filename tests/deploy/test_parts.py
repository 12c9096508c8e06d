"""The parts of an export that need no export: each against an oracle."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import batched_nms

from mmmsmlp.deploy.compare import Tolerance, distance
from mmmsmlp.deploy.graph.boxes import Boxes, best_of, suppress
from mmmsmlp.deploy.graph.dense import _decoder
from mmmsmlp.deploy.graph.layers import AdaptivePool, FixedNorm, replace_layers
from mmmsmlp.deploy.graph.maps import stretch
from mmmsmlp.deploy.graph.rois import paste
from mmmsmlp.deploy.metadata import Metadata, read_metadata
from mmmsmlp.deploy.pipeline import steps_of
from mmmsmlp.deploy.resize import prepare
from mmmsmlp.deploy.runtime import Classes, Detections
from mmmsmlp.errors import BadInput


def random_boxes(count, labels, pictures):
    generator = torch.Generator().manual_seed(count)
    corner = 60 * torch.rand(count, 2, generator=generator)
    side = 5 + 40 * torch.rand(count, 2, generator=generator)
    return Boxes(
        torch.cat([corner, corner + side], 1),
        torch.rand(count, generator=generator),
        torch.randint(labels, (count,), generator=generator),
        torch.randint(pictures, (count,), generator=generator),
    )


@pytest.mark.parametrize('agnostic', [False, True])
def test_suppression_is_torchvisions_in_each_picture(agnostic):
    found, limit = random_boxes(300, 4, 3), 20
    kept = suppress(found, 3, 0.4, limit, agnostic)
    for picture in range(3):
        mine = found[found.image == picture]
        group = torch.zeros_like(mine.labels) if agnostic else mine.labels
        expected = mine[batched_nms(mine.boxes, mine.scores, group, 0.4)[:limit]]
        got = kept[kept.image == picture]
        assert torch.equal(got.scores, expected.scores)
        assert torch.equal(got.boxes, expected.boxes)
        assert torch.equal(got.labels, expected.labels)
    assert (kept.scores.diff() <= 0).all()


def test_suppression_of_nothing_is_nothing():
    none = random_boxes(5, 2, 1)[torch.tensor([], dtype=torch.long)]
    assert suppress(none, 1, 0.5, 10, False).boxes.shape == (0, 4)


def test_the_best_of_fewer_than_asked_are_filled_with_minus_one():
    best, place = best_of(torch.tensor([[0.2, 0.9, 0.5]]), 5)
    assert best.tolist()[0][:3] == pytest.approx([0.9, 0.5, 0.2])
    assert best[0, 3:].tolist() == [-1, -1]
    assert place[0, :3].tolist() == [1, 2, 0] and place.max() <= 2


def test_pasting_is_mmdets():
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

    masks = torch.rand(9, 28, 28)
    boxes = random_boxes(9, 1, 1).boxes - 10  # some reach over the picture's edge
    expected, _ = _do_paste_mask(masks[:, None], boxes, 70, 53, skip_empty=False)
    assert paste(masks, boxes, (70, 53)).shape == (9, 70, 53)
    torch.testing.assert_close(
        paste(masks, boxes, (70, 53)), expected, atol=1e-4, rtol=0
    )


@pytest.mark.parametrize('corners', [False, True])
@pytest.mark.parametrize('size', [(5, 7), (31, 64), (13, 13), (1, 2)])
def test_stretching_is_interpolation(corners, size):
    x = torch.rand(2, 3, 13, 17)
    got = stretch(stretch(x, 2, size[0], corners), 3, size[1], corners)
    expected = F.interpolate(x, size, mode='bilinear', align_corners=corners)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize('bins', [2, 3, (6, 4), (None, 5)])
def test_pooling_is_pytorchs(bins):
    x = torch.rand(2, 3, 13, 17)
    expected = nn.AdaptiveAvgPool2d(bins)(x)
    got = AdaptivePool(bins if isinstance(bins, tuple) else (bins, bins))(x)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize('affine', [False, True])
def test_a_fixed_norm_is_the_batch_norms_of_evaluation(affine):
    norm = nn.BatchNorm2d(5, affine=affine).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.1, 3)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    x = torch.randn(2, 5, 4, 3)
    torch.testing.assert_close(FixedNorm(norm)(x), norm(x), atol=1e-5, rtol=1e-5)


def test_a_convolution_that_others_share_stays_what_it_is():
    """RTMDet's levels share convolutions and have norms of their own."""
    conv = nn.Conv2d(3, 4, 1)
    net = nn.ModuleList(nn.Sequential(conv, nn.BatchNorm2d(4)) for _ in range(3)).eval()
    for branch in net:
        branch[1].running_var.uniform_(0.1, 3)
    x = torch.randn(1, 3, 5, 5)
    expected = [branch(x) for branch in net]
    replace_layers(net)
    assert all(isinstance(branch[1], FixedNorm) for branch in net)
    for branch, y in zip(net, expected, strict=True):
        torch.testing.assert_close(branch(x), y, atol=1e-5, rtol=1e-5)


PIPELINES = {
    'fit': [dict(type='Resize', scale=(90, 60), keep_ratio=True)],
    'stretch': [dict(type='Resize', scale=(90, 60), keep_ratio=False)],
    'one number': [dict(type='Resize', scale=70, keep_ratio=True)],
    'area': [
        dict(type='Resize', scale=(50, 40), keep_ratio=True, interpolation='area')
    ],
}


@pytest.mark.parametrize('name', PIPELINES)
@pytest.mark.parametrize('size', [(64, 96), (131, 77), (60, 90), (30, 200)])
def test_resizing_is_the_pipelines(name, size):
    import mmdet.datasets.transforms  # noqa: F401  registers them
    from mmcv.transforms import Compose
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = Compose(PIPELINES[name])(dict(img=image))['img']
    steps, pad = steps_of(PIPELINES[name])
    assert pad is None
    np.testing.assert_array_equal(prepare(image, steps), expected)


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize('size', [(64, 96), (131, 77), (31, 40)])
def test_resizing_is_mmpretrains(backend, size):
    import mmpretrain.datasets  # noqa: F401  registers them
    from mmcv.transforms import Compose
    from mmengine.registry import init_default_scope

    init_default_scope('mmpretrain')
    kinds = dict(backend=backend, interpolation='bicubic')
    pipeline = [
        dict(type='ResizeEdge', scale=50, edge='short', **kinds),
        dict(type='CenterCrop', crop_size=44),
    ]
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = Compose(pipeline)(dict(img=image))['img']
    steps, _ = steps_of(pipeline)
    np.testing.assert_array_equal(prepare(image, steps), expected)


def test_a_padding_at_the_end_is_the_graphs():
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='mmdet.Resize', scale=(96, 64), keep_ratio=True),
        dict(type='Pad', size=(96, 64), pad_val=dict(img=(114, 114, 114))),
        dict(type='LoadAnnotations'),
        dict(type='PackDetInputs'),
    ]
    steps, pad = steps_of(pipeline)
    assert pad == dict(size=(64, 96), value=114.0)  # mmcv's is (width, height)
    assert steps == [dict(type='Resize', scale=[96, 64], keep_ratio=True)]


@pytest.mark.parametrize(
    ('table', 'says'),
    [
        (dict(type='RandomFlip', prob=0.5), 'RandomFlip'),
        (dict(type='Resize', scale_factor=0.5), 'scale_factor'),
        (dict(type='Pad', size_divisor=32), 'size_divisor'),
        (dict(type='LoadImageFromFile', color_type='grayscale'), 'takes 8-bit colours'),
        (dict(type='LoadImageFromFile', to_float32=True), 'takes 8-bit colours'),
    ],
)
def test_a_transform_that_no_graph_has_is_refused(table, says):
    with pytest.raises(BadInput, match=says):
        steps_of([table])


def found(boxes, scores, labels, masks=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(boxes, np.array(scores, np.float32), np.array(labels), masks)


def test_boxes_are_matched_one_to_one():
    two = found([[0, 0, 10, 10], [0, 0, 10, 10.05]], [0.9, 0.8], [0, 0])
    assert distance(two, two, Tolerance()).alike == 4
    # A box found twice is not two boxes.
    double = found([[0, 0, 10, 10]] * 2, [0.9, 0.9], [0, 0])
    apart = distance(double, found([[0, 0, 10, 10]], [0.9], [0]), Tolerance())
    assert (apart.count, apart.alike) == (3, 2)


@pytest.mark.parametrize(
    'other',
    [
        found([[0, 0, 10, 11]], [0.9], [0]),
        found([[0, 0, 10, 10]], [0.8], [0]),
        found([[0, 0, 10, 10]], [0.9], [1]),
        found([], [], []),
    ],
)
def test_another_box_score_or_label_is_no_match(other):
    one = found([[0, 0, 10, 10]], [0.9], [0])
    assert distance(other, one, Tolerance(), 0.05).alike < 1
    assert not distance(other, one, Tolerance(), 0.05).within(Tolerance())


def test_a_box_at_the_threshold_needs_no_match():
    low = found([[0, 0, 10, 10], [5, 5, 9, 9]], [0.9, 0.0501], [0, 0])
    one = found([[0, 0, 10, 10]], [0.9], [0])
    assert distance(one, low, Tolerance(), 0.05).within(Tolerance())


def test_masks_maps_and_classes_are_compared():
    mask = np.zeros((1, 40, 40), bool)
    mask[0, :20] = True
    half = mask.copy()
    half[0, :10] = False
    a = found([[0, 0, 10, 10]], [0.9], [0], mask)
    assert distance(a, a, Tolerance()).within(Tolerance())
    b = found([[0, 0, 10, 10]], [0.9], [0], half)
    assert distance(a, b, Tolerance()).mask == pytest.approx(0.5, abs=0.01)
    assert not distance(a, b, Tolerance()).within(Tolerance())
    labels = np.arange(100).reshape(10, 10)
    other = np.where(labels < 2, 7, labels)
    assert distance(other, labels, Tolerance()).alike == 98
    assert not distance(other, labels, Tolerance()).within(Tolerance())
    scores = Classes(np.array([0.5, 0.5]), 0), Classes(np.array([0.49, 0.51]), 1)
    assert not distance(*scores, Tolerance()).within(Tolerance())


def test_metadata_comes_back_as_it_was():
    known = Metadata('detection', ['a'], [[1, 2, 3]], [], [64, 96], 2, [0.05, 0.5])
    assert read_metadata(known.to_text(), 'file') == known
    with pytest.raises(BadInput, match='format 2, and this mmmsmlp reads 1'):
        read_metadata(known.to_text().replace('"format": 1', '"format": 2'), 'file')
    with pytest.raises(BadInput, match='not made by tools/export.py'):
        read_metadata('', 'file')


def test_a_distribution_of_distances_is_gfls():
    from mmdet.models.dense_heads import GFLHead
    from mmengine.registry import init_default_scope

    init_default_scope('mmdet')  # others leave theirs behind
    head = GFLHead(
        num_classes=2,
        in_channels=8,
        anchor_generator=dict(
            type='AnchorGenerator', ratios=[1.0], octave_base_scale=8,
            scales_per_octave=1, strides=[8, 16],
        ),
        train_cfg=None,
        reg_max=4,
    )  # fmt: skip
    priors, deltas = random_boxes(7, 1, 1).boxes, torch.randn(7, 4 * 5)
    expected = head.bbox_coder.decode(
        head.anchor_center(priors), head.integral(deltas) * 16, max_shape=(90, 70)
    )
    got = _decoder(head)(priors, deltas, 1, (90, 70))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)
