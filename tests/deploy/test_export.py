"""Exported models against PyTorch: heads by backbones, sizes, batches, threads."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mmmsmlp.deploy import load
from mmmsmlp.deploy.compare import Tolerance, distance
from mmmsmlp.deploy.export import export
from mmmsmlp.deploy.reference import Reference
from mmmsmlp.deploy.resize import prepare, read_picture
from mmmsmlp.run.exported import pipeline_of
from tests.helpers.exports import built, pictures, small
from tests.helpers.features import needs

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')
pytestmark = needs('whole_graph')

# Config and backbone; MSMLPFocal's geometry is the released one.
FIRST = [
    ('mask-rcnn_msmlp_t_1x', 'MSMLPSwin'),
    ('demo/upernet_msmlp_demo', 'MSMLP'),
    ('msmlp_t_300e', 'MSMLP'),
]
OTHERS = [
    ('retinanet_msmlp_t_1x', 'MSMLP'),
    ('retinanet_msmlp_t_1x', 'SwinTransformer'),
    ('retinanet_msmlp_t_1x', 'FocalTransformer'),
    ('retinanet_msmlp_t_1x', 'MSMLPFocal'),
    ('heads/atss_msmlp_t_1x', 'MSMLP'),
    ('heads/rtmdet_msmlp_t_300e', 'MSMLP'),
    ('heads/faster-rcnn_msmlp_t_1x', 'SwinTransformer'),
    ('cascade-mask-rcnn_msmlp_t_1x', 'MSMLP'),
    ('upernet_msmlp_t_160k', 'MSMLPFocal'),
    ('heads/segformer_msmlp_t_160k', 'SwinTransformer'),
    ('heads/deeplabv3plus_msmlp_t_160k', 'MSMLP'),
    ('swin_t_300e', 'SwinTransformer'),
]
PAIRS = [
    pytest.param(pair, id='-'.join(pair), marks=pytest.mark.full) for pair in FIRST
]
PAIRS += [
    pytest.param(pair, id='-'.join(pair), marks=pytest.mark.slow) for pair in OTHERS
]
# Wide, high, odd, smaller and larger than what the models see.
SIZES = [
    (64, 96), (90, 60), (33, 47), (101, 67), (128, 131),
    (48, 200), (150, 50), (77, 77), (64, 64), (31, 95),
]  # fmt: skip


class Exported:
    """A model, the file that it was exported to, and pictures."""

    def __init__(self, pair, folder):
        config, backbone = pair
        self.cfg = small(config, backbone)
        self.model, self.file = built(self.cfg), str(folder / 'model.onnx')
        self.files = pictures(folder, SIZES)
        shape = None if backbone == 'MSMLP' else (64, 96)
        scope, pipeline = self.cfg.default_scope, pipeline_of(self.cfg, shape)
        names = dict(
            classes=['a', 'b', 'c', 'd'], palette=[[i, 0, 0] for i in range(4)]
        )
        self.metadata = export(
            self.model, pipeline, scope, self.file, self.files[:3], names, {}, shape
        )
        self.reference = Reference(self.model, pipeline, scope)
        self.deployed = load(self.file)


@pytest.fixture(scope='module', params=PAIRS)
def exported(request, tmp_path_factory):
    return Exported(request.param, tmp_path_factory.mktemp('exported'))


def test_ten_sizes_are_equal_to_pytorch(exported):
    seen, labels = 0, set()
    for file in exported.files:
        got, expected = exported.deployed(file), exported.reference(file)
        known = exported.metadata
        bounds = (known.thresholds[0] if known.thresholds else 0.0, known.limit)
        apart = distance(got, expected, Tolerance(), *bounds)
        assert apart.alike >= 0.99 * apart.count - 1, file
        assert apart.score < 1e-4 and apart.box < 1e-2
        seen += apart.count
        if isinstance(expected, np.ndarray):
            assert got.shape == read_picture(file).shape[:2]
            labels |= set(np.unique(expected))
        elif hasattr(expected, 'label'):
            labels.add(round(float(expected.scores[0]), 3))
        else:
            labels |= set(expected.labels)
    assert seen >= 10  # something was found, and not one class everywhere
    assert len(labels) > 1


def test_operators_are_of_onnx_alone(exported):
    nodes = onnx.load(exported.file).graph.node
    assert {node.domain for node in nodes} == {''} and len(nodes) > 100


def test_a_batch_gives_what_each_picture_gives_alone(exported):
    scenes = [read_picture(file)[:31, :47] for file in exported.files[:3]]
    steps = exported.metadata.resize
    ready = np.stack([prepare(scene, steps) for scene in scenes])
    together = exported.deployed.run(ready, scenes[0].shape[:2])
    assert len(together) == 3
    for result, scene in zip(together, scenes, strict=True):
        alone = exported.deployed(scene)
        apart = distance(result, alone, Tolerance())
        assert apart.alike >= 0.99 * apart.count


def test_threads_do_not_disturb_each_other(exported):
    alone = [exported.deployed(file) for file in exported.files]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(exported.deployed, exported.files))
    for a, b in zip(alone, together, strict=True):
        apart = distance(a, b, Tolerance(score=1e-5, box=1e-3))
        assert apart.alike == apart.count


def test_thresholds_are_inputs(exported):
    if not exported.metadata.thresholds:
        pytest.skip('for detectors')
    file, model = exported.files[4], exported.deployed
    many = model(file, 0.0)
    best = many.scores.max()
    one = model(file, float(best) - 1e-6)
    none = model(file, 1.0)
    assert len(many) >= len(one) >= 1 and len(none) == 0
    assert none.boxes.shape == (0, 4)
    if none.masks is not None:
        assert none.masks.shape == (0, 128, 131)
        assert many.masks.shape == (len(many), 128, 131)
    # With no overlap allowed boxes of one class are apart.
    apart = model(file, 0.0, 0.0)
    for label in set(apart.labels):
        boxes = apart.boxes[apart.labels == label]
        for i, a in enumerate(boxes):
            for b in boxes[i + 1 :]:
                low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
                assert (high - low).min() <= 1e-3


def test_the_file_says_what_it_is(exported):
    known = exported.deployed.metadata
    assert known.classes == ['a', 'b', 'c', 'd'] and known.palette[1] == [1, 0, 0]
    assert known.verified['pictures'] == 3
    assert known.verified['alike'] >= 0.99 * known.verified['count']
    assert known.versions['torch'] and known.precision == 'float32'
