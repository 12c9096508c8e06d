"""Measuring a model: what a backbone gives, how far a step of training comes."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import BaseModule, revert_sync_batchnorm
from mmengine.registry import MODELS as ROOT
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from ..errors import one_line
from ..registry import MODELS
from .batch import make_batch
from .places import put, walk

SIZES = 128, 256, 512  # of the image, where a model does not run on a smaller one
IMAGE_SIZES = 128, 224, 256, 512  # some backbones take one size alone
# Of samplers and of non-maximum suppression: how many regions go on.
_REGIONS, FEW = {'num', 'max_per_img', 'nms_pre', 'nms_post'}, 16
_WEIGHTS = {'init_cfg', 'pretrained'}


@dataclass(frozen=True)
class Output:
    """One output of a backbone; stride 0 is a vector (N, C)."""

    channels: int
    stride: int


class CannotMeasure(Exception):
    """Something that cannot be built or run here; the message says what."""


@MODELS.register_module()
class StandIn(BaseModule):
    """In a backbone's place: noise of given widths and strides, and who asks for it."""

    def __init__(
        self, place: str, outputs: Sequence[tuple[int, int]], form: str = 'tuple'
    ):
        super().__init__()
        self.place, self.outputs, self.form = place, outputs, form
        self.given: list[list[Tensor]] = []

    def forward(self, x: Tensor, *args: object, **kwargs: object) -> Any:
        height, width = x.shape[-2:]
        given = []
        for channels, stride in self.outputs:
            grid = (-(-height // stride), -(-width // stride)) if stride else ()
            given.append(torch.rand(len(x), channels, *grid, requires_grad=True))
        self.given.append(given)
        return given[0] if self.form == 'Tensor' else tuple(given)


@dataclass
class Step:
    """How far one step of training came.

    Args:
        calls: Layers entered, -1 if the model was not built.
        reached: For each stand-in, by place, the outputs that the loss depends on.
        names: Of all parameters.
        idle: Those that want a gradient and that the loss does not depend
            on.
        error: What stopped it.
    """

    calls: int = -1
    reached: dict[str, set[int]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    idle: list[str] = field(default_factory=list)
    error: str = ''


def build(table: Mapping) -> nn.Module:
    """Build a model or backbone on the CPU, in silence.

    Raises:
        CannotMeasure: Its constructor raises.
    """
    try:
        with quiet():
            net = revert_sync_batchnorm(ROOT.build(deepcopy(dict(table))))
            with torch.no_grad():  # some parameters are memory until init_weights()
                for parameter in net.parameters():
                    parameter.nan_to_num_(0, 0, 0).clamp_(-10, 10)
            return net
    except Exception as error:  # constructors can raise anything
        raise CannotMeasure(one_line(error)) from error


def measure(table: Mapping) -> tuple[list[Output], str, nn.Module]:
    """Run a backbone on an image of noise.

    Returns:
        Its outputs, 'tuple' or 'Tensor', and the backbone itself.

    Raises:
        CannotMeasure: It cannot be built or run, or gives tokens instead of maps.
    """
    table = {key: value for key, value in table.items() if key not in _WEIGHTS}
    backbone = build(table)
    backbone.eval()  # some return nothing
    first = ''
    own = table.get('img_size', 0)
    for size in filter(None, [*IMAGE_SIZES, own if isinstance(own, int) else max(own)]):
        image = torch.rand(2, table.get('in_channels', 3), size, size)
        try:
            with torch.no_grad(), quiet():
                given = backbone(image)
            break
        except Exception as error:  # too small, another size wanted, ...
            first = first or one_line(error)
    else:
        raise CannotMeasure(f'{table["type"]} does not run on an image: {first}')
    form = 'Tensor' if isinstance(given, Tensor) else 'tuple'
    outputs = []
    for y in [given] if form == 'Tensor' else given:
        if not isinstance(y, Tensor) or y.dim() not in (2, 4):
            what = (
                f'shape {tuple(y.shape)}' if isinstance(y, Tensor) else type(y).__name__
            )
            raise CannotMeasure(
                f'its consumers want what {table["type"]} gives, which is no map '
                f'(N, C, H, W) as our backbones give it, but {what}'
            )
        stride = round(size / y.shape[-1]) if y.dim() == 4 else 0
        outputs.append(Output(y.shape[1], stride))
    if _shapes_in_training(backbone, image) not in (None, _shapes(given)):
        raise CannotMeasure(
            f'{table["type"]} gives other outputs in training than in prediction, '
            'which ours do not'
        )
    return outputs, form, backbone


def _shapes(given: Any) -> list[torch.Size]:
    return [y.shape for y in ([given] if isinstance(given, Tensor) else given)]


def _shapes_in_training(backbone: nn.Module, image: Tensor) -> list | None:
    backbone.train()
    try:
        with torch.no_grad(), quiet():
            return _shapes(backbone(image))
    except Exception:  # batch norm on 1x1, and so on: nothing is known
        return None


def train_step(cfg: Mapping, model: Mapping, size: int) -> Step:
    """Build a model and compute its losses on a batch of noise.

    Args:
        cfg: The config, for the batch.
        model: The model's table, stand-ins for backbones or not.
        size: Height and width of the images.
    """
    step = Step()
    table = on_a_cpu({'data_preprocessor': cfg.get('data_preprocessor'), **model}, size)
    try:
        net = build(table)
    except CannotMeasure as error:
        step.error = str(error)
        return step
    step.names = [name for name, _ in net.named_parameters()]
    entered: list[str] = []
    for name, layer in net.named_modules():
        layer.register_forward_pre_hook(lambda *_, name=name: entered.append(name))
    stand_ins = [part for part in net.modules() if isinstance(part, StandIn)]
    net.train()
    run: Any = net
    try:
        torch.manual_seed(0)
        tell_time()
        with quiet():
            data = run.data_preprocessor(make_batch(dict(cfg, model=model), size), True)
            losses = run(**data, mode='loss')
            loss, _ = run.parse_losses(losses)
        found = reachable(loss)
        for part in stand_ins:
            if part.given:
                hit = step.reached.setdefault(part.place, set())
                hit |= {i for given in part.given for i, y in enumerate(given)
                        if id(y) in found}  # fmt: skip
        step.idle = [
            name
            for name, parameter in net.named_parameters()
            if parameter.requires_grad and id(parameter) not in found
        ]
    except Exception as error:  # a model is a program
        where = entered[-1] if entered else 'the data preprocessor'
        step.error = f'{where or type(net).__name__}: {one_line(error)}'
    step.calls = len(entered)
    return step


def reachable(loss: Tensor) -> set[int]:
    """Ids of the leaves that a loss has a gradient for, without computing any."""
    found, seen, todo = set(), set(), [loss.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, 'variable'):
            found.add(id(node.variable))
        todo += [before for before, _ in node.next_functions]
    return found


def on_a_cpu(model: Mapping, size: int) -> dict:
    """The table for a small batch.

    No weights from afar, no fixed image size, few regions.
    """
    table = deepcopy(dict(model))
    for path, value in [((), table), *walk(table)]:
        if isinstance(value, dict):
            for key in _WEIGHTS & set(value):
                if key == 'pretrained' or _is_file(value[key]):
                    put(table, (*path, key), None)
        name = str(path[-1]) if path else ''
        if name in _REGIONS and type(value) is int:
            put(table, path, min(value, FEW))
        if 'ckpt' in name and isinstance(value, str):
            put(table, path, None)
    data = table.get('data_preprocessor') or {}
    for part in [data, data.get('data_preprocessor') or {}]:
        part.pop('batch_augments', None)
        if 'seg_pad_val' in part or part.get('size'):
            part.pop('size_divisor', None)
            part['size'] = (size, size)
    return table


def _is_file(init_cfg: Any) -> bool:
    entries = init_cfg if isinstance(init_cfg, list | tuple) else [init_cfg]
    return any(e and str(e.get('type')).endswith('Pretrained') for e in entries)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what builders print and warn of: nothing here is a run."""
    MMLogger.get_current_instance()  # first made here, it would keep the wrong stdout
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(before)


def tell_time() -> None:
    """What a Runner tells the losses that change with time: it is the start."""
    for name in ('iter', 'epoch'):
        MessageHub.get_current_instance().update_info(name, 0)


def enter_scope(cfg: Mapping) -> None:
    """Let names of the config's toolbox be found."""
    with quiet():
        init_default_scope(cfg.get('default_scope', 'mmengine'))
