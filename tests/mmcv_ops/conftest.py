"""mmcv's compiled module, where there is one, and what it once computed."""

from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder

import mmcv
import numpy as np
import pytest
import torch

from tests.helpers.mmcv_cases import GOLDEN


@pytest.fixture(scope='session')
def compiled():
    """mmcv's compiled module, or None."""
    spec = PathFinder.find_spec('mmcv._ext', mmcv.__path__)
    if spec is None or not spec.origin.endswith(tuple(EXTENSION_SUFFIXES)):
        return None
    return import_module('mmcv._ext')


@pytest.fixture(scope='session')
def needs_compiled(compiled):
    if compiled is None:
        pytest.skip('mmcv has no compiled operators here to compare with')
    return compiled


@pytest.fixture(scope='session')
def golden():
    with np.load(GOLDEN) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}
