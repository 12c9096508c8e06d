"""Is a backbone filled completely or not at all, whatever the file's layout?"""

import re

import pytest
import torch

from mmmsmlp.checkpoints import load_pretrained
from mmmsmlp.errors import CheckpointError, GeometryError
from mmmsmlp.geometry import mark_geometry
from tests.helpers.golden import load_golden

HEAD = {'head.fc.weight': torch.ones(3, 160), 'head.fc.bias': torch.ones(3)}


def backbone_of(state):
    """The state dict of a detector with this backbone."""
    whole = {f'backbone.{key}': value for key, value in state.items()}
    return {**whole, 'neck.weight': torch.ones(2), 'bbox_head.cls.bias': torch.ones(2)}


def under_module(state):
    return {f'module.{key}': value for key, value in state.items()}


LAYOUTS = {
    'bare': lambda s: s,
    'model': lambda s: {'model': s, 'epoch': 3},
    'state_dict': lambda s: {'state_dict': s, 'meta': {}},
    'model_ema': lambda s: {'model_ema': s},
    'state_dict_ema': lambda s: {'state_dict_ema': s},
    'bare > backbone.': backbone_of,
    'state_dict > backbone.': lambda s: {'state_dict': backbone_of(s)},
    'bare > module.': under_module,
    'model > module.': lambda s: {'model': under_module(s)},
    'state_dict > module. > backbone.': lambda s: {
        'state_dict': under_module(backbone_of(s))
    },
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_every_layout(tiny, same_weights, layout):
    source, target = tiny.build(), tiny.build()
    lines = []
    file = tiny.save(LAYOUTS[layout](source.state_dict()))
    coverage = load_pretrained(target, file, log=lines.append)
    same_weights(target, source)
    assert coverage.layout == layout and coverage.geometry == 'paper'
    count = len(source.state_dict()) - 1  # without the mark
    assert coverage.total == len(coverage.loaded) == count
    assert coverage.num_parameters == sum(p.numel() for p in source.parameters())
    heads = {'neck': 1, 'bbox_head': 1} if 'backbone.' in layout else {}
    assert coverage.fresh == () and coverage.ignored == heads
    assert lines == [str(coverage)]
    assert lines[0].startswith(f'loaded {count}/{count} tensors (0.4 M parameters)')
    assert f'from {file} [layout {layout}, geometry paper]' in lines[0]


def test_authors_layout(tiny, same_weights):
    source = tiny.build(geometry='released')
    target = tiny.build(geometry='released')
    lines = []
    file = tiny.save({'model': tiny.authors_state(source), 'epoch': 299})
    coverage = load_pretrained(target, file, log=lines.append)
    same_weights(target, source, skip=['norm0', 'norm1', 'norm2'])
    assert coverage.ignored == {'head.fc': 2}
    assert len(coverage.loaded) == coverage.total - 6
    assert lines[0].endswith(
        '[layout model, msmlp keys, geometry released]; fresh: norm0, norm1, norm2; '
        'ignored: head.fc (2)'
    )
    with pytest.raises(GeometryError, match="geometry='released'"):
        load_pretrained(tiny.build(), file)


def test_golden_in_authors_layout(tiny):
    golden = load_golden('msmlp_released_64x64')
    net = tiny.build(arch=golden.arch, geometry='released', out_indices=(3,)).eval()
    coverage = load_pretrained(net, tiny.save({'model': golden.weights}))
    assert len(coverage.loaded) == coverage.total == len(golden.weights) - 2
    with torch.no_grad():
        tokens = net.stages[0](golden.x)
        for stage in net.stages[1:]:
            tokens = stage(tokens)
    torch.testing.assert_close(tokens, golden.stages[3], rtol=1e-4, atol=1e-3)


def test_model_goes_before_its_ema(tiny, same_weights):
    source, ema, target = tiny.build(), tiny.build(), tiny.build()
    file = tiny.save({'model_ema': ema.state_dict(), 'model': source.state_dict()})
    coverage = load_pretrained(target, file)
    same_weights(target, source)
    assert coverage.layout == 'model, not model_ema'


def test_wrappers_within_wrappers(tiny, same_weights):
    source, ema = tiny.build(**tiny.minimal), tiny.build(**tiny.minimal)
    inner = {'model': {'state_dict': source.state_dict(), 'epoch': 3}}
    averaged = {'ema': {'module': ema.state_dict(), 'updates': 9}}
    for content, expected, layout in (
        (inner, source, 'model > state_dict'),
        (averaged, ema, 'ema > module'),
        (dict(averaged, **inner), source, 'model > state_dict, not ema > module'),
        (
            dict(inner, model_ema=ema.state_dict()),
            source,
            'model > state_dict, not model_ema',
        ),
    ):
        target = tiny.build(**tiny.minimal)
        assert load_pretrained(target, tiny.save(content)).layout == layout
        same_weights(target, expected)


def test_an_unknown_wrapper_is_named_with_a_cure(tiny):
    net = tiny.build(**tiny.minimal)
    with pytest.raises(CheckpointError, match=r"torch.load\(FILE\)\['params'\]"):
        load_pretrained(net, tiny.save({'epoch': 3, 'params': net.state_dict()}))


def removable(net):
    return [key for key in net.state_dict() if not re.match(r'norm\d', key)]


def test_lacking_any_tensor(tiny):
    """Every tensor in turn: nothing is loaded, and the message names it."""
    source, target = tiny.build(**tiny.minimal), tiny.build(**tiny.minimal)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    keys = removable(source)
    assert len(keys) == len(before) - 8
    for key in keys:
        state = source.state_dict()
        del state[key]
        file = tiny.save({'state_dict': backbone_of(state)})
        match = 'state no geometry' if key == 'geometry' else re.escape(f'{key} (')
        with pytest.raises(CheckpointError, match=match):
            load_pretrained(target, file)
    for key, value in target.state_dict().items():
        assert torch.equal(value, before[key])


def test_other_shapes(tiny):
    source, target = tiny.build(**tiny.minimal), tiny.build(**tiny.minimal)
    for key in removable(source) + ['norm2.bias']:
        if key == 'geometry':
            continue
        state = source.state_dict()
        state[key] = torch.ones(*state[key].shape, 1)
        with pytest.raises(CheckpointError, match='another shape for 1: ' + key):
            load_pretrained(target, tiny.save(state))


def test_output_norms_may_be_missing_or_unused(tiny, same_weights):
    source = tiny.build()
    state = {k: v for k, v in source.state_dict().items() if not k.startswith('norm1')}
    target = tiny.build()
    coverage = load_pretrained(target, tiny.save(state))
    same_weights(target, source, skip=['norm1'])
    assert coverage.fresh == ('norm1.weight', 'norm1.bias')
    target = tiny.build(out_indices=(0, 1))
    coverage = load_pretrained(target, tiny.save(source.state_dict()))
    assert {'norm2', 'norm3', 'stages.2', 'stages.3'} == set(coverage.ignored)
    own = source.state_dict()
    for key, value in target.state_dict().items():
        assert torch.equal(value, own[key])


@pytest.mark.parametrize(
    'key', ['stages.1.blocks.7.gamma', 'stage0.embed.proj.bias', 'neck.weight', 'fc.w']
)
def test_unknown_tensors(tiny, key):
    state = {**tiny.build().state_dict(), key: torch.ones(2)}
    with pytest.raises(CheckpointError, match=rf'no place for 1: {key} \(2,\)'):
        load_pretrained(tiny.build(), tiny.save(state))


def test_head_is_ignored(tiny):
    state = {**tiny.build().state_dict(), **HEAD}
    assert load_pretrained(tiny.build(), tiny.save(state)).ignored == {'head.fc': 2}


def test_geometry(tiny):
    released = tiny.save(tiny.build(geometry='released').state_dict(), 'released.pth')
    with pytest.raises(GeometryError, match='released.pth.*trained as released'):
        load_pretrained(tiny.build(), released)
    with pytest.raises(GeometryError, match='trained as released'):
        distances = (-1, 0, 1, 2, 3)
        load_pretrained(tiny.build(geometry='released', shift_dist=distances), released)
    state = tiny.build().state_dict()
    del state['geometry']
    unmarked = tiny.save({'model': state}, 'unmarked.pth')
    with pytest.raises(GeometryError, match='mark_geometry'):
        load_pretrained(tiny.build(), unmarked)
    load_pretrained(tiny.build(), tiny.save(mark_geometry(state, 'paper')))


def test_fresh(tiny, same_weights):
    source, target = tiny.build(), tiny.build()
    kept = target.stages[0].embed.proj.weight.clone()
    state = source.state_dict()
    state['stages.0.embed.proj.weight'] = torch.ones(1)  # a host's, of other shape
    del state['stages.0.blocks.0.gamma'], state['stages.2.blocks.1.gamma']
    file = tiny.save(state)
    with pytest.raises(CheckpointError, match=r'missing 1 of \d+ tensors: stages.2'):
        load_pretrained(target, file, fresh=['stages.0'])
    coverage = load_pretrained(target, file, fresh=['stages.0', 'stages.2.blocks.1'])
    same_weights(target, source, skip=['stages.0', 'stages.2.blocks.1'])
    assert torch.equal(target.stages[0].embed.proj.weight, kept)
    assert {key.rpartition('.blocks')[0] for key in coverage.loaded} >= {'stages.3'}
    assert not any(key.startswith('stages.0') for key in coverage.loaded)
    with pytest.raises(ValueError, match="'stages.9', of which the backbone has no"):
        load_pretrained(target, file, fresh=['stages.9'])
    with pytest.raises(ValueError, match="'stages.2.blocks.1.gam'"):
        load_pretrained(target, file, fresh='stages.2.blocks.1.gam')


def test_host_weights_need_no_mark(tiny):
    """Where all mix-shift parts are fresh, the geometry cannot be wrong."""
    source = tiny.build(geometry='released')
    embeds = {k: v for k, v in source.state_dict().items() if '.embed.' in k}
    fresh = [f'stages.{i}.blocks' for i in range(4)]
    target = tiny.build()
    load_pretrained(target, tiny.save(embeds), fresh=fresh)
    assert len(embeds) == 16
    for key, value in embeds.items():
        assert torch.equal(target.state_dict()[key], value)


def test_through_init_cfg(tiny, same_weights):
    source = tiny.build()
    file = tiny.save({'state_dict': backbone_of(source.state_dict())})
    target = tiny.build(init_cfg=dict(type='Pretrained', checkpoint=file))
    target.init_weights()
    same_weights(target, source)
    with pytest.raises(CheckpointError, match='does not exist'):
        tiny.build(
            init_cfg=dict(type='Pretrained', checkpoint=file + 'x')
        ).init_weights()
    with pytest.raises(CheckpointError, match='must be a file, got None'):
        load_pretrained(target, None)


def test_no_state_dict_found(tiny):
    file = tiny.save({'generator': {'w': torch.ones(1)}, 'epoch': 1})
    with pytest.raises(CheckpointError, match='entries are generator, epoch') as error:
        load_pretrained(tiny.build(), file)
    assert file in str(error.value)


def test_other_model(tiny):
    file = tiny.save(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3)).state_dict())
    with pytest.raises(CheckpointError, match='missing .* no place for 2: 0.weight'):
        load_pretrained(tiny.build(), file)
