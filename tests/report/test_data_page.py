"""The page of a data check: what it shows, that it needs nothing, how it looks."""

import base64
import io
import json
import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pytest
from PIL import Image

from mmmsmlp.data.class_folders import FolderUse, check_folders
from mmmsmlp.data.findings import Findings
from mmmsmlp.data.label_maps import MapUse, check_maps
from mmmsmlp.report.data import view_of, write_report
from mmmsmlp.report.kit.charts import histogram, powers

BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)


def page(folder, found, *sets):
    """The text of the page on some sets by their split."""
    views = [view_of(split, one) for split, one in sets]
    return write_report(folder / 'report', 'my set', views, found).read_text()


def section(text, name):
    return re.search(rf'<section id="{name}">.*?</section>', text, re.S)[0]


def pictures(text):
    codes = re.findall(r'href="data:image/jpeg;base64,([^"]+)"', text)
    return [Image.open(io.BytesIO(base64.b64decode(code))) for code in codes]


def test_a_clean_set(coco):
    found, one = coco.check()
    text = page(coco.root, found, ('train', one), ('val', one))
    assert 'Nothing is wrong' in text and 'None was found' in text
    overview = section(text, 'overview')
    assert overview.count('<dd>6</dd>') == 2 and overview.count('<dd>18</dd>') == 2
    rows = re.findall(r'<td class="name">(\w+)</td>', section(text, 'classes'))
    assert rows == ['cup', 'fork', 'knife']
    assert section(text, 'classes').count('<td class="count">6</td>') == 6
    samples = section(text, 'samples')
    assert len(pictures(samples)) == 15 and samples.count('<polygon') == 15
    # Of each picture the class's own box is plain, and the two others are faint.
    assert samples.count('class="mark faint"') == 30
    sizes = section(text, 'sizes')
    assert 'train: 6 sizes, median 92 x 62' in sizes
    assert sizes.count('train: 6 from 3 to 4') == 1  # boxes an image


def test_the_page_needs_nothing_else(coco):
    text = page(coco.root, *coco_pair(coco))
    references = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\')\s>]+)', text)
    assert references
    assert all(r.startswith(('data:', '#')) for r in references)
    assert '<script' not in text and '@import' not in text and 'http' not in text


def coco_pair(coco):
    found, one = coco.check()
    return found, ('train', one)


def bend(coco):
    """Problems of every sort that an example can be shown of."""
    boxes = coco.data['annotations']
    boxes[0]['bbox'] = [5, 8, -12, 10]
    boxes[0]['segmentation'] = []  # else the box would be the mask's
    boxes[4]['bbox'] = [None, 1, 2, 3]
    boxes[7]['category_id'] = 99
    coco.data['images'][3]['width'] = 500
    (coco.images / '1.jpg').unlink()
    (coco.images / '2.jpg').write_bytes(b'')
    deep = np.full((64, 94), 3000, np.uint16)
    Image.fromarray(deep).save(coco.images / '4.jpg', format='PNG')


def test_problems_are_shown_at_their_place(coco):
    bend(coco)
    boxes = coco.data['annotations']
    boxes[4]['bbox'] = [1, 1, 0.5, 9]
    found, one = coco.check()
    text = section(page(coco.root, found, ('train', one)), 'problems')
    articles = re.findall(r'<article class="problem (\w+)">(.*?)</article>', text, re.S)
    assert [kind for kind, _ in articles] == sorted(kind for kind, _ in articles)
    bodies = [unescape(body) for _, body in articles]
    by_words = {re.search(r'</span>([^<]+)', body)[1].strip(): body for body in bodies}
    unknown = by_words["Annotations have a category_id that 'categories' does not list"]
    assert 'annotation 8: category_id 99' in unknown and '>not readable<' in unknown
    assert '>no file<' in by_words['Pictures do not exist']
    differs = by_words['Pictures have another size than the file says']
    assert differs.count('<rect') == 3 and '500 x 63 in the file' in differs
    (shown,) = pictures(by_words['Pictures have 16 bits and use a small part of them'])
    assert np.asarray(shown.convert('L')).min() > 150
    empty = next(body for words, body in by_words.items() if 'a negative one' in words)
    assert 'width="0.0"' in empty and 'left out of the copy' in empty
    tiny = next(body for words, body in by_words.items() if 'less than one' in words)
    assert '>no file<' in tiny


def test_a_file_that_cannot_be_used_has_a_page_all_the_same(coco):
    bend(coco)  # a box of null: nothing of the file is used
    found, one = coco.check()
    text = page(coco.root, found, ('train', one))
    assert '<b>1 error</b>' in text and 'annotation 5, bbox' in text
    coco.text = '{"images": ['
    found, one = coco.check()
    assert 'before its brackets are closed' in page(coco.root, found, ('train', one))


def test_a_small_object_is_shown_near_by(coco):
    Image.new('RGB', (900, 700), 'teal').save(coco.images / '0.jpg')
    coco.data['images'][0].update(width=900, height=700)
    coco.data['annotations'] = [
        dict(coco.data['annotations'][0], bbox=[600, 500, 9, 9])
    ]
    found, one = coco.check()
    samples = section(page(coco.root, found, ('train', one)), 'samples')
    (view,) = re.findall(r'viewBox="([^"]+)"', samples)
    x, y, wide, high = map(int, view.split())
    assert (wide, high) == (180, 135)
    assert x < 600 < 609 < x + wide and y < 500 < 509 < y + high


def test_names_cannot_break_the_page(coco):
    for category in coco.data['categories']:
        category['name'] = f'<b>{category["name"]} & "co"'
    found, one = coco.check(classes=None)
    text = page(coco.root, found, ('train', one))
    assert '<b>cup' not in text and '&lt;b&gt;cup &amp; &quot;co&quot;' in text


