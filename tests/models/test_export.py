"""MSMLP under compilers, exporters, autocast and functional calls."""

import pytest
import torch
from torch.export import Dim

from mmmsmlp import MSMLP
from tests.helpers.table2 import REGIONS

ARCH = dict(embed_dims=24, depths=[1, 1, 2, 1], mix_sizes=REGIONS)
DYNAMIC = {'x': {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}}


def build(arch=ARCH):
    torch.manual_seed(0)
    return MSMLP(arch, layer_scale_init_value=1.0).eval()


def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 97, 161), torch.randn(2, 3, 64, 96)


def assert_all_close(actual, expected, atol):
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(torch.as_tensor(a), b, atol=atol, rtol=0)


@pytest.mark.full
@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
def test_one_exported_program_serves_every_size(order):
    net, sizes = build(), images()
    program = torch.export.export(
        net, (sizes[order[0]],), dynamic_shapes=DYNAMIC
    ).module()
    operators = {str(node.target) for node in program.graph.nodes}
    assert any(target.startswith('mmmsmlp.mix_shift') for target in operators)
    for i in order:
        assert_all_close(program(sizes[i]), net(sizes[i]), 1e-5)


@pytest.mark.slow
def test_compile_gives_eagers_numbers_at_two_sizes():
    net = build()
    compiled = torch.compile(net, fullgraph=True)
    with torch.no_grad():
        for x in images():
            assert_all_close(compiled(x), net(x), 1e-5)


@pytest.mark.slow
def test_compile_gives_eagers_gradients():
    net, x = build(), images()[1]

    def gradients(function):
        net.zero_grad()
        sum(output.pow(3).mean() for output in function(x)).backward()
        return [parameter.grad.clone() for parameter in net.parameters()]

    compiled = torch.compile(net, fullgraph=True, dynamic=False)
    assert_all_close(gradients(compiled), gradients(net), 1e-5)


@pytest.mark.slow
def test_onnx_runs_at_two_sizes_without_custom_operators(tmp_path):
    onnx = pytest.importorskip('onnx')
    runtime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    net, path = build('tiny'), tmp_path / 'msmlp_t.onnx'
    torch.onnx.export(
        net,
        (torch.randn(2, 3, 97, 161),),
        path,
        dynamo=True,
        dynamic_shapes=DYNAMIC,
        input_names=['x'],
    )
    assert {node.domain for node in onnx.load(path).graph.node} == {''}
    session = runtime.InferenceSession(path)
    for x in images():
        with torch.no_grad():
            expected = net(x)
        assert_all_close(session.run(None, {'x': x.numpy()}), expected, 1e-4)


def test_a_training_step_under_bfloat16_autocast():
    net, x = build().train(), images()[1]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with torch.autocast('cpu', torch.bfloat16):
        outputs = net(x)
        loss = sum(output.float().pow(3).mean() for output in outputs)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    loss.backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())
    optimizer.step()
    changed = [
        not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True)
    ]
    assert sum(changed) > len(changed) / 2
    with torch.no_grad():
        for a, b in zip(outputs, build()(x), strict=True):
            assert (a - b).abs().max() < 0.1 * b.abs().max()


def test_functional_call_uses_the_given_parameters():
    net, x = build(), images()[1]
    zeros = {
        name: torch.zeros_like(parameter) for name, parameter in net.named_parameters()
    }
    outputs = torch.func.functional_call(net, zeros, (x,))
    assert all(not output.any() for output in outputs)
