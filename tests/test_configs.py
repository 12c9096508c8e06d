"""Are configs found by name, from a checkout and after both kinds of pip install?"""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import mmmsmlp
from mmmsmlp.configs import Leaf

ROOT = Path(__file__).parents[1]


def test_names_and_patterns():
    assert mmmsmlp.list_configs('retinanet_msmlp_?_1x') == [
        f'retinanet_msmlp_{size}_1x' for size in 'bst'
    ]
    everything = mmmsmlp.list_configs()
    files = [
        path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in str(path)
    ]
    assert len(everything) == len(files) > 100
    assert 'ablation/table9_local_patch4' in everything


def test_a_config_by_name():
    cfg = mmmsmlp.get_config('retinanet_msmlp_t_1x')
    assert cfg.model.backbone.type == 'mmmsmlp.MSMLP'
    assert cfg.default_scope == 'mmdet'
    assert (
        mmmsmlp.get_config('ablation/table12_t_2-2-6-2').default_scope == 'mmpretrain'
    )


def test_an_unknown_name_gets_near_ones():
    with pytest.raises(KeyError, match='retinanet_msmlp_t_1x'):
        mmmsmlp.get_config('retinanet_msmlp_tiny_1x')


def test_a_name_is_taken_apart():
    leaf = Leaf.parse('cascade-mask-rcnn_msmlp-swin_s_3x')
    assert leaf == Leaf('cascade-mask-rcnn', 'msmlp-swin', 's', '3x')
    assert Leaf.parse('msmlp_t_300e') == Leaf('', 'msmlp', 't', '300e')
    for other in (
        'upernet_msmlp_t_camvid',
        'retinanet_msmlp_demo',
        'a_b',
        'my_config_t',
    ):
        assert Leaf.parse(other) is None


@pytest.fixture(scope='module', params=['plain', 'editable'])
def installed(request, tmp_path_factory):
    """The Python of a fresh environment that has the package by pip alone."""
    folder = tmp_path_factory.mktemp(request.param)
    names = subprocess.check_output(['git', 'ls-files', '-co', '--exclude-standard'],
                                    cwd=ROOT, text=True).split('\n')  # fmt: skip
    source = folder / 'source'
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    venv.create(folder / 'env', symlinks=True)
    site = next((folder / 'env' / 'lib').glob('python*')) / 'site-packages'
    # It sees what this interpreter has, and pip comes from there too.
    here = [path for path in sys.path if path.endswith('site-packages')]
    (site / 'outer.pth').write_text('\n'.join(here) + '\n')
    python = folder / 'env' / 'bin' / 'python'
    editable = ['-e'] if request.param == 'editable' else []
    command = [python, '-m', 'pip', 'install', '-q', '--no-deps', '--no-index',
               '--no-build-isolation', *editable, source]  # fmt: skip
    subprocess.run(command, check=True, timeout=200, cwd=folder)
    return python


def run(python, *arguments, cwd):
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    return subprocess.run(
        [python, *arguments], cwd=cwd, env=env, text=True, capture_output=True
    )


@pytest.mark.slow
def test_an_install_has_configs_and_tools(installed, tmp_path):
    code = (
        'import mmmsmlp; print(mmmsmlp.__file__)\n'
        'from mmdet.apis import DetInferencer\n'
        "detect = DetInferencer(mmmsmlp.get_config('retinanet_msmlp_t_1x'))\n"
        'print(type(detect.model.backbone).__name__)'
    )
    done = run(installed, '-c', code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.split('\n')
    assert str(installed.parents[2]) in done.stdout  # this install, no other
    assert 'MSMLP' in lines
    counted = run(
        installed, '-m', 'mmmsmlp', 'complexity', 'msmlp_t_300e', cwd=tmp_path
    )
    assert '28.66' in counted.stdout, counted.stderr
    # A launcher finds its Python tool, and the tool a config by its name.
    train = ['dist_train', 'retinanet_msmlp_t_1x', '1']
    done = run(installed, '-m', 'mmmsmlp', *train, cwd=tmp_path)
    assert done.returncode == 2 and 'data/coco/' in done.stderr, done.stderr


def test_an_unknown_tool(tmp_path):
    done = subprocess.run(
        [sys.executable, '-m', 'mmmsmlp', 'trian'],
        cwd=ROOT, text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "'trian'" in done.stderr and 'train' in done.stderr
