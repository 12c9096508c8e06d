"""python -m mmmsmlp swap: what it prints and writes, and how it refuses."""

import pytest
import torch
from mmengine.config import Config

from mmmsmlp import MSMLP
from mmmsmlp.errors import BadInput
from mmmsmlp.run.weights import use_pretrained
from tests.swap.test_swap import HEAD, SMALL, classifier

TOOL = 'swap.py'


@pytest.mark.full
def test_it_prints_the_changes_and_writes_the_config(run_tool, tmp_path):
    classifier(type='ResNet', depth=18).dump('own.py')
    code, out, err = run_tool(TOOL, 'own.py', '--arch', 'small', '--out', 'new/my.py')
    assert code == 0, err
    lines = out.splitlines()
    assert '- model.head.in_channels=512' in lines
    assert '+ model.head.in_channels=768' in lines
    assert lines[-1].replace('\\', '/') == 'new/my.py'
    cfg = Config.fromfile('new/my.py')
    assert cfg.model.backbone.arch == 'small' and cfg.model.head.in_channels == 768


def test_a_config_that_cannot_be_found_or_fitted(run_tool):
    code, _, err = run_tool(TOOL, 'nothing.py')
    assert code == 2 and 'config nothing.py does not exist' in err
    Config(dict(model=dict(type='X', decode_head=HEAD))).dump('none.py')
    code, _, err = run_tool(TOOL, 'none.py')
    assert code == 2 and 'names no backbone in its model' in err
    assert 'Traceback' not in err and len(err.splitlines()) == 1


def test_weights_for_every_backbone_of_a_model(tmp_path):
    """Such as a tracker's detector, where model.backbone is none."""
    file = str(tmp_path / 'small.pth')
    net = MSMLP(SMALL, geometry='released')
    torch.save({'state_dict': net.state_dict()}, file)
    table = dict(type='mmmsmlp.MSMLP', arch=SMALL)
    model = dict(detector=dict(backbone=table), reid=dict(backbone=dict(type='ResNet')))
    cfg = Config(dict(model=model))
    (line,) = use_pretrained(cfg, file).splitlines()
    assert line.startswith(f'--pretrained: mmmsmlp.MSMLP starts from {file} (released')
    assert cfg.model.detector.backbone.init_cfg.checkpoint == file
    assert cfg.model.detector.backbone.geometry == 'released'
    assert 'init_cfg' not in cfg.model.reid.backbone
    with pytest.raises(BadInput, match='which this config lacks'):
        use_pretrained(Config(dict(model=dict(type='X'))), file)
