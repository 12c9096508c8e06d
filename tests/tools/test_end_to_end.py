"""Does the table of whole detectors time what it says?"""

from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper

from tests.helpers.commands import TOOLS

BACKBONES = ('msmlp', 'swin', 'convnext')


@pytest.fixture(autouse=True)
def tools_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))


class Clock:
    """Stands still but where something takes its time."""

    now = 0.0

    def takes(self, seconds):
        self.now += seconds


class Slow(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, clock, forward, backward):
        clock.takes(forward)
        ctx.later = clock, backward
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        clock, seconds = ctx.later
        clock.takes(seconds)
        return grad, None, None, None


class Backbone(torch.nn.Module):
    """Two outputs; 3 s to each forward, 5 s to each backward."""

    def __init__(self, clock):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.clock = clock

    def forward(self, x):
        first = Slow.apply(x * self.weight, self.clock, 3, 5)
        return first, Slow.apply(first, self.clock, 3, 5)


class Detector(torch.nn.Module):
    """A head of 7 s forward and 11 s backward on each output, then 2 s for a step."""

    def __init__(self, clock):
        super().__init__()
        self.backbone, self.clock = Backbone(clock), clock

    def loss(self, batch):
        return sum(
            Slow.apply(y, self.clock, 7, 11).sum()
            for y in self.backbone(batch['inputs'])
        )

    def train_step(self, batch, optimizer):
        optimizer.update_params(self.loss(batch))
        self.clock.takes(2)

    test_step = loss


class Loader:
    def __init__(self, clock):
        self.clock = clock

    def __iter__(self):
        for _ in range(2):  # two batches an epoch
            self.clock.takes(8)
            yield dict(inputs=torch.ones(4, 3))


@pytest.mark.parametrize(
    ('training', 'backbone', 'outside'),
    [(True, 2 * 3 + 2 * 5, 2 * 7 + 2 * 11 + 2), (False, 2 * 3, 2 * 7)],
)
def test_a_step_is_cut_into_loading_backbone_and_the_rest(
    monkeypatch, training, backbone, outside
):
    from benchmarks import end_to_end

    clock = Clock()
    monkeypatch.setattr(
        end_to_end, 'time', SimpleNamespace(perf_counter=lambda: clock.now)
    )
    model = Detector(clock).train(training)
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    trial = end_to_end.Trial(model, Loader(clock), optimizer)
    for _ in range(3):
        trial()
    total = 8 + backbone + outside
    parts = dict(total=total, loading=8, backbone=backbone, images=4)
    assert trial.parts == [parts] * 3
    assert (model.backbone.weight.item() != 1) == training
    times = dict.fromkeys(BACKBONES, [total] * 2)
    row = end_to_end.row_of('swin', dict.fromkeys(BACKBONES, trial), times)
    assert row['images_per_s'] == 4 / total and row['ms'] == 1e3 * total
    assert row['loading'] == 8 / total
    assert row['outside'] == pytest.approx(outside / total)
    assert row['over'] == {'swin': 1, 'convnext': 1}


@pytest.mark.full
@pytest.mark.parametrize(
    ('detector', 'backbone', 'section'),
    [
        ('retinanet', 'msmlp', 'training'),
        ('mask-rcnn', 'swin', 'training'),
        ('upernet', 'convnext', 'training'),
        ('upernet', 'msmlp', 'inference'),
    ],
)
def test_real_detectors_run_on_generated_pictures(
    tmp_path, detector, backbone, section
):
    from benchmarks.end_to_end import build_trial, config_of
    from mmmsmlp.demo import make_demo_data

    make_demo_data(tmp_path / 'data', 2, 1, 96, semantic=True)
    cfg = config_of(detector, backbone, tmp_path / 'data', (2, 64, 96))
    for name in ('train_dataloader', 'val_dataloader'):
        cfg[name].update(num_workers=0, persistent_workers=False)
    trial = build_trial(cfg, section)
    seen = []
    trial.model.backbone.register_forward_pre_hook(
        lambda _, inputs: seen.append(tuple(inputs[0].shape))
    )
    batch = 2 if section == 'training' else 1
    images = next(trial.batches)['inputs']
    assert [image.shape for image in images] == [(3, 64, 96)] * batch
    trial()
    assert seen == [(batch, 3, 64, 96)]  # mmseg would pad it to the config's size
    (parts,) = trial.parts
    assert parts['images'] == batch
    assert parts['loading'] > 0 and parts['backbone'] > 0
    assert parts['loading'] + parts['backbone'] < parts['total']
    wanted = dict(msmlp='MSMLP', swin='SwinTransformer', convnext='ConvNeXt')
    assert type(trial.model.backbone).__name__ == wanted[backbone]
