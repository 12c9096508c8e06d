"""tools/train.py and the switches behind it."""

import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmmsmlp.errors import BadInput, CheckpointError
from mmmsmlp.geometry import Geometry
from mmmsmlp.run import switches
from mmmsmlp.run.config import load_config
from mmmsmlp.run.launch import replace_sync_bn, set_up_processes
from mmmsmlp.run.mends import latest_checkpoint
from mmmsmlp.run.preflight import check_data_paths
from mmmsmlp.run.weights import use_pretrained

ROOT = Path(__file__).resolve().parents[2]
RESNET = dict(type='mmdet.ResNet', depth=18, base_channels=8, num_stages=2,
              strides=(1, 2), dilations=(1, 1), out_indices=(0, 1))  # fmt: skip


def test_a_run_keeps_checkpoint_config_and_environment(trained):
    checkpoint = torch.load(trained / 'epoch_1.pth', weights_only=True)
    assert checkpoint['meta']['epoch'] == 1 and checkpoint['meta']['iter'] == 3
    assert checkpoint['meta']['dataset_meta']['classes'] == ('square', 'bar')
    assert checkpoint['state_dict']['backbone.geometry'].tolist() == [0, 0, 1]
    assert 'arch=dict' in (trained / 'tiny.py').read_text().replace(' ', '')
    log = min(trained.glob('*/*.log')).read_text()  # others' are later
    assert 'PyTorch:' in log and 'Epoch(train) [1][3/3]' in log


def test_pretrained_sets_weights_and_geometry(run_tool, tiny_config, trained, tmp_path):
    checkpoint = torch.load(trained / 'epoch_1.pth', weights_only=True)
    state = checkpoint['state_dict']
    state['backbone.geometry'] = Geometry.of('released', (-1, 1)).mark()
    state['backbone.stages.0.embed.proj.bias'].fill_(0.25)
    torch.save({'model': state}, 'released.pth')
    code, out, err = run_tool(
        'train.py', tiny_config, '--pretrained', 'released.pth', '--work-dir', 'run',
        '--cfg-options', 'optim_wrapper.optimizer.lr=0',
    )  # fmt: skip
    assert code == 0, err
    assert 'starts from released.pth (released: roll by +s, then mix' in out + err
    after = torch.load('run/epoch_1.pth', weights_only=True)['state_dict']
    assert after['backbone.geometry'].tolist() == [1, -1, 1]
    assert (after['backbone.stages.0.embed.proj.bias'] == 0.25).all()
    backbone = Config.fromfile('run/tiny.py').model.backbone
    assert backbone.geometry == 'released' and tuple(backbone.shift_dist) == (-1, 1)
    # As the README says: the run's config evaluates what the original one refuses.
    code, out, err = run_tool('test.py', 'run/tiny.py', 'run/epoch_1.pth')
    assert code == 0, err
    code, out, err = run_tool('test.py', tiny_config, 'run/epoch_1.pth')
    assert code == 2 and "geometry='released'" in err, err


def test_resume_continues_the_latest_checkpoint(run_tool, tiny_config, trained):
    shutil.copytree(trained, 'moved')
    code, out, err = run_tool(
        'train.py', tiny_config, '--work-dir', 'moved', '--resume', '--auto-scale-lr',
        '--cfg-options', 'train_cfg.max_epochs=2',
    )  # fmt: skip
    log = out + err
    assert code == 0, log
    assert 'resumed epoch: 1, iter: 3' in log and 'RANDOM weights' not in log
    assert 'Scaling the original LR by 0.0625' in log
    assert 'Epoch(train) [1][' not in log and 'Epoch(train) [2][3/3]' in log
    epochs = torch.load('moved/epoch_2.pth', weights_only=True)['meta']['epoch']
    assert epochs == 2


def test_resume_finds_a_moved_run_or_says_that_there_is_none(tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path), load_from='start.pth'))
    assert 'no checkpoint yet' in switches.use_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (False, 'start.pth')
    content = dict(state_dict=dict(weight=torch.ones(1)))
    torch.save(content, tmp_path / 'epoch_7.pth')
    (tmp_path / 'last_checkpoint').write_text('/elsewhere/run/epoch_7.pth')
    switches.use_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (True, str(tmp_path / 'epoch_7.pth'))
    mine = str(tmp_path / 'mine.pth')
    torch.save(content, mine)
    switches.use_resume(cfg, mine)
    assert cfg.load_from == mine


def test_a_copied_run_goes_on_from_its_own_checkpoint(tmp_path):
    for run in (tmp_path / 'run', tmp_path / 'copy'):
        run.mkdir()
        torch.save({}, run / 'epoch_7.pth')
        (run / 'last_checkpoint').write_text(str(tmp_path / 'run' / 'epoch_7.pth'))
    own = str(tmp_path / 'copy' / 'epoch_7.pth')
    assert latest_checkpoint(tmp_path / 'copy') == own


