"""tools/check_data.py: a config or a COCO file is vetted on its own."""

import json
import shutil

import pytest

from mmmsmlp.data.cache import Cache
from mmmsmlp.data.own import Request, prepare
from mmmsmlp.demo.dataset import make_demo_data
from tests.helpers import layouts
from tests.helpers.commands import assert_fails


@pytest.fixture
def folder(tiny_data, tmp_path):
    """A copy of the tiny set in COCO's layout."""
    shutil.copytree(tiny_data / 'images', tmp_path / 'set' / 'val2017')
    (tmp_path / 'set' / 'annotations').mkdir()
    file = tmp_path / 'set' / 'annotations' / 'instances_val2017.json'
    shutil.copy(tiny_data / 'boxes.json', file)
    return tmp_path / 'set'


def test_a_config(run_tool, tiny_config, tmp_path):
    code, out, err = run_tool('check_data.py', tiny_config, '--report', 'r/page')
    assert code == 0, out + err
    lines = out.splitlines()
    assert 'train: 3 images, 2 classes' in lines and 'val: 3 images, 2 classes' in lines
    assert sum(line.startswith('warning: ') for line in lines) == 1  # one set for both
    assert lines[-1] == 'nothing in the data would end or spoil a run'
    text = (tmp_path / 'r' / 'page' / 'index.html').read_text()
    assert text.count('<div class="card"><h3>') == 2  # the test data are the val data
    assert [path.name for path in tmp_path.iterdir()] == ['r']


@pytest.mark.parametrize('place', ['annotations/instances_val2017.json', 'labels.json'])
def test_a_coco_file_finds_its_images(run_tool, folder, place):
    file = folder / place
    if place == 'labels.json':
        (folder / 'annotations' / 'instances_val2017.json').rename(file)
        (folder / 'val2017').rename(folder / 'images')
    code, out, err = run_tool('check_data.py', file)
    assert code == 0, out + err
    assert 'data: 3 images, 2 classes' in out and 'error' not in out


def test_images_that_lie_elsewhere(run_tool, folder, tmp_path):
    (folder / 'val2017').rename(tmp_path / 'far')
    file = folder / 'annotations' / 'instances_val2017.json'
    result = run_tool('check_data.py', file)
    assert_fails(result, "the first is '1.png'", '--images DIR')
    code, out, err = run_tool('check_data.py', file, '--images', 'far')
    assert code == 0, out + err


def test_errors_end_it_once_the_page_is_written(run_tool, folder, tmp_path):
    file = folder / 'annotations' / 'instances_val2017.json'
    data = json.loads(file.read_text())
    data['annotations'][0]['category_id'] = 9
    del data['info']
    file.write_text(json.dumps(data))
    code, out, err = run_tool('check_data.py', file, '--report', 'page')
    assert code == 2 and err.startswith('error: ') and '1 kinds' not in err
    assert 'annotation 1: category_id 9' in out and 'repair: ' in out
    assert 'category_id 9' in (tmp_path / 'page' / 'index.html').read_text()
    assert json.loads(file.read_text()) == data


def test_what_it_does_not_take(run_tool, folder, tmp_path):
    (tmp_path / 'empty').mkdir()
    failed = run_tool('check_data.py', 'empty')
    assert_fails(failed, 'empty: there is nothing in it; looked')
    assert_fails(run_tool('check_data.py', folder, '--images', folder), 'is for a')
    assert_fails(run_tool('check_data.py', 'no.json'), 'no.json')
    failed = run_tool('check_data.py', 'emtpy')
    assert_fails(failed, 'emtpy: there is no such folder or COCO file, nor a config')
    assert "; did you mean 'empty'?" in failed[2]
    assert_fails(run_tool('check_data.py', 'no.py'), 'config no.py does not exist')
    make_demo_data('demo', train=2, val=1, size=64)
    layouts.coco(tmp_path / 'demo', tmp_path / 'bare')
    for picture in (tmp_path / 'bare').rglob('*.jpg'):
        picture.unlink()
    failed = run_tool('check_data.py', 'bare')
    assert_fails(failed, 'none of the images that ')
    assert '--data' not in failed[2]
    (tmp_path / 'taken').write_text('')
    file = folder / 'annotations' / 'instances_val2017.json'
    assert_fails(run_tool('check_data.py', file, '--report', 'taken'), 'is a file')


def test_a_folder_of_any_layout_is_checked(run_tool, tmp_path):
    make_demo_data(tmp_path / 'demo', train=5, val=3, size=96)
    layouts.yolo(tmp_path / 'demo', tmp_path / 'flat')
    label = next((tmp_path / 'flat').rglob('val/*.txt'))
    label.write_text('0 0.5 0.5 0.3 0.005\n')  # less than a pixel high
    code, out, err = run_tool('check_data.py', 'flat', '--report', 'page')
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == 'data: flat is YOLO text labels (data.yaml), for a detector'
    assert 'classes (4): ' in out and 'data: choices: val serves as test' in lines
    assert 'train: 5 images, 4 classes' in lines and 'val: 3 images, 4 classes' in lines
    assert not any(line.startswith('test: ') for line in lines)
    (line,) = (line for line in out.splitlines() if 'one pixel' in line)
    assert line.startswith('warning: flat, converted: '), line
    page = (tmp_path / 'page' / 'index.html').read_text(encoding='utf-8')
    assert 'triangle' in page and page.count('data:image/') > 4
    assert 'flat, converted: ' in page and '/tmp/tmp' not in page


def test_a_test_split_is_checked_too(run_tool, tmp_path):
    make_demo_data(tmp_path / 'demo', train=5, val=3, size=96)
    layouts.roboflow(tmp_path / 'demo', tmp_path / 'set')
    shutil.copytree(tmp_path / 'set' / 'valid', tmp_path / 'set' / 'test')
    next((tmp_path / 'set' / 'test').glob('*.jpg')).write_bytes(b'')
    code, out, err = run_tool('check_data.py', 'set')
    assert code == 2 and 'test: 3 images, 4 classes' in out.splitlines(), out + err
    assert 'pictures are files of no bytes' in out


def test_images_in_a_folder_of_the_file_s_own_name(run_tool, folder, tmp_path):
    (folder / 'val2017').rename(folder / 'birds')
    file = folder / 'annotations' / 'birds.json'
    (folder / 'annotations' / 'instances_val2017.json').rename(file)
    code, out, err = run_tool('check_data.py', file)
    assert code == 0 and 'data: 3 images, 2 classes' in out, out + err
    own = prepare(str(file), Request('boxes', ('train', 'val')), str(tmp_path), Cache())
    assert own.sources['train'].images == str(folder / 'birds')


def test_masks_are_checked_where_most_boxes_have_one(run_tool, tmp_path):
    make_demo_data('demo', train=3, val=2, size=64)
    for name in ('good', 'bad'):
        layouts.coco(tmp_path / 'demo', tmp_path / name)
    file = tmp_path / 'bad' / 'annotations' / 'instances_train2017.json'
    data = json.loads(file.read_text())
    data['annotations'][0]['segmentation'] = [[1, 2, 3, 4]]  # two points
    file.write_text(json.dumps(data))
    code, out, err = run_tool('check_data.py', 'good')
    assert code == 0 and 'error' not in out, out + err
    for path in 'bad', file:
        code, out, err = run_tool('check_data.py', path)
        assert code == 2 and 'annotations have no mask' in out, out + err
        assert 'annotation 1: [[1, 2, 3, 4]]' in out
