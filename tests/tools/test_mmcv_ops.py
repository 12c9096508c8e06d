"""Does the command install the operators, say whose they are, and take them back?"""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'mmcv_ops.py'
ASKS = """from ..utils import ext_loader
ext_module = ext_loader.load_ext('_ext', ['nms', 'softnms', 'knn_forward'])
"""


@pytest.fixture
def site(tmp_path):
    """The packages of a fresh environment: a small mmcv, and behind it all of ours."""
    venv.create(tmp_path / 'env', symlinks=os.name != 'nt')
    ours = Path(sysconfig.get_path('purelib'))
    site = tmp_path / 'env' / ours.relative_to(sys.prefix)
    (site / 'others.pth').write_text(str(ours))
    (site / 'mmcv' / 'ops').mkdir(parents=True)
    (site / 'mmcv' / '__init__.py').write_text('')
    (site / 'mmcv' / 'ops' / 'nms.py').write_text(ASKS)
    return site


def call(site, *arguments):
    """Exit status and everything printed, of that environment's Python."""
    (root,) = (folder for folder in site.parents if folder.name == 'env')
    python = root / ('Scripts' if os.name == 'nt' else 'bin') / 'python'
    command = [python, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return result.returncode, result.stdout + result.stderr


def files_under(folder):
    return {
        str(path.relative_to(folder))
        for path in folder.rglob('*')
        if '__pycache__' not in path.parts
    }


@pytest.mark.full
def test_installed_used_and_removed_without_a_trace(site):
    before = files_under(site)
    status, output = call(site, TOOL)
    assert status == 0 and f'mmcv._ext: not in {site / "mmcv"}' in output
    for _ in range(2):  # again is as good as once
        status, output = call(site, TOOL, 'install')
        assert status == 0 and f'is {site / "mmcv" / "_ext.py"} now' in output, output
    code = (
        'import sys, torch, mmcv._ext as ext\n'
        'box = torch.tensor([[0, 0, 2, 2.], [0, 0, 2, 2]])\n'
        'print(ext.nms(box, torch.tensor([.3, .4]), .5, 0).tolist())\n'
        'print([name for name in sys.modules if "mmmsmlp" in name][0])\n'
        'ext.knn_forward()'
    )
    status, output = call(site, '-c', code)
    assert output.split('\n')[:2] == ['[1]', 'mmcv._mmmsmlp_ops']
    assert 'NotImplementedError' in output
    code = (
        f'import sys; sys.path.insert(0, {str(TOOL.parents[1])!r})\n'
        'import mmmsmlp, mmcv._ext as ext; print(ext.nms.__module__)'
    )
    assert call(site, '-c', code) == (0, 'mmmsmlp.mmcv_ops.nms\n')  # not the copy
    status, output = call(site, TOOL)
    assert 'of mmmsmlp-mmcv-ops 0.1.0' in output
    assert 'by torchvision (1):\n  nms\n' in output
    assert 'by torch (1):\n  softnms\n' in output
    assert 'raise when called (1):\n  knn_forward\n' in output
    status, output = call(site, TOOL, 'remove')
    assert status == 0 and files_under(site) == before
    assert not [*site.glob('mmcv/**/*_ext*'), *site.glob('mmcv/_mmmsmlp*')]
    status, output = call(site, TOOL, 'remove')
    assert status == 0 and 'nothing to remove' in output


@pytest.mark.full
def test_pip_takes_it_away_too(site):
    before = files_under(site)
    assert call(site, TOOL, 'install')[0] == 0
    assert call(site, '-m', 'pip', 'uninstall', '-y', 'mmmsmlp-mmcv-ops')[0] == 0
    assert files_under(site) == before


def test_a_compiled_module_stays(site):
    from importlib.machinery import EXTENSION_SUFFIXES

    compiled = site / 'mmcv' / f'_ext{EXTENSION_SUFFIXES[0]}'
    compiled.write_bytes(b'')
    before = files_under(site)
    status, output = call(site, TOOL, 'install')
    assert status == 0 and 'it stays, nothing to install' in output
    assert files_under(site) == before
    assert f'mmcv._ext: compiled, {compiled}' in call(site, TOOL)[1]


def test_a_compiled_module_that_comes_later_wins(site):
    """By Python's own order: an extension module before a source file."""
    from importlib.machinery import EXTENSION_SUFFIXES, PathFinder

    (site / 'mmcv' / '_ext.py').write_text('')
    (site / 'mmcv' / f'_ext{EXTENSION_SUFFIXES[0]}').write_bytes(b'')
    spec = PathFinder.find_spec('mmcv._ext', [str(site / 'mmcv')])
    assert spec.origin.endswith(EXTENSION_SUFFIXES[0])


def test_faults_are_one_sentence_with_a_cure(site, tmp_path):
    (site / 'mmcv' / '_ext.py').write_text('mine = True')
    status, output = call(site, TOOL, 'install')
    assert status == 2 and "is not mmmsmlp-mmcv-ops's; move it away" in output
    (site / 'mmcv' / '_ext.py').unlink()
    (site / 'mmcv').rename(tmp_path / 'mmcv')
    (site / 'others.pth').write_text(str(tmp_path))
    for action in ('install', 'status'):
        status, output = call(site, TOOL, action)
        assert status == 2 and 'has no torch, which the operators run on' in output
    (site / 'others.pth').unlink()
    status, output = call(site, TOOL)
    assert status == 2 and 'has no mmcv; install one first' in output
    assert 'Traceback' not in output


def test_pip_that_is_missing_and_places_that_it_cannot_reach(site, tmp_path):
    for name in ('torch', 'torchvision'):
        (site / f'{name}.py').write_text('')
    (site / 'others.pth').unlink()
    status, output = call(site, TOOL, 'install')
    assert status == 2 and 'has no pip; run' in output and '-m ensurepip' in output
    (site / 'mmcv').rename(tmp_path / 'mmcv')
    (site / 'others.pth').write_text(str(tmp_path))
    status, output = call(site, TOOL, 'install')
    assert status == 2 and 'outside of the packages of' in output
    assert 'install mmcv into this Python' in output


def test_the_package_knows_the_command_by_both_spellings():
    for name in ('mmcv-ops', 'mmcv_ops'):
        command = [sys.executable, '-m', 'mmmsmlp', name, '--help']
        result = subprocess.run(
            command, capture_output=True, text=True, timeout=120, cwd=TOOL.parents[1]
        )
        assert result.returncode == 0 and '{status,install,remove}' in result.stdout
