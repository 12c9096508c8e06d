"""Is the stand-in found where nothing is compiled, and never where something is?"""

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mmmsmlp.mmcv_ops import ext
from mmmsmlp.mmcv_ops.finder import StandIn, stand_in
from tests.helpers.mmcv_cases import boxes, derived, drawn, rois, scores, using

REPO = Path(__file__).parents[2]


def run_python(code, *paths):
    """Prints of code in a fresh interpreter with these folders first on the path."""
    script = f'import sys; sys.path[:0] = {[*map(str, paths), str(REPO)]}\n{code}'
    result = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.fixture
def plain_mmcv(tmp_path):
    """A folder with an mmcv of nothing but a name."""
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text('')
    return tmp_path


def test_importing_the_package_makes_the_module_found(plain_mmcv):
    found = run_python(
        'import importlib.util, mmcv\n'
        'print(importlib.util.find_spec("mmcv._ext"))\n'
        'import mmmsmlp\n'
        'print("torchvision" in sys.modules)\n'
        'import mmcv._ext as ext\n'
        'print(ext.nms.__module__, ext.__name__)',
        plain_mmcv,
    )
    assert found == ['None', 'False', 'mmmsmlp.mmcv_ops.nms', 'mmcv._ext']


def test_a_module_of_mmcvs_own_wins(plain_mmcv):
    (plain_mmcv / 'mmcv' / '_ext.py').write_text('mine = True')
    assert run_python(
        'import mmmsmlp, mmcv._ext as ext; print(ext.mine)', plain_mmcv
    ) == ['True']


def test_there_is_one_finder_and_it_stands_last():
    code = (
        'import mmmsmlp, importlib\n'
        'from mmmsmlp.mmcv_ops import finder\n'
        'importlib.reload(finder).stand_in()\n'
        'print(*[getattr(f, "__name__", type(f).__name__) for f in sys.meta_path])'
    )
    names = run_python(code)
    assert names[-1] == 'StandIn' and names.count('StandIn') == 1
    assert names.index('PathFinder') < names.index('StandIn')


def test_it_answers_for_one_name_only():
    finder = StandIn()
    for name in ('mmcv', 'mmcv.ops', 'mmcv._ext.nms', '_ext', 'mmdet._ext'):
        assert finder.find_spec(name) is None
    assert finder.find_spec('mmcv._ext').origin == ext.__file__
    before = list(sys.meta_path)
    stand_in()
    assert sys.meta_path == before


def test_any_other_name_is_there_and_raises_with_the_cure():
    with pytest.raises(NotImplementedError) as error:
        ext.knn_forward(torch.zeros(1), k=2)
    message = str(error.value)
    assert 'operator knn_forward' in message and 'MMMSMLP_COMPILE_MMCV=1' in message
    assert '\n' not in message
    assert not hasattr(ext, '__wrapped__')


def test_the_versions_say_whose_they_are():
    import torchvision

    assert 'mmmsmlp' in ext.get_compiler_version()
    assert torchvision.__version__.split('+')[0] in ext.get_compiler_version()
    assert 'mmmsmlp' in ext.get_compiling_cuda_version()
    assert torch.__version__ in ext.get_compiling_cuda_version()


def test_all_names_are_of_a_library():
    assert {*ext.LIBRARIES.values()} == {'torch', 'torchvision'}
    about = {'LIBRARIES', 'get_compiler_version', 'get_compiling_cuda_version'}
    assert {*ext.__all__} == {*ext.LIBRARIES} | about
    assert ext.nms(boxes(9), scores(9), 0.5, 0).dtype == torch.long  # not the module


def pooled(x, given):
    output = torch.zeros(len(given), x.shape[1], 2, 2, dtype=x.dtype)
    argmax = torch.zeros(0)
    sizes = (2, 2, 0.125, 0, 1, True)
    ext.roi_align_forward(x, given, output, argmax, argmax, *sizes)
    return output


