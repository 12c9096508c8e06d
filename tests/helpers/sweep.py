"""Checks that every backbone must pass, whatever it is made of."""

import torch
from torch import nn


def num_parameters(backbone, arch):
    """Parameters of an architecture with a head of 1000 classes."""
    with torch.device('meta'):
        net = backbone(arch, out_indices=(3,))
        head = nn.Linear(net.out_channels[-1], 1000)
    return sum(p.numel() for module in (net, head) for p in module.parameters())


def readout(outputs):
    """A random linear readout: a norm's output has a constant sum of squares."""
    generator = torch.Generator().manual_seed(1)
    return sum((o * torch.randn(o.shape, generator=generator)).sum() for o in outputs)


def check_any_size(net, size):
    """Output i is ceil(size / stride), and every gradient exists and is finite."""
    outputs = net(torch.randn(1, 3, *size))
    assert len(outputs) == len(net.out_indices)
    for i, channels, output in zip(
        net.out_indices, net.out_channels, outputs, strict=True
    ):
        expected = [-(-side // (4 * 2**i)) for side in size]
        assert output.shape == (1, channels, *expected)
        assert output.isfinite().all()
    readout(outputs).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def check_checkpointing(build):
    """Recomputed activations give the same gradients, drop path included."""
    x, grads = torch.randn(2, 3, 48, 64), []
    for with_cp in (False, True):
        net = build(with_cp=with_cp, drop_path_rate=0.3)
        torch.manual_seed(1)
        readout(net(x)).backward()
        grads.append([p.grad for p in net.parameters()])
    for plain, checkpointed in zip(*grads, strict=True):
        torch.testing.assert_close(plain, checkpointed)


def check_no_unused(net):
    """Every parameter has a part in the outputs, so DDP needs no search."""
    readout(net(torch.randn(1, 3, 64, 64))).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def drop_rates(net):
    """The drop-path rate of each block, in order."""
    stages = ([net.stage0] if net.stage0 is not None else []) + [*net.stages]
    return [
        getattr(block.drop_path, 'drop_prob', 0.0)
        for stage in stages
        for block in stage.blocks
    ]
