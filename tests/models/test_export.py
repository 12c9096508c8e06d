"""MSMLP under compilers, exporters, autocast and functional calls."""

import pytest
import torch
import torch.export

from mmmsmlp import MSMLP, FocalTransformer, MSMLPFocal, MSMLPSwin, SwinTransformer
from tests.helpers.features import needs
from tests.helpers.small_nets import build as build_small
from tests.helpers.table2 import REGIONS

HOSTS = [SwinTransformer, FocalTransformer, MSMLPSwin, MSMLPFocal]

ARCH = dict(embed_dims=24, depths=[1, 1, 1, 1], mix_sizes=REGIONS)


def dynamic_shapes():
    """Of the images: any number of any size."""
    return {'x': dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)}


def build(arch=ARCH):
    torch.manual_seed(0)
    return MSMLP(arch, layer_scale_init_value=1.0).eval()


def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 97, 161), torch.randn(2, 3, 64, 96)


def assert_all_close(actual, expected, atol):
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(torch.as_tensor(a), b, atol=atol, rtol=0)


@needs('whole_graph')
@pytest.mark.full
@pytest.mark.parametrize('order', [(0, 1), (1, 0)])
def test_one_exported_program_serves_every_size(order):
    net, sizes = build(), images()
    program = torch.export.export(
        net, (sizes[order[0]],), dynamic_shapes=dynamic_shapes()
    ).module()
    operators = {str(node.target) for node in program.graph.nodes}
    assert any(target.startswith('mmmsmlp.mix_shift') for target in operators)
    for i in order:
        assert_all_close(program(sizes[i]), net(sizes[i]), 1e-5)


@needs('whole_graph')
@pytest.mark.slow
def test_compile_gives_eagers_numbers_at_two_sizes():
    net = build()
    compiled = torch.compile(net, fullgraph=True)
    with torch.no_grad():
        for x in images():
            assert_all_close(compiled(x), net(x), 1e-5)


@needs('whole_graph')
@pytest.mark.slow
def test_compile_gives_eagers_gradients():
    net, x = build(), images()[1]

    def gradients(function):
        net.zero_grad()
        sum(output.pow(3).mean() for output in function(x)).backward()
        return [parameter.grad.clone() for parameter in net.parameters()]

    compiled = torch.compile(net, fullgraph=True, dynamic=False)
    assert_all_close(gradients(compiled), gradients(net), 1e-5)


@pytest.mark.full
def test_compile_in_pieces_gives_eagers_numbers():
    """An older PyTorch compiles what it understands; without its C++ here."""
    net, x = build(), images()[1]
    assert_all_close(torch.compile(net, backend='aot_eager')(x), net(x), 1e-5)


@needs('whole_graph')
@pytest.mark.slow
def test_onnx_runs_at_two_sizes_without_custom_operators(tmp_path):
    onnx = pytest.importorskip('onnx')
    runtime = pytest.importorskip('onnxruntime')
    pytest.importorskip('onnxscript')
    net, path = build(), tmp_path / 'msmlp.onnx'
    torch.onnx.export(
        net,
        (torch.randn(2, 3, 97, 161),),
        path,
        dynamo=True,
        dynamic_shapes=dynamic_shapes(),
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


@pytest.mark.full
@pytest.mark.parametrize(
    'way', [pytest.param('export', marks=needs('traced_context')), 'fake', 'meta']
)
@pytest.mark.parametrize('backbone', HOSTS)
def test_what_is_traced_leaves_no_tables_of_its_own(backbone, way):
    """Tables are kept by shape: a fake one would come back in every later pass."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    net = build_small(backbone).eval()
    # A size that no other test has, so that its tables are new.
    x = torch.randn(1, 3, 8 * (11 + HOSTS.index(backbone)), 8 * (13 + len(way)))
    with torch.no_grad():
        if way == 'export':
            traced = torch.export.export(net, (x,)).module()(x)
        elif way == 'fake':
            with FakeTensorMode(allow_non_fake_inputs=True) as mode:
                traced = net(mode.from_tensor(x))
        else:
            with torch.device('meta'):
                traced = net(x)
        outputs = net(x)
    assert [type(output) for output in outputs] == [torch.Tensor] * 4
    assert all(output.isfinite().all() for output in outputs)
    assert [y.shape for y in traced] == [y.shape for y in outputs]
    if way != 'fake':
        assert_all_close(traced, outputs, 1e-5)