def test_label_maps(tmp_path, cache):
    for kind in ('images', 'maps'):
        (tmp_path / kind).mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        pixels = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / 'images' / f'{i}.jpg')
        labels = np.zeros((30, 40), np.uint8)
        labels[:10], labels[10:12] = 1, 255
        if i == 2:
            labels[20:] = 7
        Image.fromarray(labels).save(tmp_path / 'maps' / f'{i}.png')
    use = MapUse(str(tmp_path / 'images'), str(tmp_path / 'maps'), '.jpg', '.png',
                 ('wall', 'floor'), 2, trains=True)  # fmt: skip
    found = Findings()
    one = check_maps(use, found, cache)
    text = page(tmp_path, found, ('train', one))
    assert section(text, 'classes').count('>1,200</td>') == 1  # 3 x 10 x 40 of floor
    shown = pictures(section(text, 'samples'))
    assert len(shown) == 6
    red, _, blue = np.asarray(shown[0].convert('RGB'), int)[22:28, 5:35].mean((0, 1))
    assert blue > red + 60  # the wall, in its colour
    grey = np.asarray(shown[0].convert('RGB'), int)[2:7, 5:35]
    assert abs(grey[..., 0] - grey[..., 2]).mean() < 12  # the floor is another class
    problem = section(text, 'problems')
    assert 'value 7 in 400 pixels' in problem and len(pictures(problem)) == 1


def test_class_folders(tmp_path, cache):
    for name, count in (('ant', 3), ('bee', 1), ('cat', 0)):
        (tmp_path / 'data' / name).mkdir(parents=True)
        for i in range(count):
            picture = Image.new('RGB', (20 + i, 30), (9 * i, 0, 200))
            picture.save(tmp_path / 'data' / name / f'{i}.png')
    found = Findings()
    one = check_folders(FolderUse(str(tmp_path / 'data'), ('.png',)), found, cache)
    text = page(tmp_path, found, ('train', one))
    assert '<td class="count none">0</td>' in section(text, 'classes')
    samples = section(text, 'samples')
    assert len(pictures(samples)) == 4 and 'No example' in samples


def test_a_list_has_pictures_of_its_classes(tmp_path, cache):
    for name in 'abc':
        Image.new('RGB', (8, 8)).save(tmp_path / f'{name}.png')
    (tmp_path / 'list.txt').write_text('a.png 0\nb.png 2\nc.png 2\n')
    for classes, shown in (
        (('cat', 'dog', 'eel'), dict(cat=['a.png'], dog=[], eel=['b.png', 'c.png'])),
        (None, {'0': ['a.png'], '2': ['b.png', 'c.png']}),
    ):
        use = FolderUse(
            str(tmp_path), ('.png',), classes, list_file=str(tmp_path / 'list.txt')
        )
        view = view_of('train', check_folders(use, Findings(), cache))
        assert {
            name: [shot.caption for shot in view.samples(name, 5)] for name in shown
        } == shown


def test_histograms_count_every_value():
    chart = histogram('x', [('a', [0, 1, 1.5, 99]), ('b', [])], [0, 1, 2], [0, 2])
    assert 'a: 1 from 0 to 1' in chart and 'a: 3 from 1 to 2' in chart
    heights = [float(h) for h in re.findall(r'height="([\d.]+)"', chart)]
    assert heights[1] == pytest.approx(3 * heights[0], rel=0.01)
    assert powers(4, 32, 2) == [4, 8, 16, 32]


PROBE = """<script>addEventListener('load', () => { document.title = JSON.stringify({
wide: document.documentElement.scrollWidth - innerWidth,
blank: [...document.querySelectorAll('svg.shot')].filter(
  s => s.getBoundingClientRect().width < 20).length,
bars: [...document.querySelectorAll('.bar')].map(
  b => b.getBoundingClientRect().width)})})</script>"""


def browse(*arguments):
    command = [BROWSER, '--headless', '--no-sandbox', '--disable-gpu',
               '--hide-scrollbars', *arguments]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.full
@pytest.mark.skipif(BROWSER is None, reason='no Chromium is installed')
@pytest.mark.parametrize('size', ['1200,900', '500,900'])
def test_a_browser_lays_it_out(coco, tmp_path, size):
    bend(coco)
    coco.data['annotations'][4]['bbox'] = [1, 1, 0.5, 9]
    found, one = coco.check()
    text = page(tmp_path, found, ('train', one), ('val', one))
    file = tmp_path / 'probed.html'
    file.write_text(text.replace('</body>', PROBE + '</body>'))
    dom = browse(f'--window-size={size}', '--dump-dom', file.as_uri())
    seen = json.loads(re.search(r'<title>(.*?)</title>', dom)[1].replace('&quot;', '"'))
    assert seen['wide'] <= 0 and seen['blank'] == 0
    assert len(seen['bars']) == 6 and max(seen['bars']) > 60


@pytest.mark.full
@pytest.mark.skipif(BROWSER is None, reason='no Chromium is installed')
def test_it_is_light_or_dark_as_the_reader_wants(coco, tmp_path):
    page(tmp_path, *coco_pair(coco))
    levels = []
    for scheme in (1, 0):  # light, dark
        shot = tmp_path / f'{scheme}.png'
        browse(
            f'--blink-settings=preferredColorScheme={scheme}',
            f'--screenshot={shot}',
            (tmp_path / 'report' / 'index.html').as_uri(),
        )
        levels.append(np.asarray(Image.open(shot).convert('L')))
    light, dark = levels
    assert light[5, 5] > 240 and dark[5, 5] < 40
    assert light.min() < 60 and dark.max() > 200  # words can be read on both
