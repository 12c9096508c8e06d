"""Every ImageNet config: it builds, and trains and evaluates as the recipe says."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import (
    HOOKS,
    MODELS,
    PARAM_SCHEDULERS,
    TRANSFORMS,
    init_default_scope,
)
from torch import nn

from mmmsmlp.checkpoints import load_whole
from mmmsmlp.run.convert import convert_file
from tests.helpers import recipes
from tests.helpers.golden import assert_close, load_golden
from tests.helpers.recipes import build, by_tier, check_optimizer, load

LEAVES = [name for name in recipes.LEAVES if name.endswith('_300e')]
# Printed in Tables 3-5, in millions; 28.66 is printed as 28, but 28.29 as 29.
PARAMS = {
    'msmlp': (28, 50, 88),
    'swin': (29, 50, 88),
    'msmlp-swin': (29, 50, 88),
    'focal': (29, 52, 90),
    'msmlp-focal': (29, 52, 90),
}
DROP_PATH = dict(t=0.2, s=0.3, b=0.5)
NO_DECAY = ('gamma', 'relative_position_bias_table')


def test_every_family_has_every_size():
    assert (
        sorted(f'{family}_{size}_300e' for family in PARAMS for size in 'tsb') == LEAVES
    )


@pytest.mark.parametrize('name', by_tier(LEAVES))
def test_it_is_the_papers_model(name):
    family, size, _ = name.split('_')
    config, model = build(name)
    assert config.custom_imports['imports'] == ['mmmsmlp']
    counted = sum(p.numel() for p in model.parameters()) / 1e6
    assert abs(counted - PARAMS[family]['tsb'.index(size)]) < 1
    assert max(recipes.drop_rates(model)) == pytest.approx(DROP_PATH[size])
    # MS-MLP averages before its norm (A14); the hosts norm every token first.
    assert model.backbone.gap_before_final_norm == (family == 'msmlp')
    assert model.with_neck == (family != 'msmlp')
    assert model.head.fc.in_features == model.backbone.out_channels[-1]
    assert model.head.fc.out_features == 1000


@pytest.mark.parametrize('family', PARAMS)
def test_the_optimizer_is_the_papers(family):
    config, model = build(f'{family}_t_300e')
    check_optimizer(model, config.optim_wrapper, rate=1e-3, decay=0.05)
    assert config.optim_wrapper.optimizer.betas == (0.9, 0.999)
    assert config.optim_wrapper.clip_grad == dict(max_norm=5.0)  # B1


def test_the_schedule_is_the_papers():
    """Linear from 1e-5 over 20 epochs, then cosine to 1e-5 at epoch 300 (B3)."""
    config = load('msmlp_t_300e')
    assert config.train_cfg == dict(by_epoch=True, max_epochs=300, val_interval=1)
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(1))], lr=1e-3)
    steps = 5  # an epoch
    schedulers = [
        PARAM_SCHEDULERS.build(
            dict(s, optimizer=optimizer, epoch_length=steps), default_args=None
        )
        if not s.get('convert_to_iter_based')
        else PARAM_SCHEDULERS.get(s.type).build_iter_from_epoch(
            optimizer=optimizer,
            epoch_length=steps,
            **{
                k: v for k, v in s.items() if k not in ('type', 'convert_to_iter_based')
            },
        )
        for s in config.param_scheduler
    ]
    rates = []
    for _ in range(300 * steps):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert rates[0] == pytest.approx(1e-5)
    assert rates[10 * steps] == pytest.approx(5.05e-4, rel=0.01)
    assert max(rates) == pytest.approx(1e-3, rel=1e-4)
    assert rates.index(max(rates)) // steps in (19, 20)
    assert rates[160 * steps] == pytest.approx(5.05e-4, rel=0.01)
    assert rates[-1] == pytest.approx(1e-5, rel=1e-3)
    assert rates[20 * steps + 1] < max(rates)  # every step, not every epoch


def test_the_batch_is_1024_and_scales():
    config = load('msmlp_b_300e')
    assert config.auto_scale_lr.base_batch_size == 1024
    assert config.train_dataloader.batch_size * 8 == 1024
    assert config.train_dataloader.sampler.shuffle


def test_the_augmentation_is_the_released_codes():
    """B5: rand-m9-mstd0.5-inc1, erasing 0.25 with noise, MixUp 0.8, CutMix 1.0."""
    config, model = build('msmlp_t_300e')
    steps = {step.type: step for step in config.train_dataloader.dataset.pipeline}
    augment = TRANSFORMS.build(steps['RandAugment'])
    assert (augment.magnitude_level, augment.total_level) == (9, 10)
    assert (augment.magnitude_std, augment.num_policies) == (0.5, 2)
    assert steps['RandAugment'].policies == 'timm_increasing'
    crop, erase = steps['RandomResizedCrop'], steps['RandomErasing']
    assert (crop.scale, crop.interpolation) == (224, 'bicubic')
    assert (erase.erase_prob, erase.mode, erase.max_area_ratio) == (0.25, 'rand', 1 / 3)
    augments = model.data_preprocessor.batch_augments
    kinds = {type(a).__name__: a.alpha for a in augments.augments}
    assert kinds == {'Mixup': 0.8, 'CutMix': 1.0} and augments.probs is None
    loss = model.head.loss_module
    assert (loss.label_smooth_val, loss.mode) == (0.1, 'original')


@pytest.mark.parametrize('size', [(300, 500), (512, 256)])
def test_evaluation_takes_the_centre_of_a_256_pixel_image(size):
    """B6."""
    config = load('swin_t_300e')
    _, *steps = config.test_dataloader.dataset.pipeline  # the first one loads a file
    resize = steps[0]
    assert (resize.backend, resize.interpolation) == ('pillow', 'bicubic')
    height, width = size
    centre = np.zeros((height, width, 3), np.uint8)
    side = min(size) * 224 // 256
    top, left = (height - side) // 2, (width - side) // 2
    centre[top : top + side, left : left + side] = 255
    made = Compose([TRANSFORMS.build(s) for s in steps])(
        dict(img=centre, img_shape=size, ori_shape=size, img_path='x')
    )
    image = made['inputs']
    assert image.shape == (3, 224, 224)
    assert image[:, 2:-2, 2:-2].min() > 250


def test_the_moving_average_is_an_option(tmp_path):
    """A.1; B5, B9: off by default, decay 0.9999."""
    assert 'EMAHook' not in str(load('msmlp_t_300e').get('custom_hooks'))
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(
        f"_base_ = ['{recipes.CONFIGS}/msmlp_t_300e.py', "
        f"'{recipes.CONFIGS}/_base_/ema.py']"
    )
    (hook,) = Config.fromfile(leaf).custom_hooks
    assert hook.type == 'EMAHook' and hook.momentum == pytest.approx(1 - 0.9999)
    HOOKS.build(hook)


def small(name, **backbone):
    """The model of a config with another architecture."""
    model = load(name).model.copy()
    model.backbone = {**model.backbone, **backbone}
    model.head = {**model.head, 'num_classes': 11, 'in_channels': 192}
    return MODELS.build(model)


@pytest.mark.parametrize(
    ('golden', 'name', 'geometry'),
    [
        ('msmlp_released_96x160', 'msmlp_t_300e', 'released'),
        ('msmlp_paper_96x160', 'msmlp_t_300e', 'paper'),
        ('focal_224x224', 'focal_t_300e', None),
        ('focal_288x352', 'focal_t_300e', None),
    ],
)
def test_a_converted_classifier_gives_the_references_logits(
    tmp_path, golden, name, geometry
):
    golden = load_golden(golden)
    torch.save({'model': golden.weights}, tmp_path / 'src.pth')
    file = tmp_path / 'dst.pth'
    convert_file(tmp_path / 'src.pth', file, geometry=geometry, task='cls')
    backbone = dict(geometry=geometry) if geometry else {}
    model = small(name, arch=golden.arch, **backbone)
    load_whole(model, file)
    model.train(False)
    with torch.no_grad():
        assert_close(model(golden.x, mode='tensor'), golden.outputs['logits'])


def test_the_initialisation_is_the_released_codes():
    """A11, A14: gamma 1e-6, linear layers from a normal of 0.02, zero biases."""
    torch.manual_seed(0)
    model = small('msmlp_t_300e', arch=load_golden('msmlp_paper_96x160').arch)
    model.init_weights()
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            std = module.weight.std().item()
            assert std == pytest.approx(0.02, rel=0.2), name
            assert module.weight.abs().max() < 0.12 and not module.bias.any(), name
        elif isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all() and not module.bias.any(), name
        elif isinstance(module, nn.Conv2d):  # PyTorch's own
            bound = module.weight[0].numel() ** -0.5
            assert 0.5 * bound < module.weight.abs().max() <= bound, name
    gammas = [p for name, p in model.named_parameters() if name.endswith('gamma')]
    assert len(gammas) == sum(load_golden('msmlp_paper_96x160').meta['depths'])
    assert all((gamma == 1e-6).all() for gamma in gammas)


def test_training_a_classifier_from_scratch_is_no_mistake(caplog):
    init_default_scope('mmpretrain')
    for name, arch in [('msmlp_t_300e', 'tiny'), ('swin_t_300e', 'tiny')]:
        with torch.device('meta'):
            model = MODELS.build(dict(load(name).model.backbone, arch=arch))
        model.init_weights()
    assert 'RANDOM' not in caplog.text
