"""Does the doctor name what is wrong with an environment, and a cure that works?"""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import pytest

import check_env
import doctor
from check_env import Finding
from doctor import Try
from tests.helpers.commands import ROOT, TOOLS

MAINTAINED = {
    'torch': '2.11.0', 'torchvision': '0.26.0', 'numpy': '2.2.6', 'pycocotools': '2.0',
    'opencv-python-headless': '4.12.0.88', 'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6', 'onedl-mmdetection': '3.5.1', 'ftfy': '6.3', 'regex': '2026',
    'onedl-mmsegmentation': '1.4.2', 'onedl-mmpretrain': '1.3.6', 'setuptools': '80.1',
}  # fmt: skip
UPSTREAM = {
    'torch': '2.1.2', 'torchvision': '0.16.2', 'numpy': '1.26.4', 'pycocotools': '2.0',
    'opencv-python-headless': '4.10.0.84', 'mmengine': '0.10.7', 'ftfy': '6.3',
    'mmcv-lite': '2.1.0', 'mmdet': '3.3.0', 'mmsegmentation': '1.2.2', 'regex': '2026',
    'mmpretrain': '1.2.0', 'setuptools': '80.1',
}  # fmt: skip
STACKS = {'maintained': MAINTAINED, 'upstream': UPSTREAM}


@pytest.fixture
def packages(monkeypatch, tmp_path):
    """``packages(versions, absent=[import names])``: what seems to be installed.

    mmengine's files lie in ``tmp_path / 'mmengine'``.
    """
    origin = SimpleNamespace(origin=str(tmp_path / 'mmengine' / '__init__.py'))

    def pretend(versions, absent=()):
        def version(name):
            if name not in versions:
                raise PackageNotFoundError(name)
            return versions[name]

        fake = SimpleNamespace(
            version=version, PackageNotFoundError=PackageNotFoundError
        )
        monkeypatch.setattr(check_env, 'metadata', fake)
        finder = SimpleNamespace(
            find_spec=lambda name: None if name in absent else origin
        )
        monkeypatch.setattr(check_env, 'util', finder)

    return pretend


def problems():
    """The findings on packages that are not ok."""
    return [f for f in check_env.check_packages(check_env.RUN) if f.mark != 'ok']


def only_fault(name):
    (found,) = problems()
    assert (found.name, found.mark) == (name, 'fault')
    return found


# --- packages -----------------------------------------------------


@pytest.mark.parametrize('stack', STACKS)
def test_either_stack_as_it_is_tested(packages, stack):
    packages(STACKS[stack])
    assert problems() == []
    texts = [f.text for f in check_env.check_packages(['torch', 'mmcv'])]
    assert (
        texts
        == {
            'maintained': ['2.11.0', '2.3.6 (onedl-mmcv)'],
            'upstream': ['2.1.2', '2.1.0 (mmcv-lite)'],
        }[stack]
    )


@pytest.mark.parametrize('version, mark', [
    ((3, 9, 1), 'fault'), ((3, 10, 0), 'ok'), ((3, 13, 9), 'ok'), ((3, 14, 0), 'fault'),
])  # fmt: skip
def test_python(version, mark):
    assert check_env.check_python(version).mark == mark


@pytest.mark.parametrize('stack, name, leaves, cure', [
    ('maintained', 'mmdet', 'onedl-mmdetection', 'pip install onedl-mmdetection'),
    ('upstream', 'mmdet', 'mmdet', 'pip install mmdet'),
    ('upstream', 'mmcv', 'mmcv-lite', 'pip install mmcv-lite==2.1.0'),
    ('maintained', 'ftfy', 'ftfy', 'pip install ftfy'),
    ('maintained', 'torchvision', 'torchvision',
     'pip install --no-deps torchvision==0.26.0'),
    ('upstream', 'torchvision', 'torchvision',
     'pip install --no-deps torchvision==0.16.2'),
    ('maintained', 'torch', 'torch', 'pip install torch'),
])  # fmt: skip
def test_a_missing_package(packages, stack, name, leaves, cure):
    packages({k: v for k, v in STACKS[stack].items() if k != leaves}, absent=[name])
    found = only_fault(name)
    assert found.text.startswith('missing; ') and found.cure == cure


