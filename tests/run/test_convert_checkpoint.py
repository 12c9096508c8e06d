"""tools/convert_checkpoint.py: goldens through it, and every other source."""

import hashlib
import sys

import numpy
import pytest
import torch
from torch import nn

from mmmsmlp import MSMLP, FocalTransformer, MSMLPFocal, MSMLPSwin, SwinTransformer
from mmmsmlp.checkpoints import load_pretrained
from mmmsmlp.checkpoints.convert import HEAD
from mmmsmlp.checkpoints.keys import MSMLP as AUTHORS
from mmmsmlp.errors import GeometryError
from tests.helpers.golden import assert_close, load_golden
from tests.helpers.hosts import official_names
from tests.helpers.table2 import REGIONS
from tests.oracles import plain_forward

TOOL = 'convert_checkpoint.py'
GOLDENS = (
    'msmlp_released_64x64',
    'msmlp_released_96x160',
    'msmlp_paper_96x160',
    'focal_224x224',
    'focal_288x352',
)
SWIN = dict(embed_dims=24, depths=[1, 2, 1, 1], num_heads=[1, 2, 4, 8], window_size=7)


@pytest.fixture
def authors_file(tmp_path, yacs_config, monkeypatch):
    """Writes weights as the authors' training script does; yacs is gone afterwards."""

    def write(weights, **kwargs):
        parameter = nn.Parameter(torch.ones(3))
        optimizer = torch.optim.AdamW([parameter])
        parameter.sum().backward()
        optimizer.step()
        content = dict(
            model=weights,
            optimizer=optimizer.state_dict(),
            lr_scheduler={'base_values': [1e-3]},
            max_accuracy=numpy.float64(82.1),
            epoch=299,
            config=yacs_config(**kwargs),
        )
        torch.save(content, tmp_path / 'src.pth')
        for name in ('yacs', 'yacs.config'):
            monkeypatch.delitem(sys.modules, name)
        return content

    return write


def build(golden, **kwargs):
    """The golden's model, from the golden's own description of it."""
    if 'mix_sizes' in golden.arch:
        kwargs['gap_before_final_norm'] = True
        return MSMLP(golden.arch, out_indices=(3,), **kwargs)
    return FocalTransformer(golden.arch, out_indices=(3,), **kwargs)


def compute(net, file, x):
    """Load the backbone completely; give its stages and the file's logits."""
    coverage = load_pretrained(net, file)
    assert not coverage.fresh and len(coverage.loaded) == coverage.total
    stages = []
    for stage in net.stages:
        stage.register_forward_hook(lambda *args: stages.append(args[-1]))
    head = torch.load(file, weights_only=True)['state_dict']
    with torch.no_grad():
        features = net.eval()(x)[0]
        features = features if features.dim() == 2 else features.mean((2, 3))
        weight, bias = head['head.fc.weight'], head['head.fc.bias']
        return stages, nn.functional.linear(features, weight, bias)


@pytest.mark.parametrize('name', GOLDENS)
def test_golden(run_tool, authors_file, tmp_path, name):
    golden = load_golden(name)
    buffers = {k[7:]: v for k, v in golden.outputs.items() if k.startswith('buffer.')}
    authors_file({**golden.weights, **buffers})
    mixes = name.startswith('msmlp')
    geometry = name.split('_')[1] if mixes else None
    options = ['--geometry', geometry] if geometry == 'paper' else []
    if geometry == 'paper':  # the config in the file says -2..2
        options += ['--shift-dist', *range(5)]
    options += ['--task', 'cls', '--verify']
    code, out, err = run_tool(TOOL, 'src.pth', 'made/dst.pth', *options)
    assert code == 0, err
    assert f'mmmsmlp.{"MSMLP" if mixes else "FocalTransformer"}(arch=' in out
    assert 'verified: logits and stages equal' in out
    net = build(golden, **(dict(geometry=geometry) if mixes else {}))
    stages, logits = compute(net, tmp_path / 'made/dst.pth', golden.x)
    for actual, expected in zip(stages, golden.stages, strict=True):
        assert_close(actual, expected)
    assert_close(logits, golden.outputs['logits'])


