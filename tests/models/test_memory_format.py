"""Maps come out in the memory format of the image, for heads that depend on it."""

from contextlib import nullcontext
from pathlib import Path

import mmdet
import mmseg
import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmmsmlp import MSMLP
from tests.helpers.small_nets import (
    SETTINGS,
    assert_near,
    build,
    every_backbone,
    images,
    layers_of,
    loss_of,
)

FORMATS = {
    'contiguous': torch.contiguous_format,
    'channels_last': torch.channels_last,
}
every_format = pytest.mark.parametrize('name', FORMATS)
MODES = {
    'training': nullcontext,
    'no_grad': torch.no_grad,
    'inference_mode': torch.inference_mode,
    'autocast': lambda: torch.autocast('cpu', torch.bfloat16),
}


def is_in(outputs, name):
    return [o.is_contiguous(memory_format=FORMATS[name]) for o in outputs]


@every_backbone
@every_format
@pytest.mark.parametrize('path', ['plain', 'hooked', 'checkpointed'])
@pytest.mark.parametrize('mode', MODES)
def test_maps_are_in_the_format_of_the_image(backbone, mode, path, name):
    net = build(backbone, with_cp=path == 'checkpointed').train()
    for layer in layers_of(net).values() if path == 'hooked' else ():
        layer.register_forward_hook(lambda *args: None)
    x = images(2, 3, 97, 70).contiguous(memory_format=FORMATS[name])
    with MODES[mode]():
        outputs = net(x)
    assert all(min(output.shape) > 1 for output in outputs)  # or both formats hold
    assert all(is_in(outputs, name))
    other = next(format for format in FORMATS if format != name)
    assert not any(is_in(outputs, other))


@every_backbone
def test_either_format_gives_the_same_numbers(backbone):
    net, results = build(backbone, torch.float64), []
    for memory_format in FORMATS.values():
        x = images(dtype=torch.float64).contiguous(memory_format=memory_format)
        outputs = net(x.requires_grad_())
        leaves = [x, *net.parameters()]
        results.append([*outputs, *torch.autograd.grad(loss_of(outputs), leaves)])
    assert_near(*results, 1e-11)


@every_backbone
@pytest.mark.parametrize('out_indices', [(3,), (0, 2)])
def test_only_some_maps(backbone, out_indices):
    net, x = build(backbone, out_indices=out_indices), images(2, 3, 64, 96)
    for name, memory_format in FORMATS.items():
        assert all(is_in(net(x.contiguous(memory_format=memory_format)), name))


@every_backbone
@every_format
def test_pooled_outputs_are_contiguous_vectors(backbone, name):
    net = build(backbone, gap_before_final_norm=True)
    outputs = net(images().contiguous(memory_format=FORMATS[name]))
    assert all(o.dim() == 2 and o.is_contiguous() for o in outputs)


@every_backbone
@every_format
@pytest.mark.parametrize('size', [(1, 1), (1, 70), (33, 1), (4, 4)])
def test_maps_of_one_row_or_column(backbone, name, size):
    """Where a map is a single token both formats are one, and both are reported."""
    x = images(2, 3, *size).contiguous(memory_format=FORMATS[name])
    outputs = build(backbone)(x)
    assert all(is_in(outputs, name))
    for output in outputs:
        assert output.flatten(2).shape == (2, output.shape[1], output[0, 0].numel())
        if output[0, 0].numel() == 1:
            assert is_in([output], 'contiguous') == is_in([output], 'channels_last')


@every_backbone
def test_an_image_that_is_in_both_formats_gives_contiguous_maps(backbone):
    """Of one channel: heads that depend on a format depend on this one."""
    x = images(2, 1, 40, 72)
    assert is_in([x], 'contiguous') == is_in([x], 'channels_last') == [True]
    assert all(is_in(build(backbone, in_channels=1)(x), 'contiguous'))


