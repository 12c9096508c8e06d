"""Each bad input ends a tool with one error line, exit code 2 and no traceback."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from mmmsmlp.errors import BadInput
from mmmsmlp.geometry import Geometry
from mmmsmlp.run import entry
from tests.helpers.commands import assert_fails
from tests.helpers.hostile import Runs


@pytest.mark.parametrize('tool', ['train.py', 'test.py', 'complexity.py'])
def test_a_part_of_a_config(run_tool, tool):
    more = ['no.pth'] if tool == 'test.py' else []
    result = run_tool(tool, 'configs/_base_/schedule_1x.py', *more)
    assert_fails(result, 'schedule_1x.py has no', 'no model', 'whole experiment')


def test_arguments_that_changed_places(run_tool, tmp_path):
    (tmp_path / 'epoch_2.pth').write_text('')
    result = run_tool('test.py', tmp_path / 'epoch_2.pth', 'configs/my.py')
    assert_fails(result, 'epoch_2.pth is no config', 'changed places')


def test_half_an_option_is_none(run_tool):
    """--resum would go on with a run, and prune its checkpoints."""
    code, _, err = run_tool('train.py', 'retinanet_msmlp_t_1x', '--resum')
    assert code == 2 and 'unrecognized arguments: --resum' in err


def test_a_path_is_not_taken_for_a_name(run_tool):
    """A mistyped path once trained the package's own config of that file name."""
    result = run_tool('train.py', 'configs/mine/retinanet_msmlp_t_1x.py')
    assert_fails(result, 'configs/mine/retinanet_msmlp_t_1x.py does not exist')


def test_classification_data_is_checked_for_every_loop(run_tool, tmp_path):
    """mmpretrain's loops are empty dicts."""
    (tmp_path / 'train').mkdir()
    options = ['train_dataloader.dataset.data_root=.',
               'val_dataloader.dataset.data_root=nowhere',
               'test_dataloader.dataset.data_root=nowhere']  # fmt: skip
    config = 'configs/msmlp_t_300e.py'
    result = run_tool('train.py', config, '--cfg-options', *options)
    assert_fails(result, 'val_dataloader.dataset.data_root = nowhere')
    result = run_tool('test.py', config, 'no.pth', '--cfg-options', *options)
    assert_fails(result, 'test_dataloader.dataset.data_root = nowhere')


def test_what_is_in_the_way_of_an_output_is_named(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('kept')
    (tmp_path / 'taken').mkdir()
    entry.writable('--out', tmp_path / 'a' / 'x.json')
    entry.writable('--out', tmp_path / 'file')
    entry.writable('--out-dir', tmp_path / 'b' / 'c', folder=True)
    made = sorted(path.name for path in tmp_path.rglob('*'))
    assert made == ['a', 'b', 'c', 'file', 'taken']
    assert (tmp_path / 'file').read_text() == 'kept'
    for path, folder, reason in [
        ('taken', False, 'taken is a folder; name a file in a folder of yours'),
        ('file/x.json', False, 'file is a file; name a file in a folder of yours'),
        ('file', True, 'file is a file; name a folder of yours'),
        ('file/sub/sub', True, 'file is a file; name a folder of yours'),
    ]:
        with pytest.raises(BadInput) as refused:
            entry.writable('--out', tmp_path / path, folder)
        start = f'--out {tmp_path / path} cannot be written: {tmp_path}/'
        assert str(refused.value) == start + reason
    monkeypatch.setattr(os, 'access', lambda path, mode: path != tmp_path / 'taken')
    entry.writable('--out', tmp_path / 'file')
    for path, folder in ('taken', True), ('taken/x', False):
        with pytest.raises(BadInput, match='Permission denied; name a f'):
            entry.writable('--out', tmp_path / path, folder)


@pytest.mark.parametrize(
    ('command', 'option', 'path'),
    [
        ('benchmark.py', '--out', 'adir'),
        ('benchmark.py', '--out', 'afile/x.json'),
        ('benchmark.py', '--chart', 'afile/x.png'),
        ('gpu_check.py', '--out', 'adir'),
        ('check_data.py nowhere', '--report', 'afile/sub'),
        ('explain.py no.jpg no.py no.pth', '--out', 'afile'),
        ('image_demo.py no.jpg no.py no.pth', '--out-dir', 'afile'),
        ('receptive_field.py none', '--out-dir', 'afile'),
        ('swap.py configs/retinanet_msmlp_t_1x.py', '--out', 'afile/x.py'),
        ('test.py configs/retinanet_msmlp_t_1x.py no.pth', '--metrics', 'adir'),
        ('test.py configs/retinanet_msmlp_t_1x.py no.pth', '--mistakes', 'afile'),
    ],
)
def test_outputs_are_checked_first(run_tool, tmp_path, command, option, path):
    (tmp_path / 'adir').mkdir()
    (tmp_path / 'afile').write_text('')
    result = run_tool(*command.split(), option, path)
    assert_fails(result, f'{option} {path} cannot be written: ', ' of yours')


def test_more_processes_than_gpus(monkeypatch):
    from mmmsmlp.run import launch

    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 4)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '8')
    for rank in '0', '7':
        monkeypatch.setenv('LOCAL_RANK', rank)
        with pytest.raises(BadInput, match='8 processes.*4 are visible'):
            launch._check_gpu_count()