def test_a_package_whose_files_are_gone(packages):
    packages(MAINTAINED, absent=['mmseg'])
    assert only_fault('mmseg').cure == (
        'pip install --force-reinstall --no-deps onedl-mmsegmentation==1.4.2'
    )


@pytest.mark.parametrize('name, version, text, cure', [
    ('torch', '2.0.1', '2.0.1; 2.1 or newer is needed', 'pip install "torch>=2.1"'),
    ('mmdet', '3.2.0', '3.2.0; 3.3 or newer is needed', 'pip install "mmdet>=3.3"'),
])  # fmt: skip
def test_a_package_that_is_too_old(packages, name, version, text, cure):
    packages({**UPSTREAM, name: version})
    found = next(f for f in problems() if f.name == name)
    assert (found.mark, found.text, found.cure) == ('fault', text, cure)


def test_mmcv_1(packages):
    without = {k: v for k, v in UPSTREAM.items() if k != 'mmcv-lite'}
    packages({**without, 'mmcv-full': '1.7.2'})
    cure = 'pip uninstall -y mmcv-full && pip install mmcv-lite==2.1.0'
    assert only_fault('mmcv').cure == cure


def test_both_stacks(packages):
    packages({**MAINTAINED, 'mmengine': '0.10.7', 'mmcv-lite': '2.1.0'})
    found = only_fault('the stack')
    assert 'onedl-mmcv and mmcv-lite share folders' in found.text
    assert found.cure == (
        'pip uninstall -y onedl-mmengine mmengine onedl-mmcv mmcv-lite && '
        'pip install onedl-mmengine==0.10.12 onedl-mmcv==2.3.6'
    )


def test_the_maintained_mmcv_that_came_into_upstream(packages):
    packages({**UPSTREAM, 'onedl-mmengine': '0.10.12', 'onedl-mmcv': '2.3.6'})
    found = {f.name: f for f in problems()}
    assert found['the stack'].cure == (
        'pip uninstall -y onedl-mmengine mmengine onedl-mmcv mmcv-lite && '
        'pip install mmengine==0.10.7 mmcv-lite==2.1.0'
    )
    assert found['torch'].text == '2.1.2; onedl-mmcv needs 2.3 or newer'


def test_the_mmcv_that_upstream_refuses(packages):
    packages({**UPSTREAM, 'mmcv-lite': '2.2.0'})
    found = only_fault('the stack')
    assert 'mmdet and mmsegmentation want mmcv below 2.2, and it is 2.2.0' in found.text
    assert found.cure == ('pip uninstall -y mmcv-lite && pip install mmcv-lite==2.1.0')


def test_a_mixture_of_the_stacks_is_noted(packages):
    other = {k: v for k, v in MAINTAINED.items() if k != 'onedl-mmpretrain'}
    packages({**other, 'mmpretrain': '1.2.0'})
    (found,) = problems()
    assert (found.name, found.mark) == ('the stack', 'note')


@pytest.mark.parametrize('torch, vision, wanted', [
    ('2.11.0', '0.25.0', 'pip install --no-deps torchvision==0.26.0'),
    ('2.14.1', '0.28.0', 'pip install --no-deps torchvision==0.29.1'),
    ('2.5.1+cu121', '0.19.0', 'pip install --no-deps torchvision==0.20.1 '
     '--index-url https://download.pytorch.org/whl/cu121'),
])  # fmt: skip
def test_torchvision_of_another_torch(packages, torch, vision, wanted):
    packages({**MAINTAINED, 'torch': torch, 'torchvision': vision})
    assert only_fault('torchvision').cure == wanted
    names = [f.name for f in check_env.check_packages(['torch', 'torchvision'])]
    assert names == ['torch', 'torchvision']  # once: it is not called ok as well


