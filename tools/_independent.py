"""A second computation of a backbone, by code that its forward pass does not share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from unittest.mock import patch

from torch import Tensor, nn

from benchmarks.baselines.focal_reference import focal_reference
from mmmsmlp.errors import BadInput
from mmmsmlp.models.msmlp import MixShift
from mmmsmlp.models.pyramid import PyramidBackbone, Stage
from mmmsmlp.models.swin import PatchMerging, WindowAttention
from mmmsmlp.ops import mix_shift, use_backend

Forward = Callable[[Tensor], Tensor]
ORDERS = ('mix_shift', 'shift_mix')  # by the code in the mark


@contextmanager
def independent(net: PyramidBackbone) -> Iterator[PyramidBackbone]:
    """Let ``net`` compute by other code, from its parameters and its mark.

    Mix-shift runs on the reference backend, in the order and with the distances of
    the mark; Swin's windows and merging are torchvision's; Focal's attention is
    formulated as in its release; every other layer is called by itself, with nothing
    fused.

    Raises:
        ValueError: In the forward pass, at a size where torchvision's Swin is another
            function, see :func:`check_shift`.
    """
    with ExitStack() as stack:
        stack.enter_context(use_backend('reference'))
        stack.enter_context(focal_reference(net))
        for module, forward in replacements(net):
            stack.enter_context(patch.object(module, 'forward', forward))
        for module in net.modules():
            if not list(module.children()):
                # A layer with a hook must really be called.
                stack.enter_context(module.register_forward_hook(lambda *_: None))
        yield net


def replacements(net: PyramidBackbone) -> Iterator[tuple[nn.Module, Forward]]:
    """The layers that other code takes the place of, and that code."""
    for module in net.modules():
        if isinstance(module, MixShift):
            yield module, mix_shift_of(module, net.geometry)
        elif isinstance(module, PatchMerging):
            yield module, merging_of(module)
        elif isinstance(module, Stage):
            for index, block in enumerate(module.blocks):
                if isinstance(getattr(block, 'attn', None), WindowAttention):
                    yield block.attn, windows_of(block.attn, shifted=index % 2 == 1)


def mix_shift_of(mix: MixShift, mark: Tensor) -> Forward:
    """Mix-shift as the mark says: its code, then one distance a group."""
    code, *distances = mark.tolist()
    branches = [
        [getattr(conv, name) for conv in convs]
        for convs in (mix.horizontal, mix.vertical)
        for name in ('weight', 'bias')
    ]
    return lambda x: mix_shift(x, *branches, distances, ORDERS[code])


def windows_of(attn: WindowAttention, shifted: bool) -> Forward:
    """torchvision's attention in (shifted) windows with the parameters of ``attn``."""
    size, shift = attn.window_size, attn.window_size // 2 if shifted else 0
    theirs = torchvision_swin().ShiftedWindowAttention(
        attn.qkv.in_features, [size] * 2, [shift] * 2, attn.num_heads
    )
    adopt(theirs, attn)

    def forward(x: Tensor) -> Tensor:
        if shifted:
            check_shift(x.shape[1:3], size)
        return theirs(x)

    return forward


def check_shift(shape: tuple[int, int], size: int) -> None:
    """Refuse maps of which one axis alone is a single window (C10).

    torchvision does not shift along such an axis, Swin's own code and ours along both
    or none.
    """
    single = [side <= size for side in shape]
    if single[0] != single[1]:
        raise ValueError(
            f'a map of {shape[0]}x{shape[1]} tokens is a single window of {size} along '
            'one axis alone, which torchvision does not shift; choose an image size '
            'with several windows, or one, along both axes'
        )


def merging_of(merging: PatchMerging) -> Forward:
    """torchvision's patch merging with the parameters of ``merging``."""
    theirs = torchvision_swin().PatchMerging(merging.norm.normalized_shape[0] // 4)
    adopt(theirs, merging)
    return lambda x: theirs(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def torchvision_swin():
    """torchvision's module; BadInput where there is none."""
    try:
        return import_module('torchvision.models.swin_transformer')
    except ImportError as error:
        raise BadInput(
            "--verify compares Swin's windows with torchvision's, which is not "
            'installed (pip install torchvision); leave --verify out, or install it'
        ) from error


def adopt(theirs: nn.Module, ours: nn.Module) -> None:
    """Give a module of torchvision's, which has the same names, our parameters."""
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    if {*missing, *unexpected} - {'relative_position_index'}:
        raise ValueError(f'torchvision has other names: {missing}, {unexpected}')
    theirs.to(next(ours.parameters()).device).eval()
