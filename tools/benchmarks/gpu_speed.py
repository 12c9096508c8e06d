"""``gpu_check``: speed and memory beside the peers, CUDA graphs and torch.compile."""

from collections.abc import Callable, Iterator
from statistics import median

import torch
from torch import Tensor, nn

from .backbones import time_backbones, weigh_backbones
from .gpu_scale import Scale, finding, worst_error
from .models import Subject
from .operators import time_operator
from .run import build_models
from .timing import interleave

MODELS = ('msmlp', 'swin', 'convnext', 'resnet50')
COPY_BAR = 0.6  # of the bandwidth of a copy, at stage 1
# How many times as fast as each peer MS-MLP-T shall be.
BARS = {
    'inference': {'swin': 1.6, 'convnext': 1.3},
    'training': {'swin': 1.0, 'convnext': 1.0},
}
SAME = 2e-2  # of outputs whose products are rounded to bfloat16 in another order


def inference(scale: Scale) -> Iterator[dict]:
    """The operator's share of the copy bandwidth, and whole backbones."""
    settings = scale.settings()
    for row in time_operator('operator forward', settings):
        share = row['copy_share'] if scale.device == 'cuda' else None
        ms = ', '.join(f'{ms:.3f}' for ms in row['stage_ms'])
        if row['key'].startswith('msmlp') and share is not None:
            result = f'{ms} ms by stage; {share:.2f} of a copy (bar {COPY_BAR})'
            yield finding(row['label'], result, share >= COPY_BAR, share, COPY_BAR)
        else:
            yield finding(row['label'], f'{ms} ms by stage')
    subjects, left_out = _subjects(scale)
    yield from left_out
    yield from _beside_peers('inference', subjects, scale)


def training(scale: Scale) -> Iterator[dict]:
    """A training step under autocast beside the peers, and its peak memory."""
    subjects, left_out = _subjects(scale)
    yield from left_out
    yield from _beside_peers('training', subjects, scale)
    for row in weigh_backbones(subjects, scale.settings()):
        what = f'{row["label"]}, peak memory of a step'
        yield finding(what, f'{row["mb"]:.0f} MB', value=row['mb'])


def graphs(scale: Scale) -> Iterator[dict]:
    """Capture of the forward pass in a CUDA graph, and its replay on other images."""
    if scale.device == 'cpu':
        yield finding('CUDA graph', 'left out: there is no GPU')
        return
    net = scale.net().eval().cuda()
    x, others = scale.images(*scale.shape), scale.images(*scale.shape).flip(0)
    with torch.no_grad(), torch.autocast('cuda', scale.dtype, cache_enabled=False):
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                net(x)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = net(x)
        want = net(others)
        x.copy_(others)
        graph.replay()
        error = worst_error(outputs, want)
        yield finding('CUDA graph, outputs', f'{error:.1e}', error <= SAME, error)
        calls = {'eager': lambda: net(x), 'CUDA graph': graph.replay}
        yield from _times(calls, scale)


def compiled(scale: Scale) -> Iterator[dict]:
    """torch.compile of inference, with and without CUDA graphs, and of training.

    A net that nothing has run before: the graphs must find what they need themselves.
    On a CPU the graph is taken and run as it is, for lack of a compiler.
    """
    ways = {
        'torch.compile': {},
        'torch.compile, reduce-overhead': dict(mode='reduce-overhead'),
    }
    if scale.device == 'cpu':
        ways = {'torch.compile, aot_eager': dict(backend='aot_eager')}
    x = scale.images(*scale.shape)
    for name, options in ways.items():
        net = scale.net().eval().to(scale.device)
        fast = torch.compile(net, **options)
        yield from _compare(f'{name}, inference', _forward, net, fast, x, scale)
    name, options = next(iter(ways.items()))
    net = scale.net().to(scale.device)
    fast = torch.compile(net, **options)
    yield from _compare(f'{name}, training', _step, net, fast, x, scale)


def _compare(
    name: str, run: Callable, net: nn.Module, fast: nn.Module, x: Tensor, scale: Scale
) -> Iterator[dict]:
    """A compiled net beside the plain one: numbers, then times."""
    found = [tensor.clone() for tensor in run(fast, x, scale)]
    error = worst_error(found, run(net, x, scale))
    yield finding(f'{name}, numbers', f'{error:.1e}', error <= SAME, error)
    calls = {n: lambda m=m: run(m, x, scale) for n, m in (('eager', net), (name, fast))}
    yield from _times(calls, scale)


def _forward(net: nn.Module, x: Tensor, scale: Scale) -> list[Tensor]:
    with torch.no_grad(), scale.autocast():
        return list(net(x))


def _step(net: nn.Module, x: Tensor, scale: Scale) -> list[Tensor]:
    """Outputs of a training step, and the gradients of the first layer."""
    with scale.autocast():
        outputs = net(x)
    drawn = torch.Generator(x.device).manual_seed(1)
    grads = [
        torch.randn(y.shape, generator=drawn, device=y.device, dtype=y.dtype)
        for y in outputs
    ]
    parameters = list(net.parameters())
    found = torch.autograd.grad(outputs, parameters, grads)
    return [y.detach() for y in outputs] + [found[0]]


def _subjects(scale: Scale) -> tuple[list[Subject], list[dict]]:
    """The models of the comparison that can be imported here; rows on the others."""
    if scale.device == 'cuda':
        torch.backends.cudnn.benchmark = True
    subjects, left_out = [], []
    for key in MODELS:
        try:
            subjects += build_models([key], 't', scale.device)
        except ImportError as error:
            left_out.append(finding(key, f'left out: {error}'))
    return subjects, left_out


def _beside_peers(
    section: str, subjects: list[Subject], scale: Scale
) -> Iterator[dict]:
    """Images a second of every model; MS-MLP's ratios to the peers and their bars."""
    bars = BARS[section]
    for row in time_backbones(section, subjects, scale.settings()):
        speed = f'{row["images_per_s"]:.1f} images/s'
        what = f'{row["label"]}, {section}, {row["shape"]}, {row["layout"]}'
        yield finding(what, speed, value=row['images_per_s'])
        if row['key'] != 'msmlp':
            continue
        for peer, bar in bars.items():
            if peer in row['over']:
                ratio = row['over'][peer]
                ok = ratio >= bar if scale.device == 'cuda' else None
                what = f'{row["label"]}, {section}, times as fast as {peer}'
                yield finding(what, f'{ratio:.2f} (bar {bar})', ok, ratio, bar)


def _times(calls: dict[str, Callable[[], object]], scale: Scale) -> Iterator[dict]:
    """Milliseconds of calls that run in turn."""
    samples = interleave(calls, scale.rounds, scale.device, scale.min_time, 3)
    for name, seconds in samples.items():
        ms = 1e3 * median(seconds)
        yield finding(f'{name}, time', f'{ms:.2f} ms', value=ms)