@pytest.mark.parametrize('torch, vision', [
    ('2.1.2', '0.16.2'), ('2.11.0+cpu', '0.26.0+cpu'), ('2.14.1', '0.29.1'),
])  # fmt: skip
def test_torchvision_that_fits(packages, torch, vision):
    packages({**MAINTAINED, 'torch': torch, 'torchvision': vision})
    assert check_env.check_torchvision() == []


def test_numpy_2_on_an_old_torch(packages):
    packages({**UPSTREAM, 'numpy': '2.2.6'})
    found = only_fault('numpy')
    assert '2.2.6; torch 2.1.2 is built for numpy 1' in found.text
    assert found.cure == 'pip install "numpy<2"'


def test_transformers_5(packages):
    packages({**MAINTAINED, 'transformers': '5.1.0'})
    assert only_fault('transformers').cure == 'pip install "transformers<5"'
    packages({**MAINTAINED, 'transformers': '4.57.1'})
    assert problems() == []


@pytest.mark.parametrize('source, absent, faults', [
    ('import pkg_resources', ['pkg_resources'], 1),
    ('import pkg_resources', [], 0),
    ('import importlib.metadata', ['pkg_resources'], 0),
])  # fmt: skip
def test_pkg_resources(packages, tmp_path, source, absent, faults):
    utils = tmp_path / 'mmengine' / 'utils'
    utils.mkdir(parents=True)
    (utils / 'package_utils.py').write_text(f'def there():\n    {source}\n')
    packages({**UPSTREAM, 'setuptools': '82.0.1'}, absent)
    cures = [f.cure for f in problems() if f.name == 'setuptools']
    assert cures == ['pip install "setuptools<82"'] * faults


def test_opencv_twice_is_noted(packages):
    packages({**MAINTAINED, 'opencv-python': '4.12.0.88'})
    (found,) = problems()
    assert (found.name, found.mark) == ('opencv', 'note')
    assert check_env.headless_opencv() == (
        'pip uninstall -y opencv-python-headless opencv-python && '
        'pip install --no-deps opencv-python-headless==4.12.0.88'
    )


def test_extras_are_noted(packages):
    packages({**MAINTAINED, 'psutil': '7.0', 'tensorboard': '2.21'}, ['safetensors'])
    assert doctor.check_extras() == [
        Finding('safetensors', 'note', 'missing; 0.4 or newer is needed for '
                'checkpoints of that format', 'pip install safetensors')
    ]  # fmt: skip


# --- tries -----------------------------------------------------


@pytest.fixture
def probe(monkeypatch, tmp_path):
    """``probe(code)``: the try of a process that runs this code."""

    def run(code):
        (tmp_path / '_doctor_probe.py').write_text(
            f'def say(text): print({doctor.MARK!r} + text, flush=True)\n{code}'
        )
        monkeypatch.setattr(doctor, 'HERE', tmp_path)
        return doctor.attempt('torch')

    return run


def test_a_try_that_comes_through(probe):
    code = 'print("noise")\nsay(\'{"stage": "a"}\')\nsay(\'{"result": {"b": 1}}\')'
    assert probe(code) == Try('a', {'b': 1}, '')


@pytest.mark.skipif(os.name == 'nt', reason='signals of POSIX')
def test_a_try_that_crashes(probe):
    code = 'import os\nsay(\'{"stage": "predict"}\')\nos.kill(os.getpid(), 11)'
    found = doctor.judge_net('retinanet', probe(code))
    assert (found.name, found.mark) == ('retinanet (mmdet)', 'fault')
    assert 'fails at: predict; the process was killed by signal 11' in found.text


def test_a_try_that_leaves(probe):
    tried = probe('import sys\nsys.exit("error: no such thing")')
    assert tried.error == 'the process ended with exit code 1 error: no such thing'


def test_a_try_that_hangs(probe, monkeypatch):
    monkeypatch.setattr(doctor, 'PATIENCE', 1)
    tried = probe('import time\nsay(\'{"stage": "import torch"}\')\ntime.sleep(60)')
    assert tried == Try('import torch', None, 'did not end within 1 s')


