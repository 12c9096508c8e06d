"""The page on a run: does it say what the logs say, and how does it look?"""

import json
import re
import shutil
import subprocess
import time
from html import unescape
from math import isnan

import numpy as np
import pytest
from PIL import Image

from mmmsmlp.errors import BadInput
from mmmsmlp.report.kit.thumbs import colour_of
from mmmsmlp.report.runs import read_curves, read_run, write_report
from mmmsmlp.report.runs.curves import Line, curves
from mmmsmlp.report.runs.read import differences, parse_config

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
NAMES = ['cup', 'fo<rk', 'background']
CONFIG = """train_cfg = dict(max_epochs=2, type='EpochBasedTrainLoop')
optim_wrapper = dict(optimizer=dict(lr={lr}, type='AdamW'))
model = dict(stages=[dict(depth=2), dict(depth=4)], act=float('inf'))
"""
COCO = dict(
    by_class=dict(AP=[0.5, 0.25], AP50=[0.75, None]),
    by_size=dict(all=0.375, small=None, medium=0.3, large=0.9),
    recall=[0.0, 0.5, 1.0],
    curves={'IoU 0.50': [1.0, 0.8, 0.1]},
    class_curves=[[1.0, 0.9, 0.2], [1.0, 0.7, 0.0]],
)


def scalars(steps):
    """Lines of two epochs with a validation after each."""
    rng = np.random.default_rng(len(steps))
    for i in steps:
        terms = dict(loss_cls=rng.random() / i, loss_bbox=rng.random() / i)
        yield dict(terms, loss=sum(terms.values()), lr=1e-3 / i, base_lr=1e-3 / i,
                   grad_norm=rng.random(), time=0.25, data_time=0.125, memory=100 + i,
                   epoch=1, iter=i, step=i)  # fmt: skip
    for epoch in (1, 2):
        yield {'coco/bbox_mAP': 0.1234567 * epoch, 'coco/bbox_mAP_s': -1.0,
               'time': 0.5, 'data_time': 0.01, 'step': epoch}  # fmt: skip