def test_auto_scale_lr_needs_a_base():
    with pytest.raises(BadInput, match='base_batch_size=16'):
        switches.use_auto_scale_lr(Config(dict(auto_scale_lr=dict(enable=False))))


def test_sync_bn_becomes_bn_in_one_process():
    sync = dict(type='SyncBN', requires_grad=True)
    cfg = Config(dict(model=dict(neck=dict(norm_cfg=sync), heads=[dict(n=dict(sync))])))
    notices = set_up_processes(cfg, 'none')
    assert cfg.model.neck.norm_cfg.type == cfg.model.heads[0].n.type == 'BN'
    assert len(notices) == 1 and notices[0].startswith('SyncBN became BN in 2 places')
    assert replace_sync_bn(cfg) == 0 and set_up_processes(cfg, 'none') == []


def test_pretrained_vets_a_backbone_of_the_toolbox(tmp_path):
    from mmdet.models.backbones import ResNet

    kwargs = {key: value for key, value in RESNET.items() if key != 'type'}
    state = ResNet(**kwargs).state_dict()
    torch.save(state, tmp_path / 'full.pth')
    state.pop('layer1.0.conv1.weight')
    torch.save(state, tmp_path / 'lacking.pth')

    def config():
        return Config(dict(model=dict(backbone=dict(RESNET)), default_scope='mmdet'))

    cfg = config()
    use_pretrained(cfg, str(tmp_path / 'full.pth'))
    assert cfg.model.backbone.init_cfg.checkpoint == str(tmp_path / 'full.pth')
    with pytest.raises(CheckpointError, match='layer1.0.conv1.weight'):
        use_pretrained(config(), str(tmp_path / 'lacking.pth'))


def test_pretrained_and_load_from_exclude_each_other(trained):
    cfg = Config(dict(model=dict(backbone=dict(RESNET)), load_from='x.pth'))
    with pytest.raises(BadInput, match='x.pth would overwrite'):
        use_pretrained(cfg, str(trained / 'epoch_1.pth'))


def test_config_is_found_from_any_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cfg = load_config('configs/retinanet_msmlp_t_1x.py', {'train_cfg.max_epochs': 3})
    assert cfg.train_cfg.max_epochs == 3
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs' / 'retinanet_msmlp_t_1x.py').write_text('own = 1')
    assert load_config('configs/retinanet_msmlp_t_1x.py').own == 1


def test_an_option_keeps_a_tuple_a_tuple():
    """mmcv takes no list as a scale, and the shell gives it one."""
    place = 'train_dataloader.dataset.pipeline.2.scale'
    cfg = load_config('configs/retinanet_msmlp_t_1x.py', {place: [640, 400]})
    assert cfg.train_dataloader.dataset.pipeline[2].scale == (640, 400)


def test_data_paths_look_through_wrappers(tiny_data):
    def config(**dataset):
        inner = dict(data_root=str(tiny_data), **dataset)
        wrapped = dict(type='RepeatDataset', dataset=dict(datasets=[inner]))
        return Config(dict(train_cfg=dict(), train_dataloader=dict(dataset=wrapped),
                           val_cfg=dict(by=1), test_cfg=None))  # fmt: skip

    def check(**dataset):
        cfg = config(**dataset)
        cfg.train_cfg = dict(max_epochs=1)
        check_data_paths(cfg)

    check(ann_file='boxes.json', data_prefix=dict(img='images/'))
    check(ann_file='https://host/boxes.json')
    with pytest.raises(BadInput, match=r'data_prefix.img = .*nothing/ does not exist'):
        check(data_prefix=dict(img='nothing/'))


def test_own_data_as_the_docs_say(tiny_data, tmp_path, monkeypatch):
    """docs/data.md's config trains on a COCO-format folder of one's own."""
    text = (ROOT / 'docs' / 'data.md').read_text()
    code = text.split('```python\n')[1].split('```')[0]
    code = code.replace("'retinanet", f"'{ROOT}/configs/retinanet")
    (tmp_path / 'birds.py').write_text(code)
    (tmp_path / 'data').mkdir()
    shutil.copytree(tiny_data, tmp_path / 'data' / 'birds')
    monkeypatch.chdir(tmp_path)
    cfg = load_config('birds.py')
    with pytest.raises(BadInput, match=r'data/birds/train.json does not exist'):
        check_data_paths(cfg, ('train', 'val'))
    for split in ('train', 'val'):
        shutil.copy(tiny_data / 'boxes.json', f'data/birds/{split}.json')
    check_data_paths(cfg)
    assert cfg.model.bbox_head.num_classes == 1
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.metainfo.classes == ('bird',)
