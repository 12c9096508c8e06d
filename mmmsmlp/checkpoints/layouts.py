"""Where in a checkpoint are the model's tensors, and which are the backbone's?"""

from collections import Counter
from dataclasses import dataclass, field, replace

import torch

from ..errors import CheckpointError

# The first one that holds tensors is taken. `state_dict` of a Runner file with an
# EMA hook is the averaged model already (mmengine swaps the two when it saves), so
# its `ema_state_dict`, the unaveraged copy, is never read. `model` goes before
# `model_ema`: it is what the authors evaluate and report.
WRAPPERS = ('state_dict', 'model', 'model_ema', 'state_dict_ema')


@dataclass
class FoundState:
    """A state dict taken out of a checkpoint.

    Attributes:
        tensors (dict[str, torch.Tensor]): Without the prefixes named in layout.
        layout (str): The way to it, such as 'state_dict > backbone.' or 'bare'.
        left_aside (tuple[str]): Other wrappers that hold tensors too.
        ignored (dict[str, int]): What was left out, and how many tensors each.
        shift_dist (tuple[int] or None): The distances that the authors' config, which
            their files carry, says.
    """

    tensors: dict
    layout: str
    left_aside: tuple = ()
    ignored: dict = field(default_factory=dict)
    shift_dist: tuple | None = None


def find_state(checkpoint):
    """Take the whole model's state dict out of a checkpoint.

    Args:
        checkpoint (dict): What ``read_checkpoint`` returns.

    Returns:
        FoundState: Its keys without a ``module.`` that stands before each.

    Raises:
        CheckpointError: If no known layout fits.
    """
    candidates = {name: _tensors(checkpoint.get(name)) for name in WRAPPERS}
    candidates['bare'] = _tensors(checkpoint)
    holding = [name for name, tensors in candidates.items() if tensors]
    if not holding:
        raise CheckpointError(
            f'no state dict found: neither {", ".join(WRAPPERS)} nor the top level '
            f'holds tensors; the entries are {", ".join(map(str, checkpoint))}'
        )
    layout, *left_aside = holding
    tensors = candidates[layout]
    while all(key.startswith('module.') for key in tensors):
        tensors = _under('module.', tensors)
        layout += ' > module.'
    left_aside = tuple(name for name in left_aside if name != 'bare')
    shift_dist = _configured_distances(checkpoint.get('config'))
    return FoundState(tensors, layout, left_aside, shift_dist=shift_dist)


def find_backbone_state(checkpoint):
    """Take the backbone's state dict out of a checkpoint.

    Where any key starts with ``backbone.``, the file is a whole detector,
    segmentor or classifier, and everything else in it is ignored.

    Args:
        checkpoint (dict): What ``read_checkpoint`` returns.

    Returns:
        FoundState: Its keys as the file's author named them in the backbone.

    Raises:
        CheckpointError: If no known layout fits.
    """
    found = find_state(checkpoint)
    backbone = _under('backbone.', found.tensors)
    if not backbone:
        return found
    ignored = Counter(
        key.split('.')[0] for key in found.tensors if not key.startswith('backbone.')
    )
    layout = f'{found.layout} > backbone.'
    return replace(found, tensors=backbone, layout=layout, ignored=dict(ignored))


def _configured_distances(config):
    """Find SHIFT_DIST in a config's stand-in, at whatever depth."""
    if not isinstance(config, dict):
        return None
    given = config.get('SHIFT_DIST')
    given = given if isinstance(given, (list, tuple)) else ()
    if given and all(isinstance(distance, int) for distance in given):
        return tuple(given)
    inner = map(_configured_distances, config.values())
    return next((distances for distances in inner if distances), None)


def _tensors(content):
    if not isinstance(content, dict):
        return {}
    return {
        key: value
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, torch.Tensor)
    }


def _under(prefix, tensors):
    return {
        key[len(prefix) :]: value
        for key, value in tensors.items()
        if key.startswith(prefix)
    }