@pytest.mark.parametrize('geometry', ['released', 'paper'])
@pytest.mark.parametrize('told_by', ['argument', 'the file'])
def test_other_distances(run_tool, authors_file, tmp_path, geometry, told_by):
    golden = load_golden('msmlp_released_64x64')
    distances = (3, 0, 2, 1, 5) if geometry == 'paper' else (3, 0, -1, -4, 2)
    authors_file(golden.weights, **{'shift_dist': distances} if 'f' in told_by else {})
    given = [] if 'f' in told_by else ['--shift-dist', *distances]
    options = ['--geometry', geometry, '--task', 'cls', *given]
    code, out, err = run_tool(TOOL, 'src.pth', 'dst.pth', *options)
    assert code == 0, err
    assert f'shift_dist={distances}' in out
    net = build(golden, geometry=geometry, shift_dist=distances)
    stages, logits = compute(net, tmp_path / 'dst.pth', golden.x)
    code = ['paper', 'released'].index(geometry)
    weights = AUTHORS.apply(golden.weights)
    mark = torch.tensor([code, *distances])
    plain_stages, plain = plain_forward(dict(weights, geometry=mark), golden.x)
    for actual, expected in zip(stages, plain_stages, strict=True):
        assert_close(actual, expected)
    assert_close(logits, plain)
    assert (logits - golden.outputs['logits']).abs().max() > 0.01


def test_a_released_file_in_a_paper_model_fails_loudly(run_tool, authors_file):
    golden = load_golden('msmlp_released_64x64')
    authors_file(golden.weights)
    assert run_tool(TOOL, 'src.pth', 'dst.pth')[0] == 0
    for file in ('src.pth', 'dst.pth'):
        with pytest.raises(GeometryError) as error:
            load_pretrained(build(golden), file)
        for words in ('released: roll by +s', 'paper: mix', "geometry='released'"):
            assert words in str(error.value)
    weights = torch.load('dst.pth', weights_only=True)['state_dict']
    with pytest.raises(GeometryError):
        nn.ModuleDict(dict(backbone=build(golden))).load_state_dict(weights)


def test_what_the_file_holds(run_tool, authors_file, tmp_path):
    golden = load_golden('msmlp_released_64x64')
    authors_file({**golden.weights, 'head.weight': torch.ones(1000, 192),
                  'head.bias': torch.ones(1000)})  # fmt: skip
    code, out, _ = run_tool(TOOL, 'src.pth', 'backbone.pth')
    assert code == 0 and 'the classifier was left out' in out
    backbone = torch.load('backbone.pth', weights_only=True)
    assert all(key.startswith('backbone.') for key in backbone['state_dict'])
    assert len(backbone['state_dict']) == len(golden.weights) - 2 + 1  # head, mark
    digest = hashlib.sha256((tmp_path / 'src.pth').read_bytes()).hexdigest()
    facts = backbone['meta']['mmmsmlp']
    assert (facts['source'], facts['sha256']) == ('src.pth', digest)
    assert facts['geometry'].startswith('released: roll by +s')
    assert run_tool(TOOL, 'src.pth', 'cls.pth', '--task', 'cls')[0] == 0
    content = torch.load('cls.pth', weights_only=True)
    assert torch.equal(content['state_dict']['head.fc.bias'], torch.ones(1000))
    classes = content['meta']['dataset_meta']['classes']
    assert len(classes) == 1000 and classes[0].startswith('tench')