@pytest.mark.parametrize('error, cure', [
    ('ImportError: libGL.so.1: cannot open shared object file', 'headless==4.12.0.88'),
    ('RuntimeError: Numpy is not available', 'pip install "numpy<2"'),
    ('RuntimeError: operator torchvision::nms does not exist', 'torchvision==0.26.0'),
    ("ModuleNotFoundError: No module named 'pkg_resources'", 'setuptools<82'),
    ("ModuleNotFoundError: No module named 'mmseg.apis'", 'onedl-mmsegmentation=='),
    ("ModuleNotFoundError: No module named 'einops'", 'pip install einops'),
    ("ModuleNotFoundError: No module named 'PIL'", 'pip install pillow'),
    ('ValueError: nobody has seen this', 'report this with doctor --json'),
])  # fmt: skip
def test_the_cure_of_an_error(packages, error, cure):
    packages(MAINTAINED)
    assert cure in doctor.judge_net('upernet', Try('build', None, error)).cure


def test_nets_are_not_blamed_for_torch():
    tried = Try('import torch', None, "ModuleNotFoundError: No module named 'torch'")
    for name in doctor.NETS:
        assert doctor.judge_net(name, tried).mark == 'note'
    assert doctor.judge_operators(tried).mark == 'note'
    assert doctor.judge_torch(tried).mark == 'fault'


@pytest.mark.parametrize('tried, mark, text, cure', [
    (Try('', dict(kind='compiled', file='/x/_ext.so')), 'ok', 'compiled', ''),
    (Try('', dict(kind='installed', file='/x/_ext.py')), 'ok',
     'installed (mmmsmlp-mmcv-ops 0.1.0)', ''),
    (Try('', dict(kind='by import', file='None')), 'note', 'through "import mmmsmlp"',
     'python -m mmmsmlp mmcv-ops install'),
    (Try('import mmcv._ext', None, 'ImportError: _ext.so: undefined symbol: _Z3c10'),
     'fault', 'compiled for another torch',
     'pip uninstall -y onedl-mmcv && pip install --no-cache-dir --no-deps onedl-mmcv'),
    (Try('import mmcv', None, 'ImportError: libGL.so.1: cannot open shared object'),
     'fault', 'fails at: import mmcv; ImportError', 'pip uninstall -y opencv-python'),
])  # fmt: skip
def test_whose_operators_mmcv_has(packages, tried, mark, text, cure):
    packages({**MAINTAINED, 'mmmsmlp-mmcv-ops': '0.1.0'})
    found = doctor.judge_operators(tried)
    assert found.mark == mark and text in found.text and found.cure.startswith(cure)


@pytest.mark.parametrize('reason, cure', [
    ('compute capability (6, 1) is below (8, 0), the oldest that Triton supports.', ''),
    # Every torch pins its Triton: a newer one comes with a newer torch only.
    ('Triton is 2.1.0, and the kernels need 3.6 or newer, which comes with a newer '
     'PyTorch.', ''),
    ("Triton cannot be imported (No module named 'triton').",
     'pip install --no-deps triton=='),
])  # fmt: skip
def test_a_gpu_without_triton(monkeypatch, reason, cure):
    wanted = ['numpy', 'triton (==2.1.0) ; platform_system == "Linux"']
    monkeypatch.setattr(doctor.metadata, 'requires', lambda name: wanted)
    found = doctor.judge_backend(Try('', dict(backend='eager', reason=reason)))
    assert found.mark == 'note'
    assert found.text == f'backend eager, which is slower; not triton: {reason}'
    assert found.cure == (cure and cure + '2.1.0')


# --- the page -----------------------------------------------------


def test_the_page_fits_80_columns_of_ascii(capsys):
    page = doctor.Page(colours=False)
    words = ' '.join(['a long explanation'] * 9)
    cure = 'pip install ' + ' '.join(f'package{i}==1.0' for i in range(9))
    page.add('nets', Finding('retinanet (mmdet)', 'fault', words, cure))
    page.add('nets', Finding('upernet (mmseg)', 'fault', words, cure))
    out = capsys.readouterr().out
    assert out.isascii() and out.count('nets\n') == 1 and '\033' not in out
    lines = out.splitlines()
    assert [line for line in lines if len(line) > 80] == [f'         cure: {cure}']
    assert lines[-1] == '         cure: as above'
    assert lines[2].startswith('  fault  retinanet (mmdet)       a long explanation')