def make_start(folder, lines, lr=0.1, resumed=None, kept=True):
    """A dated folder as a training leaves it."""
    data = folder / 'vis_data'
    data.mkdir(parents=True)
    (data / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    (data / 'config.py').write_text(CONFIG.format(lr=lr))
    (folder / f'{folder.name}.log').write_text(
        '2026/01/02 03:04:05 - mmengine - INFO - a\nb\n'
        '2026/01/02 03:05:15 - mmengine - INFO - c\n'
    )
    record = dict(command='train.py x', folder=str(folder.parent), seed=7,
                  started='2026-01-02', images=dict(train=8, val=4),
                  joint_batch_size=2, resumed_from=resumed)  # fmt: skip
    (folder / 'run.json').write_text(json.dumps(record))
    if kept:
        picture = dict(
            file=str(folder.parent / 'a.jpg'),
            quality=0.5,
            truth=[[0, 5, 5, 20, 20]],
            found=[[0, 5, 5, 9, 9, 0.9], [1, 1, 1, 9, 9, 0.4]],
        )
        evaluation = dict(
            scope='mmdet', loop='val', written='2026', epoch=2, iter=8, images=4,
            checkpoint=None, names=NAMES, quality='F1', coco=dict(bbox=COCO),
            confusion=[[0, 0, 6], [0, 1, 2], [1, 2, 4], [2, 0, 3]],
            worst=[picture], best=[dict(picture, file='gone.jpg')],
        )  # fmt: skip
        (folder / 'evaluation.json').write_text(json.dumps(evaluation))
    Image.new('RGB', (60, 40), 'teal').save(folder.parent / 'a.jpg')


@pytest.fixture
def folder(tmp_path):
    make_start(tmp_path / 'demo' / '20260102_030405', scalars(range(1, 9)))
    return tmp_path / 'demo'


def page(tmp_path, *folders):
    runs = [read_run(folder) for folder in folders]
    return write_report(tmp_path / 'out' / 'report.html', runs).read_text()


def section(text, name):
    return re.search(rf'<section id="{name}">.*?</section>', text, re.S)[0]


def numbers(text):
    """The whole values that stand in a part of a page."""
    return [float(value) for value in re.findall(r'<data value="([^"]+)"', text)]


def rows(text, key):
    """The numbers of each row by what it is on."""
    found = re.findall(rf'<tr data-{key}="([^"]*)">(.*?)</tr>', text, re.S)
    return {unescape(name): numbers(row) for name, row in found}


def test_the_numbers_of_the_curves_are_those_of_the_log(tmp_path, folder):
    text = section(page(tmp_path, folder), 'curves')
    training, validation = read_curves(folder)
    told = rows(text, 'curve')
    assert set(told) == {*training, 'bbox_mAP'} - {'base_lr'}
    for name, curve in training.items():
        if name not in ('base_lr', 'time', 'data_time'):
            values = list(curve.values())
            assert told[name] == [values[-1], min(values), max(values)], name
    values = list(validation['coco/bbox_mAP'].values())
    assert told['bbox_mAP'] == [values[1], values[0], values[1]] == [
        0.2469134, 0.1234567, 0.2469134]  # fmt: skip
    # What COCO could not measure, -1 in the log, is no number.
    assert 'bbox_mAP_s' not in text


def test_a_curve_lies_where_its_values_are():
    text = curves('x', [Line('a', {0: 1.0, 5: 2.0, 10: float('nan'), 20: 3.0})], 'step')
    path = re.search(r' d="([^"]+)"', text)[1]
    assert path == 'M46.0 146.0L137.0 77.0M410.0 8.0'
    assert text.count('<circle') == 3 and '3 at 20' in text
    long = {i: float(i % 2) for i in range(900)}
    text = curves('x', [Line('a', long)], 'step')
    assert 'means of 3' in text and text.count('class="band s0"') == 1
    assert len(re.search(r' d="([^"]+)"', text)[1].split()) == 301
    assert curves('x', [Line('a', {1: float('nan')})], 'step') == ''
    epochs = curves('x', [Line('a', {1: 0.00025, 2: 0.00075})], 'epoch')
    marks = re.findall(r'class="(mid|end)">([^<]+)<', epochs)
    assert [mark for kind, mark in marks if kind == 'mid'] == ['1', '2']
    assert ('end', '4e-4') in marks
    tiny = curves('x', [Line('a', {1: 1e-15, 2: 5e-15})], 'epoch')
    assert re.findall(r'class="end">([^<]+)<', tiny) == [
        '1e-15', '2e-15', '3e-15', '4e-15', '5e-15']  # fmt: skip


def test_the_classes_sizes_and_confusion(tmp_path, folder):
    text = page(tmp_path, folder)
    told = rows(section(text, 'classes'), 'class')
    # boxes, AP, AP50, precision, recall and F1 in percent
    assert told['cup'] == pytest.approx([8, 0.5, 0.75, 600 / 9, 75, 1200 / 17])
    assert told['fo<rk'] == [4, 0.25, 0, 0, 0]  # no AP50
    assert rows(section(text, 'sizes'), 'size') == dict(
        all=[0.375], small=[], medium=[0.3], large=[0.9]
    )
    cells = re.findall(r'<td title="([^"]+)"[^>]*><data value="(\d+)">(\d+)',
                       section(text, 'confusion'))  # fmt: skip
    assert [(unescape(words), shown) for words, _, shown in cells] == [
        ('cup found as cup: 6', '75'), ('cup found as fo<rk: 2', '25'),
        ('fo<rk found as background: 4', '100'),
        ('background found as cup: 3', '100')]  # fmt: skip
    assert 'fo<rk' not in text


def of_label_maps(folder, names, confusion):
    """Makes the kept evaluation one of a segmentation."""
    (file,) = folder.glob('*/evaluation.json')
    kept = json.loads(file.read_text())
    kept |= dict(scope='mmseg', names=names, confusion=confusion, coco={}, worst=[])
    file.write_text(json.dumps(kept | dict(best=[])))


def test_a_class_of_the_name_background(tmp_path, folder):
    """Of label maps it is a class, usually the first one; only boxes have it added."""
    names = ['background', 'road', 'sky']
    of_label_maps(folder, names, [[0, 0, 8], [0, 1, 2], [1, 1, 3], [2, 2, 1]])
    text = page(tmp_path, folder)
    told = rows(section(text, 'classes'), 'class')
    assert list(told) == names and told['background'] == [10, 80, 80, 100]
    key = r'background:([^"]+)"></span>(\w+)'
    assert re.findall(key, section(text, 'images')) == [
        (colour_of(i), name) for i, name in enumerate(names)
    ]


def test_a_last_class_of_the_name_background_is_confused_too(tmp_path, folder):
    names = [f'class {i}' for i in range(29)] + ['background']
    of_label_maps(folder, names, [[0, 0, 3], [0, 29, 1], [29, 0, 9], [29, 29, 1]])
    found = re.findall(r'<tr><td>([^<]+)</td><td>([^<]+)</td><td>.*?</td><td>(\d+) %',
                       section(page(tmp_path, folder), 'confusion'))  # fmt: skip
    assert found == [('background', 'class 0', '90'), ('class 0', 'background', '25')]


def test_images_have_the_truth_beside_what_was_found(tmp_path, folder):
    text = section(page(tmp_path, folder), 'images')
    assert re.search(r'<p class="soft lead">.*cup&ensp; .*fo&lt;rk</p>', text)
    worst, best = re.findall(r'<div class="shots">(.*?)(?=<h3>|</section>)', text, re.S)
    there, found = re.findall(r'<figure.*?</figure>', worst, re.S)
    assert there.count('<rect') == 1 and 'there: 1 cup' in there
    assert found.count('<rect') == 2 and '<title>cup 0.9</title>' in found
    assert best.count('>no file<') == 2 and numbers(best) == [0.5]


def test_what_ran_and_how_long(tmp_path, folder):
    text = page(tmp_path, folder)
    run = unescape(section(text, 'run'))
    assert '<dd>train.py x</dd>' in run and 'val of epoch 2' in run
    assert '<dt>bbox_mAP</dt><dd><data value="0.2469134">0.2469</data>' in run
    told = re.findall(r'<td>([^<]+)</td><td>(.*?)</td>', section(text, 'time'))
    told = {name: numbers(cell) for name, cell in told}
    assert told['iterations in the log'] == told['iterations planned'] == [8]
    assert told['seconds a step, mean'] == [0.25]
    assert told['of it waiting for data'] == [0.125]
    assert told['seconds a batch of validation'] == [0.5]
    assert told['all starts, by their logs'] == [70]
    assert told['left, at this rate'] == [0] and told['peak memory, MB'] == [108]


def test_a_run_that_was_stopped_has_time_left(tmp_path):
    make_start(tmp_path / 'r' / '1', scalars([1, 2, 3]), kept=False)
    text = page(tmp_path, tmp_path / 'r')
    assert re.search(r'left, at this rate</td><td><data value="1.25">', text)
    assert '<section id="classes">' not in text and 'keeps one' in text


def test_runs_side_by_side(tmp_path, folder):
    make_start(tmp_path / 'other' / '1', scalars(range(1, 5)), lr=0.2, kept=False)
    text = page(tmp_path, folder, tmp_path / 'other')
    told = re.findall(r'<figcaption>loss by iteration</figcaption>.*?</figure>', text)
    assert list(rows(told[0], 'curve')) == ['demo', 'other']
    first, second = (read_curves(f)[0]['loss'] for f in (folder, tmp_path / 'other'))
    assert [row[0] for row in rows(told[0], 'curve').values()] == [first[8], second[4]]
    config = section(text, 'config')
    assert re.findall(r'<td>([^<]*)</td>', config) == [
        'optim_wrapper.optimizer.lr', '0.1', '0.2']  # fmt: skip


def test_a_run_starts_anew_or_goes_on(tmp_path):
    make_start(tmp_path / 'r' / '1', scalars(range(1, 9)))
    make_start(tmp_path / 'r' / '2', scalars([7, 8]), resumed='epoch_1.pth')
    make_start(tmp_path / 'r' / '3', scalars([8, 9]), resumed='epoch_2.pth')
    run = read_run(tmp_path / 'r')
    assert list(run.training['loss']) == list(range(1, 10))
    assert (run.seconds, len(run.starts)) == (210, 3)
    make_start(tmp_path / 'r' / '4', scalars([1, 2]), kept=False)
    run = read_run(tmp_path / 'r')
    assert list(run.training['loss']) == [1, 2] and not run.evaluation


def test_a_start_that_logged_nothing_has_begun_no_run(tmp_path):
    make_start(tmp_path / 'r' / '1', scalars(range(1, 9)))
    make_start(tmp_path / 'r' / '2', [], kept=False)
    (tmp_path / 'r' / '2' / 'vis_data' / 'scalars.json').unlink()
    run = read_run(tmp_path / 'r')
    assert (run.done, len(run.starts), run.evaluation['images']) == (8, 1, 4)
    make_start(tmp_path / 'r' / '3', scalars([9]), resumed='epoch_2.pth')
    assert read_run(tmp_path / 'r').done == 9


def test_a_branch_that_was_given_up(tmp_path):
    """The first start came to 100, the second one goes on from 50 and is at 60."""
    steps = [
        dict(loss=100.0 - i, epoch=1 + i // 51, iter=i) for i in range(10, 101, 10)
    ]
    first, second = ({'coco/bbox_mAP': 0.1 * epoch, 'step': epoch} for epoch in (1, 2))
    make_start(tmp_path / 'r' / '1', [*steps[:5], first, *steps[5:], second])
    make_start(tmp_path / 'r' / '2', [dict(loss=7.0, epoch=2, iter=60)], resumed='e')
    run = read_run(tmp_path / 'r')
    assert run.done == 60
    assert run.training['loss'] == {10: 90, 20: 80, 30: 70, 40: 60, 50: 50, 60: 7}
    assert run.validation['coco/bbox_mAP'] == {1: 0.1}


def test_validations_of_a_run_without_epochs(tmp_path, folder):
    """A logger that counts epochs gives each of them the step 0."""
    start = folder / '20260102_030405'
    log, config = (start / 'vis_data' / name for name in ('scalars.json', 'config.py'))
    lines = [dict(loss=2.0, iter=4), dict(mIoU=0.25, step=0),
             dict(loss=1.0, iter=8), dict(mIoU=0.75, step=0)]  # fmt: skip
    log.write_text('\n'.join(map(json.dumps, lines)))
    config.write_text("train_cfg = dict(max_iters=8, type='IterBasedTrainLoop')")
    run = read_run(folder)
    assert run.validation == {'mIoU': {4: 0.25, 8: 0.75}}
    assert run.metrics == {'mIoU': 0.75}
    text = page(tmp_path, folder)
    assert '<figcaption>Metrics by iteration</figcaption>' in text
    assert 'val of iteration 8' in section(text, 'run')


@pytest.mark.parametrize('loop', ['val', 'test'])
def test_what_coco_could_not_measure_is_no_result(tmp_path, folder, loop):
    """Nor is it a point of the drawing, which has its curves from the same place."""
    (file,) = folder.glob('*/evaluation.json')
    file.write_text(json.dumps(json.loads(file.read_text()) | dict(loop=loop)))
    metrics = {'coco/bbox_mAP_s': -1.0, 'coco/bbox_mAP': 0.5, 'gap': -1.0}
    (file.parent / f'{file.parent.name}.json').write_text(json.dumps(metrics))
    run = read_run(folder)
    assert isnan(run.metrics['coco/bbox_mAP_s'])
    assert all(map(isnan, run.validation['coco/bbox_mAP_s'].values()))
    assert loop == 'val' or run.metrics['gap'] == -1
    text = page(tmp_path, folder).split('<section id="curves">')[0]
    assert re.search(r'<dt>bbox_mAP_s</dt><dd><span class="soft">-</span>', text)
    assert 'value="-1.0">-1</data> <span class="soft">bbox_mAP_s' not in text


def test_configs_are_read_without_running_them():
    text = "import os\nos.remove('x')\na = dict(b=[dict(c=1)], d=lambda x: x)\n"
    assert parse_config(text) == {'a': {'b': [{'c': 1}], 'd': 'lambda x: x'}}
    assert parse_config('a = (') == {}
    one, two = parse_config(CONFIG.format(lr=1)), parse_config(CONFIG.format(lr=2))
    del two['model']['act']
    assert differences([one, two]) == {
        'optim_wrapper.optimizer.lr': [1, 2], 'model.act': ["float('inf')", '']
    }  # fmt: skip


def test_a_log_cut_short_and_losses_that_are_no_number(tmp_path, folder):
    (log,) = folder.glob('*/vis_data/scalars.json')
    log.write_text('{"loss": null, "iter": 1}\n{"loss": NaN, "iter": 2}\n[1]\n{"lo')
    assert all(map(isnan, read_curves(folder)[0]['loss'].values()))
    assert 'train.py x' in page(tmp_path, folder)
    with pytest.raises(BadInput, match='vis_data/scalars.json'):
        read_run(tmp_path)


def test_the_page_needs_nothing_else(tmp_path, folder):
    text = page(tmp_path, folder)
    references = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')\s>]+)', text)
    assert references and all(r.startswith(('data:', '#')) for r in references)
    assert '<script' not in text and '@import' not in text and 'http' not in text


@pytest.mark.full
def test_a_long_run_has_a_small_page_soon(tmp_path):
    lines = [*scalars(range(1, 73_000, 10))] * 10  # as many as 100 epochs of COCO
    make_start(tmp_path / 'r' / '1', lines)
    names = [f'class {i}' for i in range(80)]
    file = tmp_path / 'r' / '1' / 'evaluation.json'
    kept = json.loads(file.read_text())
    kept['names'] = [*names, 'background']
    kept['confusion'] = [[i, j, i + j + 1] for i in range(81) for j in range(80)]
    kept['coco']['bbox'] |= dict(
        by_class=dict(AP=[0.5] * 80), recall=[i / 100 for i in range(101)],
        curves={'IoU 0.50': [0.5] * 101}, class_curves=[[0.5] * 101] * 80,
    )  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'r' / 'a.jpg')
    kept['worst'] = kept['best'] = kept['worst'] * 8
    file.write_text(json.dumps(kept))
    start = time.monotonic()
    text = page(tmp_path, tmp_path / 'r')
    assert time.monotonic() - start < 60 and len(text) < 10e6
    assert text.count('data-class=') == 80 and 'found as background' not in text


