"""Graphs, not exported, against the toolboxes' own test step, by settings."""

import numpy as np
import pytest
import torch

from mmmsmlp.deploy.compare import Tolerance, distance
from mmmsmlp.deploy.export import make_graph
from mmmsmlp.deploy.reference import Reference
from mmmsmlp.deploy.resize import prepare, read_picture
from mmmsmlp.deploy.runtime import split
from mmmsmlp.run.exported import pipeline_of
from tests.helpers.exports import WIDTHS, built, pictures, small

RETINA, RCNN = 'retinanet_msmlp_t_1x', 'heads/faster-rcnn_msmlp_t_1x'
MAPS = dict(
    in_channels=WIDTHS, in_index=(0, 1, 2, 3), input_transform='resize_concat',
    channels=16, num_classes=3, norm_cfg=dict(type='BN'), align_corners=False,
)  # fmt: skip


def agnostic(model):
    model.test_cfg.update(min_bbox_size=12)
    model.test_cfg.nms.class_agnostic = True


def softmax(model):
    model.bbox_head.loss_cls = dict(type='CrossEntropyLoss')


def bgr(model):
    model.data_preprocessor.update(bgr_to_rgb=False, mean=[1.0, 20.0, 90.0])


def fcos(model):
    model.type = 'FCOS'
    model.bbox_head = dict(
        type='FCOSHead', num_classes=4, in_channels=32, feat_channels=32,
        stacked_convs=1, norm_on_bbox=True, norm_cfg=dict(type='GN', num_groups=8),
    )  # fmt: skip


def decoded(model):
    head = model.roi_head.bbox_head
    head.update(reg_class_agnostic=True, reg_decoded_bbox=True)
    head.loss_bbox = dict(type='GIoULoss')
    model.test_cfg.rcnn.nms.class_agnostic = True
    model.test_cfg.rpn.min_bbox_size = 20


def one_map(model):
    model.decode_head = dict(
        MAPS, type='FCNHead', num_convs=1, num_classes=2, out_channels=1, threshold=0.4
    )
    model.data_preprocessor.test_cfg = dict(size_divisor=32)


def cascade(model):
    model.update(type='CascadeEncoderDecoder', num_stages=2)
    first = dict(MAPS, type='FCNHead', num_convs=1)
    model.decode_head = [first, dict(MAPS, type='OCRHead', ocr_channels=8)]


@pytest.mark.parametrize(
    ('config', 'change'),
    [(RETINA, f) for f in (agnostic, softmax, bgr, fcos)]
    + [(RCNN, decoded)]
    + [('demo/upernet_msmlp_demo', f) for f in (one_map, cascade)],
    ids=lambda value: getattr(value, '__name__', ''),
)
def test_settings_are_the_toolboxes(config, change, tmp_path):
    cfg = small(config)
    change(cfg.model)
    model, pipeline = built(cfg), pipeline_of(cfg, None)
    graph, steps = make_graph(model, pipeline, cfg.default_scope)
    reference = Reference(model, pipeline, cfg.default_scope)
    bounds = (graph.thresholds[0], graph.limit) if graph.thresholds else ()
    for file in pictures(tmp_path, [(64, 96), (90, 60), (128, 131)]):
        image = read_picture(file)
        ready = torch.from_numpy(prepare(image, steps))[None]
        inputs = [ready, torch.tensor(image.shape[:2]), *map(torch.tensor, bounds[:1])]
        with torch.no_grad():
            out = graph(*inputs)
        out = [x.numpy() for x in (out if isinstance(out, tuple) else (out,))]
        (got,), expected = split(out, graph.task, 1), reference(file)
        apart = distance(got, expected, Tolerance(), *bounds)
        assert apart.count >= 10 and apart.alike >= 0.999 * apart.count
        labels = expected if isinstance(expected, np.ndarray) else expected.labels
        assert len(np.unique(labels)) > 1
