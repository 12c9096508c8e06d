"""Does this checkpoint fill the whole model, backbone, neck and heads?"""

import re

import torch
from mmengine.logging import print_log

from ..errors import CheckpointError, join_some
from ..geometry import MARK, check_geometry
from .layouts import find_state
from .reader import read_checkpoint
from .wording import compare_tensors

_OUTPUT_NORM = re.compile(r'norm\d+\.')
_TOOLBOX_CURE = (
    "Check init_cfg (a prefix such as 'backbone.'?), options that rename keys "
    '(convert_weights=True for the official Swin files), and the arch.'
)


def missing_tensors(model, state_dict):
    """Name the model's tensors that a state dict does not fill.

    Args:
        model (torch.nn.Module): The whole model.
        state_dict (dict[str, torch.Tensor]): Weights at hand.

    Returns:
        list[str]: Keys of parameters and persistent buffers that are missing, or
        have another shape.
    """
    return [
        key
        for key, tensor in model.state_dict().items()
        if key not in state_dict or state_dict[key].shape != tensor.shape
    ]


def load_whole(model, path):
    """Fill a whole detector, segmentor or classifier, or refuse.

    For evaluation and inference, where a tensor left at random gives numbers that
    look like results. Tensors that the model does not have are named in the log.

    Args:
        model (torch.nn.Module): The built model, without a DDP wrapper.
        path (str or os.PathLike): The checkpoint.

    Returns:
        dict: The checkpoint's ``meta`` (``dataset_meta`` and so on), or {}.

    Raises:
        CheckpointError: If the file cannot be read safely, or leaves any tensor of
            the model unfilled, or has another shape for it.
        GeometryError: If its mix-shift geometry is another one, or not stated.
    """
    checkpoint = read_checkpoint(path)
    try:
        found = find_state(checkpoint)
        for name, module in model.named_modules():
            mark = module._buffers.get(MARK)
            if mark is not None:
                check_geometry(mark, found.tensors, f'{name}.' if name else '')
    except CheckpointError as error:
        raise type(error)(f'{path}: {error}') from None
    own = model.state_dict()
    known = {key: value for key, value in found.tensors.items() if key in own}
    problems = compare_tensors(own, known)
    if problems:
        raise CheckpointError(
            f'{path} [layout {found.layout}] does not fill this '
            f'{type(model).__name__}: {"; ".join(problems)}. {_cure(own, known)}'
        )
    model.load_state_dict(known)
    extra = [key for key in found.tensors if key not in own]
    print_log(
        f'loaded {len(own)}/{len(own)} tensors of {type(model).__name__} from {path} '
        f'[layout {found.layout}]'
        + (f'; unused: {join_some(extra)} ({len(extra)})' if extra else ''),
        logger='current',
    )
    meta = checkpoint.get('meta')
    return meta if isinstance(meta, dict) else {}


def _cure(own, known):
    filled = {key.split('.')[0] for key in known}
    if filled <= {'backbone'} and not all(key.startswith('backbone.') for key in own):
        return (
            'It holds a backbone at most, and a model cannot be evaluated with random '
            'heads: train it first, or give the checkpoint that tools/train.py wrote.'
        )
    return 'Use the checkpoint that was trained with this config.'


def vet_toolbox_backbone(backbone, path):
    """Find out whether a toolbox's own loader fills its own backbone.

    The backbone (mmdet's Swin, a ResNet, ...) reads the file in its own way, with
    its own key names. So every floating tensor is set to NaN, its ``init_weights``
    is called, and what is still NaN was not filled.

    Args:
        backbone (mmengine.model.BaseModule): Built, not initialised, with an
            ``init_cfg`` of type Pretrained that names ``path``.
        path (str or os.PathLike): The file. It is read tensors-only first, because
            the toolbox's loader falls back to one that runs code.

    Raises:
        CheckpointError: If the file cannot be read safely, or tensors other than
            output norms (``norm0``, ...) are left unfilled.
    """
    init_cfg = getattr(backbone, 'init_cfg', None)
    if not isinstance(init_cfg, dict) or init_cfg.get('type') != 'Pretrained':
        raise CheckpointError(
            f'{type(backbone).__name__} would not load {path}: its init_cfg is '
            f"{init_cfg!r}; set init_cfg=dict(type='Pretrained', checkpoint=FILE)"
        )
    read_checkpoint(path)
    own = {k: v for k, v in backbone.state_dict().items() if v.is_floating_point()}
    before = {key: tensor.clone() for key, tensor in own.items()}
    for tensor in own.values():
        tensor.fill_(torch.nan)
    try:
        backbone.init_weights()
    # Each toolbox raises what its own loader happens to raise.
    except Exception as error:
        raise CheckpointError(
            f'{type(backbone).__name__} cannot load {path}: '
            f'{type(error).__name__}: {error}. {_TOOLBOX_CURE}'
        ) from error
    own = backbone.state_dict()
    unfilled = [key for key in before if own[key].isnan().any()]
    for key in unfilled:
        own[key].copy_(before[key])
    unfilled = [key for key in unfilled if not _OUTPUT_NORM.match(key)]
    if unfilled:
        raise CheckpointError(
            f'{type(backbone).__name__} loads {path}, but {len(unfilled)} of '
            f'{len(before)} tensors stay unfilled: {join_some(unfilled)}. '
            f'{_TOOLBOX_CURE}'
        )