def test_the_averaged_weights_are_taken_where_they_stand_alone(run_tool):
    weights = load_golden('msmlp_released_64x64').weights
    averaged = {key: tensor + 1 for key, tensor in weights.items()}
    for content, expected, words in (
        (dict(model_ema=averaged), averaged, 'layout model_ema'),
        (dict(model_ema=averaged, model=weights), weights, 'model_ema is in the file'),
    ):
        torch.save(content, 'src.pth')
        code, out, err = run_tool(TOOL, 'src.pth', 'dst.pth')
        assert code == 0 and words in out, err
        state = torch.load('dst.pth', weights_only=True)['state_dict']
        for key, tensor in AUTHORS.apply(expected).items():
            assert key in HEAD or torch.equal(state[f'backbone.{key}'], tensor), key


def test_the_hybrids_take_stages_2_to_4_from_a_host(run_tool, authors_file):
    torch.manual_seed(0)
    source = SwinTransformer(SWIN, out_indices=(3,))
    authors_file(official_names(source.state_dict()))
    code, out, err = run_tool(TOOL, 'src.pth', 'dst.pth', '--verify')
    assert code == 0 and 'mmmsmlp.SwinTransformer(' in out, err
    check_hybrid(MSMLPSwin(dict(SWIN, mix_sizes=REGIONS[0]), patch_size=4), source)
    golden = load_golden('focal_224x224')
    torch.save({'model': golden.weights}, 'src.pth')
    assert run_tool(TOOL, 'src.pth', 'dst.pth', '--family', 'focal')[0] == 0
    source = build(golden)
    load_pretrained(source, 'src.pth')
    arch = dict(golden.arch, mix_sizes=REGIONS[0])
    check_hybrid(MSMLPFocal(arch, patch_size=4), source)


def check_hybrid(hybrid, host):
    coverage = load_pretrained(hybrid, 'dst.pth', fresh=['stages.0'])
    own, given = hybrid.state_dict(), host.state_dict()
    late = [
        key for key in given if key.startswith(('stages.1', 'stages.2', 'stages.3'))
    ]
    assert set(late) <= set(coverage.loaded)
    for key in late:
        assert torch.equal(own[key], given[key]), key


@pytest.mark.full
@pytest.mark.parametrize('kind', [MSMLPSwin, MSMLPFocal])
def test_a_file_of_this_package_keeps_its_mark(run_tool, kind):
    torch.manual_seed(0)
    net = kind('tiny', geometry='released', patch_size=4, out_indices=(3,))
    torch.save(net.state_dict(), 'src.pth')
    code, out, err = run_tool(TOOL, 'src.pth', 'dst.pth', '--verify')
    assert code == 0, err
    assert f"{kind.__name__}(arch='tiny', patch_size=4, geometry='released')" in out
    unmarked = {k: v for k, v in net.state_dict().items() if k != 'geometry'}
    torch.save(unmarked, 'src.pth')
    code, _, err = run_tool(TOOL, 'src.pth', 'none.pth')
    assert code == 2 and '--geometry released or --geometry paper' in err
    assert run_tool(TOOL, 'src.pth', 'dst.pth', '--geometry', 'paper')[0] == 0
    load_pretrained(kind('tiny', patch_size=4), 'dst.pth')


@pytest.mark.full
def test_a_toolboxs_own_classifier(run_tool):
    """mmpretrain's Swin, its head included, gives the same logits here."""
    from mmpretrain.models import ImageClassifier

    torch.manual_seed(0)
    theirs = ImageClassifier(
        backbone=dict(
            type='SwinTransformer',
            arch={key: value for key, value in SWIN.items() if key != 'window_size'},
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=7, in_channels=192),
    )
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, 0.2, 0.2)
    torch.save(dict(meta={}, state_dict=theirs.state_dict()), 'src.pth')
    options = ['--task', 'cls', '--verify']
    code, out, err = run_tool(TOOL, 'src.pth', 'dst.pth', *options)
    assert code == 0, err
    assert 'openmmlab-swin keys' in out and 'no class names: 7 outputs' in out
    x = torch.randn(1, 3, 224, 224)
    _, logits = compute(SwinTransformer(SWIN, out_indices=(3,)), 'dst.pth', x)
    theirs.train(False)
    with torch.no_grad():
        assert_close(logits, theirs(x, mode='tensor'))
