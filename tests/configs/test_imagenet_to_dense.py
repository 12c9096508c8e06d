"""From a released checkpoint to every detection and segmentation config."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

import mmmsmlp
from mmmsmlp.checkpoints.keys import MSMLP as AUTHORS
from mmmsmlp.errors import CheckpointError
from mmmsmlp.run import weights
from mmmsmlp.run.config import load_config
from mmmsmlp.run.convert import convert_file
from tests.helpers.hosts import official_names

CONFIGS = Path(__file__).parents[2] / 'configs'
HEADS = ('retinanet', 'mask-rcnn', 'cascade', 'upernet')
LEAVES = [path.stem for path in CONFIGS.glob('*.py') if path.stem.startswith(HEADS)]
# One a family in the default tier; the rest differ in size and head.
QUICK = [f'retinanet_{family}_t_1x' for family in ('msmlp', 'msmlp-focal', 'swin')]
HOSTS = {'swin': 'SwinTransformer', 'focal': 'FocalTransformer'}


def released_names(net):
    """A backbone's weights under the key names of its released checkpoint."""
    state = {key: t for key, t in net.state_dict().items() if key != 'geometry'}
    if not isinstance(net, mmmsmlp.MSMLP):
        renamed = official_names(state)
        return {k.replace('attn.pool', 'pool_layers.0'): t for k, t in renamed.items()}
    renamed = {}
    for key, tensor in official_names(state).items():
        for ours, theirs in (
            ('mix.horizontal', 'dwconv_lr'),
            ('mix.vertical', 'dwconv_td'),
            ('fc1', 'pwconv1'),
            ('fc2', 'pwconv2'),
        ):
            key = key.replace(ours, theirs)
        renamed[key] = tensor
    assert AUTHORS.fits(renamed)
    return renamed


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """``files(class name, size)`` gives a released file and the converted one."""
    folder, made = tmp_path_factory.mktemp('imagenet'), {}

    def make(kind, size):
        if (kind, size) not in made:
            with torch.device('meta'):
                net = getattr(mmmsmlp, kind)(size, out_indices=(3,))
            released = folder / f'{kind}_{size}.pth'
            # Zeros, stored once: the names and shapes are what counts here.
            tensors = {
                key: torch.zeros(()).expand(t.shape)
                for key, t in released_names(net).items()
            }
            tensors['head.weight'] = torch.zeros(1, net.out_channels[-1])
            tensors['head.bias'] = torch.zeros(1)
            torch.save({'model': tensors}, released)
            converted = folder / f'{kind}_{size}_converted.pth'
            convert_file(str(released), str(converted))
            made[kind, size] = str(released), str(converted)
        return made[kind, size]

    return make


@pytest.fixture(scope='module')
def started():
    """Backbones that were started from a checkpoint: heads and schedules share them."""
    return []


@pytest.mark.full
@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in sorted(LEAVES)
    ],
)
def test_a_released_checkpoint_starts_it(files, monkeypatch, tmp_path, started, name):
    _, family, size, *_ = name.split('_')
    cfg = load_config(str(CONFIGS / f'{name}.py'))
    backbone = cfg.default_scope, cfg.model.backbone.to_dict()
    if backbone in started:
        return
    started.append(backbone)
    reports = []
    load = weights.fill_backbone
    monkeypatch.setattr(
        weights,
        'fill_backbone',
        lambda *args, **kwargs: reports.append(load(*args, **kwargs)),
    )
    if not cfg.model.backbone.type.startswith('mmmsmlp.'):
        file = files('SwinTransformer', size)[0]
        if cfg.default_scope == 'mmseg':  # its Swin knows OpenMMLab's layout alone
            init_default_scope('mmseg')
            own = MODELS.build(cfg.model.backbone).state_dict()
            torch.save({'state_dict': own}, tmp_path / 'own.pth')
            file = str(tmp_path / 'own.pth')
        assert 'starts from' in weights.use_pretrained(cfg, file)
        return
    _, _, host = family.rpartition('-')
    kind = HOSTS.get(host, 'MSMLP')
    fresh = ()
    if family.startswith('msmlp-'):
        fresh = ['stage0', 'stages.0']
        cfg.merge_from_dict({'model.backbone.init_cfg.fresh': fresh})
    _, file = files(kind, size)
    line = weights.use_pretrained(cfg, file)
    assert f'starts from {file}' in line
    (coverage,) = reports
    norms = {'norm0.', 'norm1.', 'norm2.'}
    for key in coverage.fresh:
        assert key[:6] in norms or key.startswith(tuple(fresh)), key
    assert len(coverage.loaded) + len(coverage.fresh) == coverage.total
    if kind == 'MSMLP':
        assert cfg.model.backbone.geometry == 'released'
        assert 'geometry released' in str(coverage)


@pytest.mark.full
def test_a_hybrid_says_which_stages_a_host_lacks(files):
    cfg = load_config(str(CONFIGS / 'retinanet_msmlp-swin_t_1x.py'))
    with pytest.raises(CheckpointError, match=r"missing.*stage0.*fresh=\['stages.0'\]"):
        weights.use_pretrained(cfg, files('SwinTransformer', 't')[1])
