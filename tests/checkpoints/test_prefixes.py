"""Are prefixes that wrap a file's keys stripped, or named?"""

import pytest
import torch
from torch import nn

from mmmsmlp.checkpoints import load, load_pretrained, load_whole
from mmmsmlp.checkpoints.convert import convert_state
from mmmsmlp.errors import CheckpointError, GeometryError


class Detector(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(4, 2)


def under(prefix, state):
    return {prefix + key: tensor for key, tensor in state.items()}


WRAPS = [
    '_orig_mod.',
    'module.',
    'module._orig_mod.',
    '_orig_mod.module.',
    'model.',
    'net.',
    'model.backbone.',
    'model._orig_mod.',
    '_orig_mod.backbone.',
    'backbone._orig_mod.',
    'module.model.net.backbone.',
    'module.module.',
    'encoder.',
    'ema_model.module.',
    '_fsdp_wrapped_module.',
]


@pytest.mark.parametrize('wrap', WRAPS)
@pytest.mark.parametrize('place', ['bare', 'state_dict', 'model'])
def test_a_backbone_behind_known_prefixes(tiny, same_weights, wrap, place):
    source, target = tiny.build(**tiny.minimal), tiny.build(**tiny.minimal)
    state = under(wrap, source.state_dict())
    file = tiny.save(state if place == 'bare' else {place: state, 'epoch': 3})
    coverage = load_pretrained(target, file, log=lambda line: None)
    same_weights(target, source)
    assert coverage.layout == ' > '.join(
        [place, *(f'{p}.' for p in wrap[:-1].split('.'))]
    )
    assert coverage.ignored == {}
    assert convert_state(file).source['layout'] == coverage.layout


def test_the_authors_names_behind_a_prefix(tiny, same_weights):
    kwargs = dict(tiny.minimal, geometry='released')
    source, target = tiny.build(**kwargs), tiny.build(**kwargs)
    state = under('module._orig_mod.', tiny.authors_state(source))
    config = {'MODEL': {'SHIFT_DIST': [0, 1]}}
    coverage = load_pretrained(target, tiny.save({'model': state, 'config': config}))
    same_weights(target, source, skip=['norm0', 'norm1', 'norm2'])
    assert coverage.layout == 'model > module. > _orig_mod., msmlp keys'


def test_a_single_module_was_compiled(tiny, same_weights):
    source, target = tiny.build(**tiny.minimal), tiny.build(**tiny.minimal)
    source.stages[1] = torch.compile(source.stages[1])
    coverage = load_pretrained(target, tiny.save(source.state_dict()))
    assert coverage.layout == 'bare > _orig_mod.'
    source.stages[1] = source.stages[1]._orig_mod
    same_weights(target, source)


def test_what_stands_beside_the_prefix_is_named(tiny, same_weights):
    """Lightning's modules hold losses and averages beside the model."""
    source, target = tiny.build(**tiny.minimal), tiny.build(**tiny.minimal)
    average = under('ema_model.module.', tiny.build(**tiny.minimal).state_dict())
    state = {
        **average,
        **under('model.', Detector(source).state_dict()),
        'criterion.weight': torch.ones(2),
    }
    coverage = load_pretrained(target, tiny.save({'state_dict': state}))
    same_weights(target, source)
    assert coverage.layout == 'state_dict > model. > backbone.'
    counts = {'ema_model': len(average), 'criterion': 1, 'head': 2}
    assert coverage.ignored == counts
    # torch's AveragedModel
    state = {'n_averaged': torch.tensor(3), **under('module.', source.state_dict())}
    assert load_pretrained(target, tiny.save(state)).ignored == {'n_averaged': 1}


def test_the_prefix_of_init_cfg_chooses_one_of_several(tiny, same_weights):
    student, teacher = tiny.build(**tiny.minimal), tiny.build(**tiny.minimal)
    both = {
        **under('student.backbone.', student.state_dict()),
        **under('teacher.backbone.', teacher.state_dict()),
    }
    file = tiny.save({'state_dict': both})

    def filled(file, prefix):
        init_cfg = dict(type='Pretrained', checkpoint=str(file), prefix=prefix)
        target = tiny.build(**tiny.minimal, init_cfg=init_cfg)
        target.init_weights()
        return target

    same_weights(filled(file, 'teacher.backbone.'), teacher)
    same_weights(filled(file, 'student'), student)
    with pytest.raises(CheckpointError, match="prefix='none.'.*'student.', 'teacher.'"):
        filled(file, 'none.')
    alone = tiny.save(student.state_dict())
    same_weights(filled(alone, 'backbone.'), student)
    with pytest.raises(CheckpointError, match="no key starts with prefix='ema.'"):
        filled(alone, 'ema.')
    with pytest.raises(CheckpointError, match="no key starts with prefix='teacher.'"):
        filled(alone, 'teacher.')


@pytest.mark.parametrize('wrap', ['', *WRAPS[:6], '_fsdp_wrapped_module.module.'])
def test_a_whole_model(tiny, same_weights, monkeypatch, wrap):
    lines = []
    monkeypatch.setattr(load, '_log', lines.append)
    source = Detector(tiny.build(**tiny.minimal))
    target = Detector(tiny.build(**tiny.minimal))
    file = tiny.save({'state_dict': under(wrap, source.state_dict())})
    load_whole(target, file)
    same_weights(target, source)
    way = ''.join(f' > {part}.' for part in wrap[:-1].split('.') if part)
    assert len(lines) == 1 and lines[0].endswith(f'[layout state_dict{way}]')


def test_a_whole_model_whose_backbone_was_compiled(tiny, same_weights):
    source = Detector(tiny.build(**tiny.minimal))
    target = Detector(tiny.build(**tiny.minimal))
    state = source.state_dict()
    state = {k.replace('backbone.', 'backbone._orig_mod.'): t for k, t in state.items()}
    load_whole(target, tiny.save(under('module.', state)))
    same_weights(target, source)


def test_names_that_the_model_has_are_no_prefix(tiny, same_weights):
    """A wrapper of another library's model has it under ``model.``."""
    source, target = nn.Module(), nn.Module()
    source.model, target.model = (tiny.build(**tiny.minimal) for _ in range(2))
    load_whole(target, tiny.save(source.state_dict()))
    same_weights(target, source)


@pytest.mark.parametrize('wrap', ['student.', 'model.student.', 'a.b.'])
def test_an_unknown_prefix_is_named(tiny, wrap):
    backbone = tiny.build(**tiny.minimal)
    before = backbone.stages[0].embed.proj.weight.clone()
    state = under(wrap, tiny.build(**tiny.minimal).state_dict())
    del state[wrap + 'geometry']  # so that it could speak of that instead
    file = tiny.save(state)
    for use in (load_pretrained, lambda _, file: convert_state(file)):
        with pytest.raises(CheckpointError) as error:
            use(backbone, file)
        assert not isinstance(error.value, GeometryError)
        assert f"every key stands under '{wrap}'" in str(error.value)
        assert f"k.removeprefix('{wrap}')" in str(error.value)
        assert file in str(error.value)
    assert torch.equal(backbone.stages[0].embed.proj.weight, before)
    detector = Detector(backbone)
    file = tiny.save(under(wrap, detector.state_dict()))
    with pytest.raises(CheckpointError, match=f"every key stands under '{wrap}'"):
        load_whole(detector, file)


def test_two_unknown_prefixes(tiny):
    state = tiny.build(**tiny.minimal).state_dict()
    both = {**under('student.backbone.', state), **under('teacher.backbone.', state)}
    match = "its backbone stands under 'student.', 'teacher.'"
    with pytest.raises(CheckpointError, match=match):
        load_pretrained(tiny.build(**tiny.minimal), tiny.save(both))


def test_a_prefix_without_end(tiny):
    state = under('module.' * 2000, tiny.build(**tiny.minimal).state_dict())
    with pytest.raises(CheckpointError, match="stands under 'module.module"):
        load_pretrained(tiny.build(**tiny.minimal), tiny.save(state))
