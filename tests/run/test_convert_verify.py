"""--verify: is a wrong operator, attention or loader caught, in every family?"""

import sys
from types import SimpleNamespace

import pytest
import torch

import _independent
from mmmsmlp import MSMLP, FocalTransformer, MSMLPFocal, MSMLPSwin, SwinTransformer
from mmmsmlp.errors import BadInput, CheckpointError
from mmmsmlp.models import msmlp, swin
from mmmsmlp.models.focal import FocalAttention
from mmmsmlp.models.msmlp import MixShift
from mmmsmlp.models.swin import PatchMerging, WindowAttention
from mmmsmlp.ops import mix_shift
from mmmsmlp.ops.mixshift.dispatch import implementation
from mmmsmlp.run import convert
from tests.helpers import small_nets
from tests.helpers.small_nets import RELEASED, every_backbone

MIXING = MSMLP, MSMLPSwin, MSMLPFocal
SWINS = SwinTransformer, MSMLPSwin
FOCALS = FocalTransformer, MSMLPFocal


def build(backbone, **kwargs):
    if backbone in FOCALS:  # its weights tell it from Swin by the pooled windows
        arch = small_nets.SETTINGS[backbone]['arch']
        kwargs['arch'] = dict(arch, focal_levels=[2, 2, 2, 2])
    return small_nets.build(backbone, out_indices=(3,), **kwargs).eval()


def verify(backbone, folder, **kwargs):
    """Convert a file of this package's names; return the line of --verify."""
    torch.save(build(backbone, **kwargs).state_dict(), folder / 'src.pth')
    paths = folder / 'src.pth', folder / 'dst.pth'
    return convert.convert_file(*paths, verify=_independent.independent)[-1]


@every_backbone
def test_what_is_right_passes(tmp_path, backbone):
    assert verify(backbone, tmp_path).startswith('verified: features and stages equal')


def test_the_released_geometry_passes(tmp_path):
    line = verify(MSMLP, tmp_path, **RELEASED)
    assert line.startswith('verified: ')


def mix(self, x, distances, order):
    lists = [
        [getattr(conv, name) for conv in convs]
        for convs in (self.horizontal, self.vertical)
        for name in ('weight', 'bias')
    ]
    return mix_shift(x, *lists, distances, order)


def roll_the_other_way(patch):
    def forward(self, x):
        return mix(self, x, [-d for d in self.groups.distances], self.groups.order)

    patch.setattr(MixShift, 'forward', forward)


def take_the_other_order(patch):
    def forward(self, x):
        other = {'mix_shift': 'shift_mix', 'shift_mix': 'mix_shift'}[self.groups.order]
        return mix(self, x, self.groups.distances, other)

    patch.setattr(MixShift, 'forward', forward)


def compute_another_operator(patch):
    backend = implementation('eager')
    right = backend.forward
    patch.setattr(backend, 'forward', lambda x, *args: right(x.flip(2), *args).flip(2))


def swap_the_windows_table(patch):
    right = WindowAttention.bias
    patch.setattr(WindowAttention, 'bias', lambda self: right(self).mT)


def forget_the_mask(patch):
    patch.setattr(swin, 'shift_mask', lambda *args: None)


def merge_right_first(patch):
    right = PatchMerging.forward

    def forward(self, x):
        return right(self, x.transpose(2, 3)).transpose(2, 3)

    patch.setattr(PatchMerging, 'forward', forward)


def swap_the_focal_tables(patch):
    right = FocalAttention.bias
    patch.setattr(FocalAttention, 'bias', lambda self: right(self).flip(-1))


def fuse_something_else(patch):
    right = msmlp.channel_mlp

    def wrong(mixed, x, *args):
        return right(mixed, x, *args) + 0.001 * x

    patch.setattr(msmlp, 'channel_mlp', wrong)


def load_something_else(patch):
    right = convert.load_pretrained

    def load(net, file, **kwargs):
        right(net, file, **kwargs)
        with torch.no_grad():
            net.stages[2].embed.norm.bias.add_(0.01)

    patch.setattr(convert, 'load_pretrained', load)


FAULTS = [
    *((backbone, roll_the_other_way) for backbone in MIXING),
    *((backbone, take_the_other_order) for backbone in MIXING),
    *((backbone, compute_another_operator) for backbone in MIXING),
    *((backbone, swap_the_windows_table) for backbone in SWINS),
    *((backbone, forget_the_mask) for backbone in SWINS),
    *((backbone, merge_right_first) for backbone in SWINS),
    *((backbone, swap_the_focal_tables) for backbone in FOCALS),
    *((backbone, fuse_something_else) for backbone in MIXING),
    (MSMLP, load_something_else),
    (FocalTransformer, load_something_else),
]


@pytest.mark.parametrize(
    ('backbone', 'fault'), FAULTS, ids=lambda value: value.__name__
)
def test_what_is_wrong_is_caught(tmp_path, monkeypatch, backbone, fault):
    fault(monkeypatch)
    with pytest.raises(CheckpointError, match='--verify: .* differ'):
        verify(backbone, tmp_path)
    assert not (tmp_path / 'dst.pth').exists()


@pytest.mark.parametrize('window', range(2, 17))
def test_both_images_are_shifted_alike(window):
    """Every map of either image is one window along both axes, or along none (C10)."""
    converted = SimpleNamespace(kwargs=dict(arch=dict(window_size=window)))
    for _, *size in convert._image_sizes(converted):
        for stride in (2, 4, 8, 16, 32):
            shape = tuple(-(-side // stride) for side in size)
            _independent.check_shift(shape, window)


def test_a_map_that_is_a_single_window_along_one_axis_is_refused():
    net = build(SwinTransformer)
    with (
        torch.no_grad(),
        _independent.independent(net),
        pytest.raises(ValueError, match='3x8 tokens .* along one axis alone'),
    ):
        net(torch.randn(1, 3, 24, 64))


@every_backbone
def test_the_backbone_is_itself_afterwards(backbone):
    net, x = build(backbone).eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = net(x)[0]
        with _independent.independent(net):
            inside = net(x)[0]
        assert torch.equal(net(x)[0], before)
    torch.testing.assert_close(inside, before, rtol=1e-4, atol=1e-4)
    for module in net.modules():
        assert 'forward' not in vars(module) and not module._forward_hooks


def test_without_torchvision_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, 'torchvision.models', None)
    monkeypatch.setitem(sys.modules, 'torchvision.models.swin_transformer', None)
    with (
        pytest.raises(BadInput, match='pip install torchvision'),
        _independent.independent(build(SwinTransformer)),
    ):
        pass