def test_a_fault_of_one_process_is_told_by_it(monkeypatch, capsys):
    """One task too many for the GPUs: the first process of the machine runs on."""

    def main():
        raise BadInput('no GPU is left')

    monkeypatch.setattr(entry, 'FIRST_SPEAKS_WITHIN', 0.1)
    monkeypatch.setenv('LOCAL_RANK', '3')
    monkeypatch.setattr(signal, 'signal', lambda *_: None)  # pytest keeps its own
    with pytest.raises(SystemExit) as ended:
        entry.run_tool(main)
    assert ended.value.code == entry.EXIT_BAD_INPUT
    assert capsys.readouterr().err == 'error: no GPU is left\n'


def test_a_process_that_is_ended_while_the_first_speaks_is_silent(tmp_path):
    source = (
        'from mmmsmlp.errors import BadInput\n'
        'from mmmsmlp.run.entry import run_tool\n'
        'def main():\n'
        '    print("up", flush=True)\n'
        '    raise BadInput("told by the first")\n'
        'run_tool(main)\n'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', source], env=dict(os.environ, LOCAL_RANK='1'),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == 'up\n'
    time.sleep(1)
    process.terminate()
    _, error = process.communicate(timeout=5)
    assert process.returncode == entry.EXIT_BAD_INPUT
    assert error == ''


@pytest.mark.parametrize('option', ['--metrics', '--out'])
def test_results_that_could_not_be_written(run_tool, tiny_config, tmp_path, option):
    (tmp_path / 'file').touch()
    target = tmp_path / 'file' / 'results.pkl'
    assert_fails(run_tool('test.py', tiny_config, 'no.pth', option, target), option)


def test_what_is_read_is_not_written_over(run_tool, tiny_config, tiny_data, tmp_path):
    """Annotations, the config and checkpoints; and a page is no other file."""
    config = tmp_path / 'own.py'
    config.write_text(f'_base_ = {str(tiny_config)!r}\n# notes\n')
    boxes, checkpoint = tiny_data / 'boxes.json', tmp_path / 'some.pth'
    checkpoint.write_bytes(b'weights')
    kept = {path: path.read_bytes() for path in (config, boxes, checkpoint)}
    evaluate = ('test.py', config, checkpoint)
    for command, option, target, words in (
        (evaluate, '--json', boxes, 'is a file that is read'),
        (evaluate, '--metrics', boxes, 'is a file that is read'),
        (evaluate, '--metrics', checkpoint, 'is a file that is read'),
        (('swap.py', config), '--out', config, 'is a file that is read'),
        (('report.py', tmp_path), '--out', checkpoint, 'a name that ends with .html'),
    ):
        assert_fails(run_tool(*command, option, target), f'{option} {target}', words)
    assert {path: path.read_bytes() for path in kept} == kept


def test_an_image_that_is_none(run_tool, tiny_config, trained, tmp_path):
    (tmp_path / 'note.jpg').write_text('no pixels')
    result = run_tool('image_demo.py', 'note.jpg', tiny_config, trained / 'epoch_1.pth')
    assert_fails(result, 'note.jpg is no image')


@pytest.fixture
def files(trained, tmp_path):
    """Bad checkpoints by kind."""
    good = trained / 'epoch_1.pth'
    state = torch.load(good, weights_only=True)['state_dict']
    backbone = {key: value for key, value in state.items() if 'backbone' in key}
    unmarked = {k: v for k, v in state.items() if k != 'backbone.geometry'}
    other = {**state, 'backbone.geometry': Geometry.of('released', (-1, 1)).mark()}
    paths = {kind: tmp_path / f'{kind}.pth' for kind in ('missing', 'cut', 'page')}
    paths['cut'].write_bytes(good.read_bytes()[:20000])
    paths['page'].write_text('<html>404: not here</html>')
    contents = dict(
        bomb=dict(state_dict=state, config=Runs(os.mkdir, 'exploded')),
        backbone=dict(state_dict=backbone),
        unmarked=unmarked, other=other, poor={**state, 'neck.none': torch.ones(1)},
    )  # fmt: skip
    contents['poor'].pop('bbox_head.retina_cls.bias')
    for kind, content in contents.items():
        paths[kind] = tmp_path / f'{kind}.pth'
        torch.save(content, paths[kind])
    return paths


def test_config_that_does_not_exist(run_tool):
    result = run_tool('train.py', 'configs/retinanet_msmlp_tiny_1x.py')
    assert_fails(
        result,
        'configs/retinanet_msmlp_tiny_1x.py does not exist',
        'did you mean',
        'retinanet_msmlp_t_1x',
    )


@pytest.mark.parametrize(
    ('text', 'fragment'),
    [
        ('model = dict(', 'SyntaxError'),
        ('a = b', 'NameError'),
        ("_base_ = 'x.py'", 'x.py'),
        ("custom_imports = dict(imports=['mmmsmlp', 'my_mod'])", "named 'my_mod'; giv"),
    ],
)
def test_config_that_cannot_be_read(run_tool, tmp_path, text, fragment):
    (tmp_path / 'bad.py').write_text(text)
    assert_fails(run_tool('train.py', 'bad.py'), 'bad.py cannot be read', fragment)


@pytest.mark.parametrize(
    ('option', 'fragment'),
    [
        ('train_dataloader.dataset.ann_file=none.json', 'none.json does not exist'),
        ('train_dataloader.dataset.data_prefix.img=none', 'none does not exist'),
        ('val_dataloader.dataset.data_root=none', 'none does not exist'),
        ('val_evaluator.ann_file=none.json', 'val_evaluator.ann_file = none.json'),
    ],
)
def test_data_that_does_not_exist(run_tool, tiny_config, option, fragment):
    result = run_tool('train.py', tiny_config, '--cfg-options', option)
    assert_fails(result, fragment, 'docs/data.md')


@pytest.mark.full
@pytest.mark.parametrize(
    ('options', 'fragment'),
    [
        (['model.backbone.arch=huge'], "'huge'"),
        (['model.backbone.geometry=round'], "'round'"),
        (['model.backbone.out_indices=[1,4]'], 'out_indices'),
        (['model.backbone.arch.mix_sizes=[[1,2],[1,2],[1,2],[1,2]]'], 'odd'),
        (['model.backbone.arch.depths=[1,1]'], 'depths'),
        (['model.neck.typo=1'], 'typo'),
    ],
)
def test_model_that_cannot_be_built(run_tool, tiny_config, options, fragment):
    result = run_tool('train.py', tiny_config, '--cfg-options', *options)
    assert_fails(result, 'cannot be built', fragment)


def test_options_without_value(run_tool, tiny_config):
    result = run_tool('train.py', tiny_config, '--cfg-options', 'epochs')
    assert_fails(result, '--cfg-options takes KEY=VALUE')


def test_options_are_read_as_mmengine_or_python_has_them(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=entry.DictOptions)

    def read(text):
        return parser.parse_args(['--cfg-options', f'key={text}']).cfg_options['key']

    assert read("[{'type': 'EMAHook', 'momentum': 2e-4}]") == [
        dict(type='EMAHook', momentum=2e-4)
    ]
    assert read("{'scale': (8, 4)}") == dict(scale=(8, 4))
    assert read('[1,(2,x)]') == [1, (2, 'x')] and read('1e-3') == 1e-3
    with pytest.raises(SystemExit):
        read('{type}')
    assert 'takes KEY=VALUE pairs' in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason='--amp runs here')