PROBE = """<script>addEventListener('load', () => { document.title = JSON.stringify({
wide: document.documentElement.scrollWidth - innerWidth,
blank: [...document.querySelectorAll('svg')].filter(
  s => s.getBoundingClientRect().width < 60).length,
strokes: [...new Set([...document.querySelectorAll('.chart path')].map(
  p => getComputedStyle(p).stroke))].length})})</script>"""


def browse(*arguments):
    command = [BROWSER, '--headless', '--no-sandbox', '--disable-gpu',
               '--hide-scrollbars', *arguments]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
@pytest.mark.skipif(BROWSER is None, reason='no Chromium is installed')
@pytest.mark.parametrize('size', ['1200,900', '500,900'])
def test_a_browser_lays_it_out(tmp_path, folder, size):
    file = tmp_path / 'probed.html'
    file.write_text(page(tmp_path, folder).replace('</body>', PROBE + '</body>'))
    dom = browse(f'--window-size={size}', '--dump-dom', file.as_uri())
    seen = json.loads(re.search(r'<title>(.*?)</title>', dom)[1].replace('&quot;', '"'))
    assert seen['wide'] <= 0 and seen['blank'] == 0 and seen['strokes'] >= 3


@pytest.mark.full
@pytest.mark.skipif(BROWSER is None, reason='no Chromium is installed')
def test_it_is_light_or_dark_as_the_reader_wants(tmp_path, folder):
    page(tmp_path, folder)
    levels = []
    for scheme in (1, 0):  # light, dark
        shot = tmp_path / f'{scheme}.png'
        browse(
            f'--blink-settings=preferredColorScheme={scheme}',
            f'--screenshot={shot}',
            (tmp_path / 'out' / 'report.html').as_uri(),
        )
        levels.append(np.asarray(Image.open(shot).convert('L')))
    light, dark = levels
    assert light[5, 5] > 240 and dark[5, 5] < 40
    assert light.min() < 60 and dark.max() > 200  # words can be read on both


def test_the_axis_of_nothing_found_begins_at_0():
    """No precision is below it."""
    drawn = curves('AP', [Line('bbox', {1: 0.0, 2: 0.0}, 0)], 'epoch')
    marks = re.findall(r'class="end">([^<]*)<', drawn)
    assert marks[0] == '0' and marks[-1] == '1'