@every_backbone
def test_a_crop_gives_contiguous_maps(backbone):
    crop = images(2, 3, 64, 96)[:, :, 3:43, 8:80]
    assert not crop.is_contiguous()
    assert all(is_in(build(backbone)(crop), 'contiguous'))


# ---------------------------------------------------------------- heads

NET = dict(SETTINGS[MSMLP], type='mmmsmlp.MSMLP')
DETECTORS = {
    'VFNet': 'vfnet/vfnet_r50_fpn_1x_coco',
    'RepPoints': 'reppoints/reppoints-moment_r50_fpn_1x_coco',
    'DDOD': 'ddod/ddod_r50_fpn_1x_coco',
    'Guided Anchoring': 'guided_anchoring/ga-retinanet_r50_fpn_1x_coco',
    'Cascade RPN': 'cascade_rpn/cascade-rpn_faster-rcnn_r50-caffe_fpn_1x_coco',
    'CenterNet': 'centernet/centernet_r18_8xb16-crop512-140e_coco',
}
SEGMENTORS = {
    'PSANet': 'psanet/psanet_r50-d8_4xb2-40k_cityscapes-512x1024',
    'DMNet': 'dmnet/dmnet_r50-d8_4xb2-40k_cityscapes-512x1024',
}


def build_model(toolbox, name):
    """A toolbox's own config with a small MSMLP in the place of its ResNet."""
    file = Path(toolbox.__file__).parent / '.mim' / 'configs' / f'{name}.py'
    config = Config.fromfile(file).model
    make_narrow(config)
    widths = MSMLP(**SETTINGS[MSMLP]).out_channels
    config.backbone = NET
    config.pop('pretrained', None)
    if 'neck' in config:
        several = isinstance(config.neck.in_channels, list)
        config.neck.in_channels = widths if several else widths[-1]
    for head in (config.get('decode_head'), config.get('auxiliary_head')):
        if head:
            head.update(in_channels=widths[head.in_index], channels=32)
    init_default_scope(toolbox.__name__)
    torch.manual_seed(0)
    return revert_sync_batchnorm(MODELS.build(config)).train()


def make_narrow(config):
    """32 channels in the place of the customary 256, wherever a config has them."""
    for key, value in config.items():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, dict):
                make_narrow(part)
        if key.endswith('channels') and value == 256:
            config[key] = 32


def check_loss(model, batch):
    batch = model.data_preprocessor(batch, training=True)
    loss, losses = model.parse_losses(model(**batch, mode='loss'))
    assert loss > 0
    assert all(value.isfinite().all() for value in losses.values())
    loss.backward()
    parameters = [*model.backbone.parameters()]
    gradients = [p.grad for p in parameters if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    # A head may leave the norms of some maps out.
    assert sum(bool(gradient.any()) for gradient in gradients) > 0.9 * len(parameters)


@pytest.mark.full
@pytest.mark.parametrize('name', DETECTORS)
def test_a_detector_has_a_loss(name):
    side = 288 if name == 'DDOD' else 128  # its convolutions refuse a map below 3x3
    batch = demo_mm_inputs(2, (3, side, side), num_items=[2, 3])
    check_loss(build_model(mmdet, DETECTORS[name]), batch)


@pytest.mark.full
@pytest.mark.parametrize('name', SEGMENTORS)
def test_a_segmentor_has_a_loss(name):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(19, (2, 1, 128, 128), generator=generator)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    batch = dict(inputs=[*images(2, 3, 128, 128)], data_samples=samples)
    check_loss(build_model(mmseg, SEGMENTORS[name]), batch)


def test_centernet_predicts():
    """It takes views of its maps in inference alone."""
    model = build_model(mmdet, DETECTORS['CenterNet']).eval()
    batch = demo_mm_inputs(2, (3, 128, 128), num_items=[2, 3])
    with torch.no_grad():
        found = model(**model.data_preprocessor(batch), mode='predict')
    assert [len(sample.pred_instances) for sample in found] == [100, 100]