def test_amp_without_gpu(run_tool, tiny_config):
    result = run_tool('train.py', tiny_config, '--amp', 'fp16')
    assert_fails(result, '--amp fp16 needs a GPU', '--amp bf16')


def test_launcher_without_its_environment(run_tool, tiny_config, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('LOCAL_RANK', '0')
    result = run_tool('train.py', tiny_config, '--launcher', 'pytorch')
    assert_fails(result, "'RANK'", 'tools/dist_')


SAFE = dict(missing='does not exist', cut='truncated', page='HTML', bomb='mkdir')


@pytest.mark.parametrize(('kind', 'fragment'), SAFE.items())
@pytest.mark.parametrize('way', ['load_from', 'resume', 'pretrained', 'test', 'demo'])
def test_checkpoint_that_cannot_be_read(
    run_tool, tiny_config, tiny_data, files, kind, fragment, way
):
    file = files[kind]
    tool, *arguments = {
        'load_from': ('train.py', tiny_config, '--cfg-options', f'load_from={file}'),
        'resume': ('train.py', tiny_config, '--resume', file),
        'pretrained': ('train.py', tiny_config, '--pretrained', file),
        'test': ('test.py', tiny_config, file),
        'demo': ('image_demo.py', tiny_data / 'images', tiny_config, file),
    }[way]
    assert_fails(run_tool(tool, *arguments), str(file), fragment)
    assert not os.path.exists('exploded')


@pytest.mark.parametrize(
    ('kind', 'fragment'),
    [
        ('backbone', 'It holds a backbone at most'),
        ('poor', 'bbox_head.retina_cls.bias'),
        ('other', "geometry='released'"),
        ('unmarked', 'state no geometry'),
    ],
)
@pytest.mark.parametrize('way', ['test', 'demo'])
def test_checkpoint_that_does_not_fill_the_model(
    run_tool, tiny_config, tiny_data, files, kind, fragment, way
):
    tool, *arguments = {
        'test': ('test.py', tiny_config, files[kind]),
        'demo': ('image_demo.py', tiny_data / 'images', tiny_config, files[kind]),
    }[way]
    assert_fails(run_tool(tool, *arguments), fragment)


def test_a_checkpoint_of_another_kind_of_model(run_tool, tiny_config, files):
    state = torch.load(files['backbone'])
    state = state.get('state_dict', state)
    torch.save({**state, 'head.fc.weight': torch.zeros(3, 8)}, 'classifier.pth')
    result = run_tool('test.py', tiny_config, 'classifier.pth')
    assert_fails(result, "It is of another model: it has 'head.fc.weight'")


def test_a_pretrained_file_that_is_not_there(run_tool, tiny_config):
    result = run_tool('train.py', tiny_config, '--pretrained', 'no.pth')
    assert_fails(result, '--pretrained no.pth does not exist')


@pytest.mark.parametrize('way', ['load_from', 'resume'])
def test_training_refuses_another_geometry(run_tool, tiny_config, files, way):
    state, file = torch.load(files['other']), 'other_run.pth'
    torch.save(dict(state_dict=state, meta=dict(epoch=1, iter=3)), file)
    switch = dict(
        load_from=('--cfg-options', f'load_from={file}'), resume=('--resume', file)
    )
    assert_fails(run_tool('train.py', tiny_config, *switch[way]), "geometry='released'")


def test_pretrained_file_that_lacks_a_tensor(run_tool, tiny_config, files, tmp_path):
    state = torch.load(files['backbone'])['state_dict']
    state.pop('backbone.stages.3.blocks.0.fc1.bias')
    torch.save(state, 'lacking.pth')
    result = run_tool('train.py', tiny_config, '--pretrained', 'lacking.pth')
    assert_fails(result, 'stages.3.blocks.0.fc1.bias')


def test_pretrained_backbone_that_cannot_be_built(run_tool, tiny_config, files):
    option = 'model.backbone.out_indices=(0,9)'
    result = run_tool(
        'train.py',
        tiny_config,
        '--pretrained',
        files['backbone'],
        '--cfg-options',
        option,
    )
    assert_fails(result, 'model.backbone cannot be built', '(0, 9)')


def test_pretrained_file_of_another_family(run_tool, tiny_config, files):
    (tiny_config.parent / 'focal.py').write_text(
        f"_base_ = '{tiny_config}'\n"
        "model = dict(backbone=dict(_delete_=True, type='mmmsmlp.FocalTransformer'))"
    )
    result = run_tool(
        'train.py', tiny_config.parent / 'focal.py', '--pretrained', files['backbone']
    )
    assert_fails(result, 'backbone has none')


def test_a_downloaded_checkpoint_is_read_as_safely(
    run_tool, tiny_config, files, monkeypatch, tmp_path
):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(
        torch.hub,
        'download_url_to_file',
        lambda address, file: shutil.copy(files['bomb'], file),
    )
    result = run_tool(
        'train.py',
        tiny_config,
        '--cfg-options',
        'load_from=https://example.org/bomb.pth',
    )
    assert_fails(result, 'checkpoints/bomb-', 'mkdir')
    assert not (tmp_path / 'exploded').exists()


def test_switches_of_test_that_cannot(run_tool, tiny_config, trained):
    checkpoint = trained / 'epoch_1.pth'
    assert_fails(run_tool('test.py', tiny_config, checkpoint, '--tta'), 'no tta_model')
    assert_fails(
        run_tool('test.py', tiny_config, checkpoint, '--out', 'x.json'), '.pkl'
    )
    assert_fails(
        run_tool('image_demo.py', 'none/*.jpg', tiny_config, checkpoint), 'no image'
    )


USAGE = {
    'slurm_train.sh': ['PARTITION', 'JOB'],
    'slurm_test.sh': ['PARTITION', 'JOB', 'CONFIG'],
}


@pytest.mark.parametrize(('script', 'arguments'), USAGE.items())
def test_too_few_arguments(run_shell, script, arguments):
    done = run_shell(script, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f'usage: tools/{script} {" ".join(arguments)[:5]}')


DIST = {'dist_train.py': ['CONFIG'], 'dist_test.py': ['CONFIG', 'CHECKPOINT']}


@pytest.mark.parametrize('tool', DIST)
@pytest.mark.parametrize('gpus', ['two', '0', '-1', '2x', ''])
def test_number_of_processes(run_tool, tool, gpus):
    code, _, err = run_tool(tool, *DIST[tool])
    assert code == 2
    assert err.startswith(f'usage: tools/{tool} {" ".join(DIST[tool])} GPUS')
    assert_fails(run_tool(tool, *DIST[tool], gpus), 'GPUS must be', f"got '{gpus}'")


def test_a_run_folder_that_is_a_file(run_tool, tiny_config, tmp_path):
    (tmp_path / 'run').write_text('')
    code, _, err = run_tool('train.py', tiny_config, '--work-dir', tmp_path / 'run')
    assert code == 2 and 'run is a file; name a folder' in err
