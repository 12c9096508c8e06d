"""What the tests need of PyTorch and Triton and older ones lack: who skips, and why."""

import importlib.util
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.export
from torch.torch_version import TorchVersion

from mmmsmlp.ops.mixshift.triton import no_triton

TORCH = TorchVersion(torch.__version__)


@dataclass(frozen=True)
class Feature:
    """Something of PyTorch: the release that has it first, and whether this one does.

    Releases before 2.1 and those between the ones that CI runs were not looked at.
    """

    what: str
    since: str
    here: Callable[[], bool]


def has_half_convolution() -> bool:
    try:
        torch.conv2d(*torch.zeros(2, 1, 1, 1, 1, dtype=torch.float16))
    except RuntimeError:
        return False
    return True


def reads_builtins() -> bool:
    torch.save({b'1'}, file := io.BytesIO())
    file.seek(0)
    try:
        return torch.load(file, weights_only=True) == {b'1'}
    except pickle.UnpicklingError:
        return False


FEATURES = {
    'opcheck': Feature(
        'torch.library.opcheck', '2.4', lambda: hasattr(torch.library, 'opcheck')
    ),
    'fill_empty': Feature(
        'torch.empty filled with NaN',
        '2.2',
        lambda: importlib.util.find_spec('torch.utils.deterministic') is not None,
    ),
    'whole_graph': Feature(
        'a graph of the whole net (torch.export with Dim.DYNAMIC)',
        '2.6',
        lambda: hasattr(getattr(torch.export, 'Dim', None), 'DYNAMIC'),
    ),
    'traced_context': Feature(
        'compilers that enter a context manager',
        '2.7',
        lambda: hasattr(torch._dynamo.config, 'enable_trace_contextlib'),
    ),
    'builtins': Feature(
        'sets and bytes by torch.load(weights_only=True)', '2.6', reads_builtins
    ),
    'half': Feature('a float16 convolution on a CPU', '2.2', has_half_convolution),
}


def reason(name: str) -> str:
    """Why a test that needs this feature is skipped."""
    feature = FEATURES[name]
    return f'needs {feature.what}: PyTorch {feature.since} or newer, not {TORCH}'


def needs(name: str) -> pytest.MarkDecorator:
    """A mark that skips where PyTorch is older than the feature."""
    return pytest.mark.skipif(FEATURES[name].since > TORCH, reason=reason(name))


needs_triton = pytest.mark.skipif(no_triton() is not None, reason=f'{no_triton()}')
