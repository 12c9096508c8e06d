"""bfloat16 on a CPU, and accumulated gradients with the rate that they need."""

import copy

import pytest
import torch
from mmengine.registry import DefaultScope

from mmmsmlp.configs import get_config
from mmmsmlp.engine.optim import CPUAmpOptimWrapper
from mmmsmlp.errors import BadInput
from mmmsmlp.run import bfloat16, switches
from tests.helpers.split_gradients import small


def build(name):
    torch.manual_seed(0)
    return small(name)[1]


def losses_of(model):
    from mmdet.testing import demo_mm_inputs

    packed = demo_mm_inputs(2, [[3, 96, 128]] * 2, with_mask=True, num_classes=4)
    data = model.data_preprocessor(packed, training=True)
    torch.manual_seed(1)  # for the samplers of regions
    with DefaultScope.overwrite_default_scope('mmdet'):
        return model.parse_losses(model(**data, mode='loss'))


@pytest.mark.full
@pytest.mark.parametrize('name', ['retinanet_msmlp_t_1x', 'mask-rcnn_msmlp_t_1x'])
def test_bfloat16_on_a_cpu_computes_nearly_the_same(name):
    model = build(name)
    full, _ = losses_of(model)
    full.backward()
    expected = {n: p.grad.clone() for n, p in model.backbone.named_parameters()}
    model.zero_grad()
    wrapper = CPUAmpOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0))
    inside, between = [], []
    conv = model.neck.lateral_convs[0].conv
    conv.register_forward_hook(lambda _, args, out: inside.append(out.dtype))
    model.neck.register_forward_hook(lambda _, args, out: between.append(out[0].dtype))
    with wrapper.optim_context(model):
        half, log = losses_of(model)
    half.backward()
    assert inside == [torch.bfloat16]
    assert between == [torch.float32]
    assert {loss.dtype for loss in log.values()} == {torch.float32}
    assert half.item() == pytest.approx(full.item(), rel=0.05)
    if 'retinanet' in name:  # elsewhere other regions may be drawn
        for key, parameter in model.backbone.named_parameters():
            assert parameter.grad.dtype == torch.float32
            similar = torch.cosine_similarity(
                parameter.grad.flatten(), expected[key].flatten(), dim=0
            )
            assert similar > 0.98, key
    # Nothing stays changed after the step.
    inside.clear()
    losses_of(model)
    assert inside == [torch.float32]


def test_the_heads_of_a_segmentor_compute_in_bfloat16_too():
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    model = build('upernet_msmlp_t_160k')
    inside = {}
    for name in ('decode_head', 'auxiliary_head'):
        getattr(model, name).conv_seg.register_forward_hook(
            lambda _, args, out, name=name: inside.update({name: out.dtype})
        )
    sample = SegDataSample(metainfo=dict(img_shape=(64, 64)))
    sample.gt_sem_seg = PixelData(data=torch.randint(0, 150, (1, 64, 64)))
    wrapper = CPUAmpOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.0))
    with wrapper.optim_context(model):
        losses = model.loss(torch.randn(1, 3, 64, 64), [sample])
    assert inside == dict.fromkeys(('decode_head', 'auxiliary_head'), torch.bfloat16)
    assert losses['decode.loss_ce'].dtype == torch.float32


@pytest.mark.full
@pytest.mark.skipif(torch.cuda.is_available(), reason='a GPU takes fp16')
def test_amp_trains_here_by_bfloat16(run_tool, tiny_config, tmp_path):
    # On a map of 1x1, oneDNN's bfloat16 gradient of a convolution is now and then NaN.
    size = 'train_dataloader.dataset.pipeline.2.scale=(160,160)'
    code, out, err = run_tool(
        *('train.py', tiny_config, '--amp', '--work-dir', 'run', '--cfg-options', size)
    )
    assert code == 0, err
    saved = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=True)
    kinds = {t.dtype for t in saved['state_dict'].values() if t.is_floating_point()}
    assert kinds == {torch.float32}
    assert 'CPUAmpOptimWrapper' in saved['meta']['cfg']


def test_accumulated_batches_count_for_the_rate():
    cfg = get_config('retinanet_msmlp_t_1x')
    assert switches.use_auto_scale_lr(copy.deepcopy(cfg)) is None
    cfg.optim_wrapper.accumulative_counts = 4
    assert '4 batches' in switches.use_auto_scale_lr(cfg)
    # 1 process x 2 images x 4 batches is half of 16: half the rate
    assert (
        1 * cfg.train_dataloader.batch_size / cfg.auto_scale_lr.base_batch_size == 0.5
    )


@pytest.mark.full
def test_the_logged_rate_is_the_scaled_one(run_tool, tiny_config):
    options = ['optim_wrapper.accumulative_counts=4', 'optim_wrapper.optimizer.lr=1e-3']
    code, out, err = run_tool(
        'train.py', tiny_config, '--auto-scale-lr', '--cfg-options', *options
    )
    assert code == 0, err
    assert 'lr: 2.5000e-04' in out + err  # 1 image x 4 of 16


def test_a_wrapper_without_a_mixed_form():
    cfg = get_config('retinanet_msmlp_t_1x')
    cfg.optim_wrapper.type = 'OptimWrapperDict'
    with pytest.raises(BadInput, match='OptimWrapperDict'):
        switches.use_amp(cfg, 'auto')


def test_slow_bfloat16_is_told_with_its_factor(monkeypatch, recwarn):
    monkeypatch.setattr(switches, 'get_device', lambda: 'cpu')
    cfg = get_config('retinanet_msmlp_t_1x')
    monkeypatch.setattr(bfloat16, 'measure_factor', lambda: 1.1)
    switches.use_amp(copy.deepcopy(cfg), 'bf16')
    assert not [w for w in recwarn if 'bfloat16' in str(w.message)]
    monkeypatch.setattr(bfloat16, 'measure_factor', lambda: 11.26)
    with pytest.warns(
        UserWarning, match=r'takes 11\.3 times as long .* Leave --amp out'
    ):
        switches.use_amp(copy.deepcopy(cfg), 'auto')


def test_the_factor_is_that_of_the_times(monkeypatch):
    took = {'lowered': 3.0, 'step': 2.0}
    monkeypatch.setattr(bfloat16, '_seconds', lambda call: took[call.__name__])
    before = torch.random.get_rng_state()
    assert bfloat16.measure_factor() == 1.5
    assert torch.equal(torch.random.get_rng_state(), before)
