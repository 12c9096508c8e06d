"""Does a tool read each file once, and fill a model for evaluation once?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmmsmlp.checkpoints import read
from mmmsmlp.models.pyramid import PyramidBackbone
from tests.helpers.commands import TOOLS, assert_fails

LAST = 'optim_wrapper.optimizer.lr=0'


@pytest.fixture
def fills(monkeypatch):
    """The prefix of each loading of a backbone."""
    prefixes, load = [], PyramidBackbone._load_from_state_dict

    def counted(self, state_dict, prefix, *args, **kwargs):
        prefixes.append(prefix)
        return load(self, state_dict, prefix, *args, **kwargs)

    monkeypatch.setattr(PyramidBackbone, '_load_from_state_dict', counted)
    return prefixes


@pytest.fixture
def epoch_1(trained, tmp_path, monkeypatch):
    """The checkpoint of an epoch beside which nothing lies."""
    monkeypatch.chdir(tmp_path)
    os.symlink(trained / 'epoch_1.pth', 'epoch_1.pth')
    read._kept.clear()  # of refused runs before this test
    yield Path('epoch_1.pth')
    assert read._kept == {}


def train(run_tool, config, *arguments, epochs=1):
    code, out, err = run_tool(
        'train.py', config, '--work-dir', 'run', *arguments,
        '--cfg-options', LAST, f'train_cfg.max_epochs={epochs}',
    )  # fmt: skip
    assert code == 0, err
    return out + err


def test_pretrained(run_tool, tiny_config, epoch_1, reads):
    train(run_tool, tiny_config, '--pretrained', 'epoch_1.pth')
    assert reads == {'epoch_1.pth': 1}


def test_pretrained_backbone_of_a_toolbox(run_tool, tiny_config, tmp_path, reads):
    from mmdet.models.backbones import ResNet

    kwargs = dict(depth=18, base_channels=8, num_stages=3, strides=(1, 2, 2),
                  dilations=(1, 1, 1), out_indices=(0, 1, 2))  # fmt: skip
    state = {
        key: torch.ones_like(t) for key, t in ResNet(**kwargs).state_dict().items()
    }
    torch.save({'state_dict': state}, 'resnet.pth')
    config = tmp_path / 'resnet.py'
    config.write_text(
        f"_base_ = '{tiny_config}'\nmodel = dict(neck=dict(in_channels=[8, 16, 32]), "
        f"backbone=dict(_delete_=True, type='ResNet', **{kwargs}))\n"
    )
    train(run_tool, config, '--pretrained', 'resnet.pth')
    assert reads == {'resnet.pth': 1} and read._kept == {}
    saved = torch.load('run/epoch_1.pth', weights_only=True)['state_dict']
    assert (saved['backbone.layer2.0.conv1.weight'] == 1).all()


def test_resume_and_load_from(run_tool, tiny_config, epoch_1, reads):
    log = train(run_tool, tiny_config, '--resume', 'epoch_1.pth', epochs=2)
    assert 'resumed epoch: 1, iter: 3' in log
    assert reads == {'epoch_1.pth': 1}
    reads.clear()
    torch.save(torch.load('epoch_1.pth', weights_only=True), 'other.pth')
    arguments = '--resume', 'epoch_1.pth', '--pretrained', 'other.pth'
    reads.clear()
    train(run_tool, tiny_config, *arguments, epochs=2)
    assert reads == {'epoch_1.pth': 1, 'other.pth': 1}
    reads.clear()
    config = Path('from.py')
    config.write_text(f"_base_ = '{tiny_config}'\nload_from = 'epoch_1.pth'\n")
    train(run_tool, config)
    assert reads == {'epoch_1.pth': 1}


def test_evaluation(run_tool, tiny_config, epoch_1, reads, fills):
    code, out, err = run_tool('test.py', tiny_config, 'epoch_1.pth')
    assert code == 0, err
    assert reads == {'epoch_1.pth': 1} and fills == ['backbone.']
    assert out.count('tensors of RetinaNet from epoch_1.pth') == 1


def test_demo(run_tool, tiny_config, tiny_data, epoch_1, reads, fills):
    image = tiny_data / 'images' / '1.png'
    code, out, err = run_tool('image_demo.py', image, tiny_config, 'epoch_1.pth')
    assert code == 0, err
    assert reads == {'epoch_1.pth': 1} and fills == ['backbone.']
    assert out.count('tensors of RetinaNet from epoch_1.pth') == 1


def test_each_process_reads_once(tiny_config, trained, tmp_path):
    (tmp_path / 'sitecustomize.py').write_text(
        'import torch\n'
        'def counted(*args, load=torch.load, **kwargs):\n'
        "    open('reads.txt', 'a').write(f'{args[0]}\\n')\n"
        '    return load(*args, **kwargs)\n'
        'torch.load = counted\n'
    )
    env = dict(os.environ, PYTHONPATH=str(tmp_path), PYTHON=sys.executable,
               OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='-1')  # fmt: skip
    checkpoint = trained / 'epoch_1.pth'
    done = subprocess.run(
        ['bash', TOOLS / 'dist_test.sh', tiny_config, checkpoint, '2'],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / 'reads.txt').read_text() == f'{checkpoint}\n' * 2


WRAPS = {'compiled': '_orig_mod.', 'lightning': 'model.', 'both': 'module._orig_mod.'}


@pytest.fixture(
    params=[
        *('both', 'safetensors'),
        *(
            pytest.param(kind, marks=pytest.mark.slow)
            for kind in ('compiled', 'lightning', 'bare', 'model')
        ),
    ]
)
def other_file(request, epoch_1):
    """The same weights in a file of another kind, and how it is said to be laid out."""
    state = torch.load('epoch_1.pth', weights_only=True)['state_dict']
    if request.param == 'safetensors':
        save_file = pytest.importorskip('safetensors.torch').save_file
        save_file(dict(state), 'other.safetensors')
        return 'other.safetensors', 'bare'
    wrap = WRAPS.get(request.param, '')
    state = {wrap + key: tensor for key, tensor in state.items()}
    wrapper = request.param if request.param in ('bare', 'model') else 'state_dict'
    torch.save(state if wrapper == 'bare' else {wrapper: state}, 'other.pth')
    way = [f'{part}.' for part in wrap[:-1].split('.') if part]
    return 'other.pth', ' > '.join([wrapper, *way])


def test_files_of_other_kinds(run_tool, tiny_config, tiny_data, other_file):
    """They start, continue, are evaluated and drawn as train.py's own."""
    file, layout = other_file
    metrics = []
    for name in 'epoch_1.pth', file:
        code, out, err = run_tool('test.py', tiny_config, name, '--metrics', 'm.json')
        assert code == 0, err
        metrics.append(Path('m.json').read_text())
    assert metrics[0] == metrics[1] and f'from {file} [layout {layout}]' in out
    image = tiny_data / 'images' / '1.png'
    code, out, err = run_tool('image_demo.py', image, tiny_config, file)
    assert code == 0 and f'from {file} [layout {layout}]' in out, err
    log = train(run_tool, tiny_config, '--pretrained', file)
    assert f'from {file} [layout {layout} > backbone., geometry paper]' in log
    config = Path('from.py')
    config.write_text(f"_base_ = '{tiny_config}'\nload_from = '{file}'\n")
    train(run_tool, config)
    start = torch.load('epoch_1.pth', weights_only=True)['state_dict']
    end = torch.load('run/epoch_1.pth', weights_only=True)['state_dict']
    for key, tensor in start.items():
        assert torch.equal(end[key], tensor), key