def test_autocast_changes_nothing():
    x, given = drawn(2, 3, 13, 15), rois(6)
    expected = pooled(x, given)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(pooled(x, given), expected)


def test_bfloat16_is_computed_in_float32():
    x, given = drawn(2, 3, 13, 15).bfloat16(), rois(6).round()
    expected = pooled(x.float(), given)
    assert torch.equal(pooled(x, given.bfloat16()), expected.bfloat16())


def test_no_graph_is_recorded():
    x = drawn(2, 3, 13, 15).requires_grad_()
    assert not pooled(x, rois(6)).requires_grad


def test_gradients_survive_torch_compile():
    """Traced, an operator's writes into its arguments were lost without a word."""
    from mmcv.ops import modulated_deform_conv2d, sigmoid_focal_loss

    labels = torch.tensor([0, 1])
    cases = [
        (
            lambda x: sigmoid_focal_loss(x, labels, 2.0, 0.25, None, 'sum'),
            [drawn(2, 4)],
        ),
        (
            lambda *given: modulated_deform_conv2d(*given, None, 1, 1),
            [
                drawn(1, 2, 4, 4),
                drawn(1, 18, 4, 4),
                drawn(1, 9, 4, 4),
                drawn(2, 2, 3, 3),
            ],
        ),
    ]
    with using(ext):
        for function, inputs in cases:
            found = derived(torch.compile(function, backend='eager'), *inputs)
            expected = derived(function, *inputs)
            assert all(tensor.any() for tensor in expected)
            torch.testing.assert_close(found, expected)


def test_channels_last_maps_are_taken():
    """mmcv's compiled operators refuse them or read them wrongly."""
    x, given = drawn(2, 3, 13, 15), rois(6)
    strided = x.to(memory_format=torch.channels_last)
    assert torch.equal(pooled(strided, given), pooled(x, given))


@pytest.mark.parametrize('wild', [float('nan'), float('inf'), -float('inf'), 1e30])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_wild_offsets_sample_nothing(wild, dtype):
    """As compiled; torchvision would read memory that is not its own."""
    x, weight, offset = drawn(2, 4, 6, 7), drawn(3, 4, 3, 3), torch.zeros(2, 18, 6, 7)
    offset[0, 4:8] = wild  # of the third and fourth of the nine places
    expected = weight.clone()
    expected[:, :, 0, 2] = expected[:, :, 1, 0] = 0
    with using(ext):
        from mmcv.ops import deform_conv2d

        given = [tensor.to(dtype) for tensor in (x, offset, weight)]
        output, *grads = derived(lambda *t: deform_conv2d(*t, 1, 1), *given)
    wanted = F.conv2d(x[:1], expected, padding=1), F.conv2d(x[1:], weight, padding=1)
    torch.testing.assert_close(output, torch.cat(wanted).to(dtype), rtol=0, atol=1e-4)
    assert all(grad.isfinite().all() for grad in grads)
    assert not grads[1][0, 4:8].any() and grads[1][0, 8:].any()


@pytest.mark.parametrize(
    ('side', 'aligned', 'refused'),
    [
        (-2, True, True),
        (-2, False, False),
        (0, True, False),
        *product([float('nan'), float('inf')], [True, False], [True]),
    ],
)
def test_boxes_that_roi_align_refuses(side, aligned, refused):
    x, given = drawn(1, 2, 8, 8), torch.tensor([[0, 2.0, 2, 2 + side, 6]])
    output, none = torch.zeros(1, 2, 2, 2), torch.zeros(0)
    call = (x, given, output, none, none, 2, 2, 1.0, 2, 1, aligned)
    if not refused:
        ext.roi_align_forward(*call)
        assert output.any()
        return
    with pytest.raises(
        RuntimeError, match='RoIAlign got the box .* lower its learning rate'
    ):
        ext.roi_align_forward(*call)
