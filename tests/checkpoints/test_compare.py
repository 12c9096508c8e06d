"""Filling in part, and what a file of NaN or of another model is told."""

import logging
from math import inf, nan

import pytest
import torch
from mmengine.logging import MMLogger
from torch import nn

from mmmsmlp.checkpoints.compare import non_finite, refuse_non_finite
from mmmsmlp.checkpoints.keys import Found, find_state
from mmmsmlp.checkpoints.load import fill_partly, fill_whole
from mmmsmlp.errors import CheckpointError
from mmmsmlp.run.mends import Loading


def net(classes=2):
    model = nn.Module()
    model.body, model.head = nn.Linear(3, 4), nn.Linear(4, classes)
    return model


@pytest.fixture
def said():
    """What the log was told, with its level."""
    lines = []
    logger = MMLogger.get_instance('compare')
    handler = logging.Handler()
    handler.emit = lambda record: lines.append((record.levelname, record.getMessage()))
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def test_what_fits_is_filled_and_the_rest_is_one_line(said):
    given = dict(net(5).state_dict(), extra=torch.ones(1))
    del given['body.bias']
    model = net()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    fill_partly(model, Found(given, 'state_dict'), 'a.pth')
    after = model.state_dict()
    assert torch.equal(after['body.weight'], given['body.weight'])
    for key in 'body.bias', 'head.weight', 'head.bias':
        assert torch.equal(after[key], before[key])
    assert said == [
        (
            'WARNING',
            'loaded 1/4 tensors of Module from a.pth [layout state_dict]; '
            'missing 1 of 4 tensors: body.bias (4,); another shape for 2: '
            'head.weight is (5, 4) in the file and (2, 4) in the model, '
            'head.bias is (5,) in the file and (2,) in the model; '
            'no place for 1: extra (1,); the rest keeps its initial values',
        )
    ]
    said.clear()
    fill_partly(model, Found(net().state_dict(), 'state_dict'), 'a.pth')
    assert said == [
        ('INFO', 'loaded 4/4 tensors of Module from a.pth [layout state_dict]')
    ]


def test_names_that_fit_with_other_shapes_are_none():
    given = {key: torch.ones(7) for key in net().state_dict()}
    with pytest.raises(CheckpointError, match=r'none of the 4 .* another shape for 4'):
        fill_partly(net(), Found(given, 'state_dict'), 'a.pth')


@pytest.mark.parametrize('fill', [fill_partly, fill_whole])
@pytest.mark.parametrize('value', [nan, inf])
def test_a_file_of_nan_is_refused(fill, value):
    given = net().state_dict()
    given['head.bias'][1] = value
    words = r'a.pth holds NaN or infinity in 1 of 4 tensors: head.bias\. .*diverged'
    with pytest.raises(CheckpointError, match=words):
        fill(net(), Found(given, 'state_dict'), 'a.pth')


def test_what_is_infinite_on_purpose_may_be():
    own = dict(mask=torch.tensor([-inf, 0]), count=torch.tensor(3))
    refuse_non_finite(own, dict(own), 'a.pth')
    with pytest.raises(CheckpointError, match='1 of 1 tensors: mask'):
        refuse_non_finite(dict(mask=torch.zeros(2)), dict(mask=own['mask']), 'a.pth')
    assert non_finite(own) == ['mask'] and non_finite({}) == []


def test_a_resumed_file_is_of_this_very_model(tmp_path):
    file = str(tmp_path / 'a.pth')
    torch.save(dict(state_dict=net(5).state_dict()), file)
    for resumed, words in (
        (file, r'cannot be resumed with this Module: another shape for 2: head.weight '
               r'is \(5, 4\) in the file and \(2, 4\) in the model.*load_from='),
        (None, None),
    ):  # fmt: skip
        loading = Loading(complete=False, resumed=resumed)
        state = loading.load_from_file(file)['state_dict']
        if words:
            with pytest.raises(CheckpointError, match=words):
                loading.load_state_dict(net(), state)
        else:
            loading.load_state_dict(net(), state)


def test_half_of_an_averaged_run_is_told_as_that():
    content = dict(meta={}, ema_state_dict={'module.weight': torch.ones(1)})
    with pytest.raises(CheckpointError, match='ema_state_dict alone is half'):
        find_state(content, 'a.pth')