@pytest.mark.parametrize('prefix', ['', 'student.'])
def test_load_from_a_file_of_another_model(run_tool, tiny_config, epoch_1, prefix):
    state = torch.load('epoch_1.pth', weights_only=True)['state_dict']
    if prefix:
        state = {prefix + key: tensor for key, tensor in state.items()}
        words = 'every key stands under', repr(prefix)
    else:
        state = {'conv1.weight': torch.ones(1)}
        words = 'holds none of the', 'RetinaNet', 'it holds conv1.weight'
    torch.save(state, 'other.pth')
    option = 'load_from=other.pth'
    assert_fails(run_tool('train.py', tiny_config, '--cfg-options', option), *words)


WAYS = ['load_from', 'resume', 'pretrained', 'init_cfg', 'test', 'demo']


def call(way, config, images, address):
    return {
        'load_from': ('train.py', config, '--cfg-options', f'load_from={address}'),
        'resume': ('train.py', config, '--resume', address),
        'pretrained': ('train.py', config, '--pretrained', address),
        'init_cfg': ('train.py', config, '--cfg-options',
                     'model.backbone.init_cfg.type=Pretrained',
                     f'model.backbone.init_cfg.checkpoint={address}'),
        'test': ('test.py', config, address),
        'demo': ('image_demo.py', images, config, address),
    }[way]  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('scheme', ['http', 'torchvision'])
def test_addresses_that_are_not_read_from(
    run_tool, tiny_config, tiny_data, way, scheme
):
    address = f'{scheme}://example.org/model.pth'
    result = run_tool(*call(way, tiny_config, tiny_data / 'images', address))
    assert_fails(result, f'not read from {scheme}:// addresses', 'download it first')


@pytest.mark.parametrize('way', WAYS)
def test_an_https_address_is_downloaded_once(
    run_tool, tiny_config, tiny_data, trained, tmp_path, monkeypatch, reads, way
):
    downloaded = []

    def download(address, file):
        downloaded.append(address)
        Path(file).write_bytes((trained / 'epoch_1.pth').read_bytes())

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    address = 'https://example.org/runs/epoch_1.pth'
    for _ in range(2):
        code, _, err = run_tool(
            *call(way, tiny_config, tiny_data / 'images' / '1.png', address)
        )
        assert code == 0, err
    assert downloaded == [address]
    assert list(reads.values()) == [2]
