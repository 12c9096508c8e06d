"""Do the tools run where paths, locales, files and processes are not Linux's?

Windows is simulated (``helpers/windows``): what is blocked there is what Windows lacks,
as far as it can be told on Linux.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from tests.helpers.commands import ROOT
from tests.helpers.fixtures import TINY_CONFIG

SIMULATION = ROOT / 'tests' / 'helpers' / 'windows'
WINDOWS = {
    'PYTHONPATH': os.pathsep.join(map(str, (SIMULATION, ROOT))),
    'PYTHONIOENCODING': 'cp1252',
    'PYTHONWARNDEFAULTENCODING': '1',
}
# The names of files are ASCII there, too: others stand for their bytes.
ASCII = {'PYTHONPATH': str(ROOT), 'LC_ALL': 'C', 'PYTHONCOERCECLOCALE': '0'}
pytestmark = [pytest.mark.full, pytest.mark.posix]
CLASSES = ['方块', '横条']


@pytest.fixture
def far_config(tiny_data, tmp_path):
    """A config with Chinese classes, on data and in a folder with Chinese names."""
    folder = tmp_path / '数据 ü'
    folder.mkdir()
    content = json.loads((tiny_data / 'boxes.json').read_text('utf-8'))
    for category, name in zip(content['categories'], CLASSES, strict=True):
        category['name'] = name
    text = json.dumps(content, ensure_ascii=False)
    (folder / 'boxes.json').write_text(text, 'utf-8')
    shutil.copytree(tiny_data / 'images', folder / 'images')
    text = TINY_CONFIG.format(root=ROOT, data='.')
    text = text.replace("('square', 'bar')", repr(tuple(CLASSES)))
    text = text.replace('num_workers=0', 'num_workers=1')
    (folder / '配置.py').write_text(text, 'utf-8')
    return folder / '配置.py'


SLOW = pytest.param(ASCII, marks=pytest.mark.slow)


@pytest.fixture(params=[WINDOWS, SLOW], ids=['windows', 'ascii'])
def run(request, far_config):
    """Run a tool in the config's folder as on another system."""
    env = {**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '-1'}
    env = {**env, 'PYTHONUTF8': '0', **request.param}

    def run(tool, *arguments):
        done = subprocess.run(
            [sys.executable, '-m', 'mmmsmlp', tool, *map(str, arguments)],
            cwd=far_config.parent, env=env, timeout=240, capture_output=True,
        )  # fmt: skip
        output = (done.stdout + done.stderr).decode(errors='replace')
        assert done.returncode == 0, output
        for fault in 'Logging error', 'sitecustomize':
            assert fault not in output
        return output

    return run


def test_a_run_on_another_system(run, far_config):
    folder = far_config.parent
    config, work_dir = far_config.name, folder / '运行'
    run('train', config, '--work-dir', work_dir.name)
    more = 'train_cfg.max_epochs=2'
    resumed = run('train', config, '--work-dir', work_dir.name, '--resume',
                  '--cfg-options', more)  # fmt: skip
    assert 'Epoch(train) [2][3/3]' in resumed and 'Epoch(train) [1]' not in resumed
    note = (work_dir / 'last_checkpoint').read_text('utf-8')
    assert note == str(work_dir / 'epoch_2.pth')
    meta = torch.load(note, weights_only=True)['meta']
    assert tuple(meta['dataset_meta']['classes']) == tuple(CLASSES)
    logs = [log.read_text('utf-8') for log in work_dir.rglob('*.log')]
    assert len(logs) == 2 and all(CLASSES[0] in log for log in logs)

    checkpoint = os.path.join(work_dir.name, 'epoch_2.pth')
    run('dist_test', config, checkpoint, 2, '--metrics', '分数.json')
    metrics = json.loads((folder / '分数.json').read_text('utf-8'))
    assert 0 <= metrics['coco/bbox_mAP'] <= 1
    drawn = run('image_demo', 'images', config, checkpoint, '--out-dir', '画')
    assert drawn.count(' boxes') == 3
    assert len(list((folder / '画' / 'vis').iterdir())) == 3
