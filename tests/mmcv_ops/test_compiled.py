"""Do the operators by torchvision and torch compute what the compiled ones do?"""

from functools import partial
from itertools import product

import pytest
import torch

from mmmsmlp.mmcv_ops import ext
from tests.helpers import mmcv_cases
from tests.helpers.mmcv_cases import CASES, run
from tests.helpers.mmcv_models import DETECTORS


def assert_same(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        scale = (
            theirs.double().abs().nan_to_num(0).max().item() if theirs.numel() else 0
        )
        share = 4e-3 if ours.dtype == torch.float16 else 1e-6
        atol = share * scale if ours.is_floating_point() else 0
        torch.testing.assert_close(ours, theirs, rtol=0, atol=atol, equal_nan=True)


@pytest.mark.parametrize('name', CASES)
def test_as_the_compiled_operator_did(name, golden):
    stored = [golden[key] for key in golden if key.rpartition('/')[0] == name]
    assert stored
    assert_same(run(CASES[name], ext), stored)


@pytest.mark.parametrize('name', CASES)
def test_as_the_compiled_operator_does(name, needs_compiled):
    assert_same(run(CASES[name], ext), run(CASES[name], needs_compiled))


def with_equal_scores(kind, offset, threshold):
    from mmcv.ops import nms, nms_match, soft_nms

    box = mmcv_cases.boxes(400).round()
    score = (mmcv_cases.uniform(400, seed=5) * 20).round() / 20
    if kind == 'nms':
        return list(nms(box, score, threshold, offset))
    if kind == 'nms_match':
        return [torch.cat(nms_match(torch.cat([box, score[:, None]], 1), threshold))]
    return list(soft_nms(box, score, threshold, method=kind, offset=offset))


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [1 / 3, 0.5, 0.7])
@pytest.mark.parametrize('kind', ['nms', 'nms_match', 'naive', 'linear', 'gaussian'])
def test_equal_scores_and_overlaps_at_the_threshold(
    kind, threshold, offset, needs_compiled
):
    """Whole coordinates: overlaps hit thresholds, and boxes without area are there."""
    case = partial(with_equal_scores, kind, offset, threshold)
    assert_same(run(case, ext), run(case, needs_compiled))


def test_nms_of_many_boxes(needs_compiled):
    for threshold in (0.3, 0.7):
        case = partial(mmcv_cases.nms, 3000, threshold, 0, 0, -1)
        assert_same(run(case, ext), run(case, needs_compiled))


@pytest.mark.parametrize(
    ('sizes', 'offsets'), product(mmcv_cases.SIZES, mmcv_cases.OFFSETS)
)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16])
@pytest.mark.parametrize('modulated', [False, True])
def test_deformable_convolution(sizes, offsets, dtype, modulated, needs_compiled):
    if dtype == torch.float16 and torch.__version__ < '2.2':
        pytest.skip('torch multiplies no half matrices on a CPU before 2.2')
    given = (sizes, offsets, modulated, modulated, dtype)
    case = partial(mmcv_cases.deform_conv, *given)
    found, expected = run(case, ext), run(case, needs_compiled)
    if dtype != torch.float16:
        assert_same(found, expected)
        return
    assert_same(found[:1], expected[:1])
    for ours, theirs in zip(found[1:], expected[1:], strict=True):
        # Sums of the same terms in another order, each rounded to half.
        assert (ours - theirs).abs().max() <= 1e-2 * theirs.abs().max()


def test_the_parameters_have_the_compiled_names(needs_compiled):
    import inspect

    for name in ext.LIBRARIES:
        ours = [*inspect.signature(getattr(ext, name)).parameters]
        signature = (
            getattr(needs_compiled, name).__doc__.partition('(')[2].partition(') ->')[0]
        )
        theirs = [part.partition(':')[0] for part in signature.split(', ')]
        assert ours == theirs, name


def test_the_golden_file_holds_these_cases(golden):
    names = {key.rpartition('/')[0] for key in golden}
    assert names == {*CASES, *(f'losses {name}' for name in DETECTORS)}
    assert mmcv_cases.GOLDEN.stat().st_size < 400_000
