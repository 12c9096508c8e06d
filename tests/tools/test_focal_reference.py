"""Is the benchmark's baseline the reference, and does it leave the model alone?"""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from mmmsmlp import FocalTransformer
from tests.helpers.golden import assert_close
from tests.helpers.hosts import FOCAL_GOLDENS as GOLDENS
from tests.helpers.hosts import golden_focal as golden_net

FILE = Path(__file__).parents[2] / 'tools/benchmarks/baselines/focal_reference.py'


@pytest.fixture(scope='module')
def focal_reference():
    spec = importlib.util.spec_from_file_location(FILE.stem, FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.focal_reference


@pytest.mark.parametrize(('name', 'expand_sizes'), GOLDENS)
def test_the_baseline_equals_the_goldens(focal_reference, name, expand_sizes):
    golden, net, head = golden_net(name, expand_sizes)
    x = golden.x.requires_grad_()
    with focal_reference(net):
        logits = nn.functional.linear(net(x)[0].mean((2, 3)), *head)
    logits.double().square().mean().backward()
    assert_close(logits, golden.outputs['logits'])
    assert_close(x.grad, golden.outputs['input_grad'])


def test_the_model_is_itself_again_afterwards(focal_reference):
    net = FocalTransformer('tiny').eval()
    forwards = [block.forward for stage in net.stages for block in stage.blocks]
    with focal_reference(net):
        assert all(
            block.forward != forward
            for block, forward in zip(
                (b for stage in net.stages for b in stage.blocks), forwards, strict=True
            )
        )
    assert forwards == [b.forward for stage in net.stages for b in stage.blocks]
    assert net(torch.randn(1, 3, 32, 32))[0].shape == (1, 96, 8, 8)
