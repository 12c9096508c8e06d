"""The formats and precisions of an export, on one small classifier, and refusals."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from mmmsmlp.deploy import export as module
from mmmsmlp.deploy import load
from mmmsmlp.deploy.compare import HALF, Tolerance, distance
from mmmsmlp.deploy.export import check_packages, export
from mmmsmlp.deploy.graph import graph_of
from mmmsmlp.deploy.graph.api import _finds_boxes_alone
from mmmsmlp.deploy.graph.dense import why_not_dense
from mmmsmlp.deploy.reference import Reference
from mmmsmlp.deploy.runtime import Classes
from mmmsmlp.errors import BadInput
from mmmsmlp.run.exported import pipeline_of
from tests.helpers.commands import ROOT
from tests.helpers.exports import built, pictures, small
from tests.helpers.features import needs

CONFIG = 'msmlp_t_300e'


@pytest.fixture(scope='module')
def classifier(tmp_path_factory):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    folder = tmp_path_factory.mktemp('formats')
    cfg = small(CONFIG)
    files = pictures(folder, [(64, 96), (90, 60), (101, 67), (77, 80)])
    return cfg, built(cfg), files


def exported(classifier, file, **options):
    cfg, model, files = classifier
    names = dict(classes=[*'abcd'])
    export(
        model,
        pipeline_of(cfg, None),
        'mmpretrain',
        str(file),
        files,
        names,
        {},
        **options,
    )
    return load(file), Reference(model, pipeline_of(cfg, None), 'mmpretrain'), files


def apart(results, tolerance):
    deployed, reference, files = results
    total = [distance(deployed(file), reference(file), tolerance) for file in files]
    assert all(one.within(tolerance) for one in total)
    return max(one.score for one in total)


@needs('whole_graph')
@pytest.mark.full
def test_half_and_int8_are_smaller_and_near(classifier, tmp_path):
    full, half, eight = (tmp_path / f'{n}.onnx' for n in ('full', 'half', 'eight'))
    assert apart(exported(classifier, full), Tolerance()) < 1e-5
    results = exported(classifier, half, half=True)
    assert apart(results, HALF) > 1e-7  # the weights are others
    assert results[0].metadata.precision == 'float16'
    assert 'half weights near PyTorch' in results[0].metadata.summary('x')[1]
    assert os.path.getsize(half) < 0.75 * os.path.getsize(full)
    results = exported(classifier, eight, int8=os.path.dirname(classifier[2][0]))
    assert apart(results, Tolerance(score=0.1)) > 1e-5
    assert results[0].metadata.precision == 'int8'
    assert results[0].metadata.verified['int8']['count'] == 4
    names = {
        node.op_type for node in pytest.importorskip('onnx').load(eight).graph.node
    }
    assert 'QuantizeLinear' in names or 'DequantizeLinear' in names


@needs('whole_graph')
@pytest.mark.full
def test_a_program_of_pytorch(classifier, tmp_path):
    results = exported(classifier, tmp_path / 'model.pt2')
    assert results[0].runtime == 'torch' and results[0].classes == [*'abcd']
    assert apart(results, Tolerance()) < 1e-5


@needs('whole_graph')
@pytest.mark.full
def test_openvino_reads_both_of_its_formats(tmp_path):
    """In a process of its own: in one with it, PyTorch ends in a fault later on."""
    if find_spec('openvino') is None:
        pytest.skip('needs openvino')
    code = (
        f'from tests.deploy.test_formats import try_openvino as t; t({str(tmp_path)!r})'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith('both are equal\n')


def try_openvino(folder):
    cfg = small(CONFIG)
    files = pictures(Path(folder), [(64, 96), (90, 60)])
    classifier = cfg, built(cfg), files
    results = exported(classifier, Path(folder, 'model.xml'))
    assert results[0].runtime == 'openvino' and results[0].classes == [*'abcd']
    assert apart(results, Tolerance()) < 1e-4
    _, reference, files = exported(classifier, Path(folder, 'model.onnx'))
    deployed = load(Path(folder, 'model.onnx'), 'openvino', threads=1)
    assert apart((deployed, reference, files), Tolerance()) < 1e-4
    print('both are equal')


@needs('whole_graph')
@pytest.mark.full
def test_a_file_that_is_not_equal_does_not_exist(classifier, tmp_path, monkeypatch):
    def other(self, file, threshold=None):
        return Classes(np.array([0.7, 0.1, 0.1, 0.1]), 0)

    monkeypatch.setattr(Reference, '__call__', other)
    with pytest.raises(BadInput, match='0 of 4 results are .*no file was written'):
        exported(classifier, tmp_path / 'model.onnx')
    assert list(tmp_path.iterdir()) == []


def test_windows_ask_for_a_shape():
    cfg = small('swin_t_300e', 'SwinTransformer')
    with pytest.raises(BadInput, match='SwinTransformer attends in windows.*--shape'):
        export(built(cfg), pipeline_of(cfg, None), 'mmpretrain', 'x.onnx', [], {}, {})


def test_packages_and_pytorch_that_are_missing_are_named(monkeypatch):
    monkeypatch.setattr(torch, '__version__', '2.1.2')
    with pytest.raises(BadInput, match='needs PyTorch 2.6 or newer, and this is 2.1.2'):
        check_packages('onnx')
    monkeypatch.setattr(torch, '__version__', '2.11.0')
    monkeypatch.setattr(module.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(BadInput, match='pip install onnx onnxscript openvino$'):
        check_packages('openvino')
    with pytest.raises(BadInput, match='onnxscript openvino onnxruntime$'):
        check_packages('openvino', int8=True)


def refused(config, change, match):
    cfg = small(config)
    change(cfg.model)
    with pytest.raises(BadInput, match=match):
        graph_of(built(cfg), cfg.default_scope)


def test_what_has_no_graph_is_named():
    def soft(model):
        model.test_cfg.nms = dict(type='soft_nms', iou_threshold=0.5)

    def slide(model):
        model.test_cfg = dict(mode='slide', crop_size=(64, 64), stride=(32, 32))

    def one_size(model):
        model.data_preprocessor.test_cfg = dict(size=(64, 64))

    def all_boxes(model):
        model.test_cfg.nms_pre = -1

    def offset(model):
        model.test_cfg.nms.offset = 1

    def many_labels(model):
        model.head = dict(type='MultiLabelLinearClsHead', num_classes=4, in_channels=80)

    refused('retinanet_msmlp_t_1x', offset, 'its nms has offset, which')
    refused('msmlp_t_300e', many_labels, 'with MultiLabelLinearClsHead as its head')
    refused('retinanet_msmlp_t_1x', all_boxes, 'nms_pre must be the number of boxes')
    refused('retinanet_msmlp_t_1x', soft, "RetinaHead .*suppression is 'soft_nms'")
    refused('demo/upernet_msmlp_demo', slide, "mode='slide'.*mode=whole")
    refused('demo/upernet_msmlp_demo', one_size, r'test_cfg.size=\(64, 64\)')


def test_proposals_are_an_rpns_and_panoptic_maps_are_not_dropped():
    from mmdet.models import FasterRCNN, TwoStagePanopticSegmentor

    head = built(small('retinanet_msmlp_t_1x')).bbox_head
    assert why_not_dense(head, proposals=False) == ''
    assert why_not_dense(head, proposals=True) == 'RetinaHead is no RPN'
    for kind, fits in (FasterRCNN, True), (TwoStagePanopticSegmentor, False):
        model = kind.__new__(kind)
        torch.nn.Module.__init__(model)
        model.rpn_head = torch.nn.Identity()
        assert _finds_boxes_alone(model) is fits


@pytest.mark.parametrize(
    ('shape', 'kinds'),
    [
        ((64, 64), ['LoadImageFromFile', 'ResizeEdge', 'CenterCrop', 'PackInputs']),
        ((64, 80), ['LoadImageFromFile', 'Resize', 'PackInputs']),
    ],
)
def test_a_crop_to_the_shape_stays(shape, kinds):
    pipeline = pipeline_of(small('swin_t_300e', 'SwinTransformer'), shape)
    assert [table['type'].rpartition('.')[2] for table in pipeline] == kinds


def test_a_folder_without_pictures_to_quantise_with_is_refused_at_once(tmp_path):
    cfg = small(CONFIG)
    with pytest.raises(BadInput, match='there is no image at'):
        export(
            built(cfg), pipeline_of(cfg, None), 'mmpretrain', 'x.onnx', [], {}, {},
            int8=str(tmp_path),
        )  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize('config', ['dino_msmlp_t_12e', 'mask2former_msmlp_t_50e'])
def test_other_detectors_are_refused(config):
    from mmengine.registry import MODELS, init_default_scope

    from mmmsmlp.configs import get_config

    cfg = get_config(f'heads/{config}')
    init_default_scope('mmdet')
    cfg.model.backbone.arch = dict(
        embed_dims=96, depths=[1] * 4, mix_sizes=[[1, 1, 3, 3, 3]] * 4
    )
    with pytest.raises(BadInput, match='has no export: detectors with one dense head'):
        graph_of(MODELS.build(cfg.model), 'mmdet')
