"""What is skipped on an older PyTorch or Triton, and whether the reason is true."""

import pytest
import torch

from mmmsmlp.ops.mixshift.triton import no_triton
from tests.helpers.features import FEATURES, TORCH, needs, reason


@pytest.mark.parametrize('name', FEATURES)
def test_a_feature_is_here_from_its_release_on(name):
    feature = FEATURES[name]
    assert feature.here() == (feature.since <= TORCH)
    skips = needs(name).args[0]
    assert skips != feature.here()
    assert reason(name) == (
        f'needs {feature.what}: PyTorch {feature.since} or newer, '
        f'not {torch.__version__}'
    )


def test_all_that_is_skipped_for_an_old_pytorch():
    """On the oldest that we support; a new entry is a decision."""
    assert {name: feature.since for name, feature in FEATURES.items()} == {
        'opcheck': '2.4',
        'fill_empty': '2.2',
        'whole_graph': '2.6',
        'traced_context': '2.7',
        'builtins': '2.6',
        'half': '2.2',
    }


@pytest.mark.parametrize(('version', 'fits'), [('2.1.0', False), ('3.6.0', True)])
def test_the_kernels_name_the_triton_they_need(monkeypatch, version, fits):
    pytest.importorskip('triton')
    monkeypatch.setattr('triton.__version__', version)
    assert no_triton() == (
        None
        if fits
        else 'Triton is 2.1.0, and the kernels need 3.6 or newer, which comes with a '
        'newer PyTorch.'
    )
