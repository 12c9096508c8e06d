"""FSDP through mmengine's strategy: two gloo processes on a small detector."""

import json
from pathlib import Path

import pytest
import torch

from mmmsmlp import MSMLP, MSMLPSwin
from mmmsmlp.engine.fsdp import wrap_blocks
from mmmsmlp.errors import BadInput
from mmmsmlp.models.msmlp import MSBlock
from mmmsmlp.models.windows import TransformerBlock
from mmmsmlp.run.config import load_config
from mmmsmlp.run.launch import set_up_processes


@pytest.fixture
def sharded_config(tiny_config):
    """The tiny config with FSDP, by the two lines that docs/scale.md gives."""
    path = tiny_config.with_name('sharded.py')
    base = load_config('retinanet_msmlp_t_1x').filename
    option = base.replace('retinanet_msmlp_t_1x.py', '_base_/fsdp.py')
    path.write_text(f"_base_ = ['{tiny_config}', '{option}']\n")
    return path


def test_a_block_is_gathered_as_a_whole():
    for net, kinds in ((MSMLP, {MSBlock}), (MSMLPSwin, {MSBlock, TransformerBlock})):
        modules = list(net('tiny').modules())
        wrapped = [m for m in modules if wrap_blocks(m, False, 0)]
        assert {type(m) for m in wrapped} == kinds
        assert all(wrap_blocks(m, True, 0) for m in modules)


def test_one_process_is_told_so(sharded_config):
    with pytest.raises(BadInput, match='dist_train'):
        set_up_processes(load_config(str(sharded_config)), 'none')


@pytest.mark.slow
def test_two_processes_learn_as_without(
    run_shell, tiny_config, sharded_config, tmp_path
):
    """The same weights after three steps, in a file that any model loads."""
    states = {}
    for name, config in (('plain', tiny_config), ('sharded', sharded_config)):
        folder = tmp_path / name
        result = run_shell('dist_train.sh', config, 2, '--work-dir', folder)
        assert result.returncode == 0, result.stderr[-3000:]
        saved = torch.load(folder / 'epoch_1.pth', weights_only=True)
        states[name] = saved['state_dict']
    assert states['plain'].keys() == states['sharded'].keys()
    for key, weight in states['plain'].items():
        assert torch.allclose(weight, states['sharded'][key], atol=1e-6), key
    resumed = run_shell(
        'dist_train.sh', sharded_config, 2, '--work-dir', tmp_path / 'sharded',
        '--resume', '--cfg-options', 'train_cfg.max_epochs=2',
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert (tmp_path / 'sharded' / 'epoch_2.pth').is_file()


def test_a_sharded_config_is_evaluated_whole(run_tool, sharded_config, trained):
    """One process, or several without shards: the checkpoint holds the whole model."""
    args = trained / 'epoch_1.pth', '--metrics', 'm.json'
    code, out, err = run_tool('test.py', sharded_config, *args)
    assert code == 0, err
    assert json.loads(Path('m.json').read_text())['coco/bbox_mAP'] >= 0