def test_colours(capsys):
    doctor.Page(colours=True).add('nets', Finding('a', 'fault', 'b'))
    assert '\033[31;1mfault\033[0m' in capsys.readouterr().out


NETS_OK = [Finding(f'{name} ({box})', 'ok', '') for name, box in doctor.NETS.items()]


@pytest.mark.parametrize('findings, well, text', [
    (NETS_OK, True, '0 faults, 0 notes: mmmsmlp trains and predicts here'),
    ([*NETS_OK, Finding('a', 'note', '')], True, '0 faults, 1 note: mmmsmlp trains'),
    ([*NETS_OK, Finding('a', 'fault', '')], False, '1 fault, 0 notes: apply the first'),
    (NETS_OK[1:], False, '0 faults, 0 notes: apply'),
])  # fmt: skip
def test_when_all_is_well(findings, well, text):
    assert doctor.is_well(findings) == well
    assert doctor.summary(findings).startswith(text)


def test_an_environment_for_exported_models_alone(monkeypatch):
    there = {'onnxruntime'}
    monkeypatch.setattr(doctor, 'find_spec', lambda name: name in there)
    faults = [Finding('torch', 'fault', 'missing')]
    text = 'without torch exported models alone run here (docs/deploy.md); 1 fault, '
    assert doctor.summary(faults).startswith(text)
    there.clear()
    assert doctor.summary(faults).startswith('1 fault, ')


# --- in whole -----------------------------------------------------


def start(*options, python=sys.executable, **variables):
    return subprocess.run(
        [python, *options], cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**os.environ, **variables},
    )  # fmt: skip


@pytest.mark.full
def test_here(tmp_path):
    """This environment is well, and the report says what is in it."""
    done = start('-m', 'mmmsmlp', 'doctor', '--json')
    found = json.loads(done.stdout)
    faults = [f for f in found['findings'] if f['mark'] == 'fault']
    assert (faults, found['well'], done.returncode) == ([], True, 0), done.stderr
    nets = [f['text'] for f in found['findings'] if f['section'].startswith('nets')]
    assert len(nets) == 3
    assert all(text.startswith('trains and predicts on ') for text in nets)
    assert found['packages']['torch'] and found['mmmsmlp'] == '0.1.0'


@pytest.mark.full
def test_without_torch_and_the_toolboxes(tmp_path):
    """python -m mmmsmlp doctor is a page even where nothing else imports."""
    for name in ('torch', 'mmengine'):
        (tmp_path / f'{name}.py').write_text('raise OSError("libcudart.so.13")\n')
    done = start('-m', 'mmmsmlp', 'doctor', PYTHONPATH=str(tmp_path), LC_ALL='C')
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'fails at: import torch; OSError:' in done.stdout
    assert done.stdout.count('not tried: torch does not import') == 5


def test_python_that_has_nothing():
    """Standard library only, and no third party hides behind an import."""
    code = (
        f'import sys; sys.path.insert(0, {str(TOOLS)!r}); import doctor\n'
        'print(doctor.check_env.check_package("torch").text)'
    )
    done = start('-S', '-I', '-c', code)
    assert done.stdout == 'missing; 2.1 or newer is needed\n', done.stderr


def test_others_still_need_mmengine(tmp_path):
    """Only the doctor is let in without: any other import says what is missing."""
    (tmp_path / 'mmengine.py').write_text('raise ImportError("no mmengine here")\n')
    paths = os.pathsep.join([str(tmp_path), str(Path(ROOT))])
    for options in (['-c', 'import mmmsmlp'], ['-m', 'mmmsmlp', 'train']):
        done = start(*options, PYTHONPATH=paths)
        assert done.returncode == 1 and 'no mmengine here' in done.stderr
