"""tools/image_demo.py on real checkpoints of tiny models: images and videos."""

import json
import re
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from mmmsmlp.data.pictures import read_picture
from mmmsmlp.deploy.pictures import find_images, result_names
from mmmsmlp.errors import BadInput
from mmmsmlp.run import console, video
from mmmsmlp.run.video import redraw
from tests.helpers.commands import TOOLS, assert_fails
from tests.helpers.untrained import CLASSIFICATION, SEGMENTATION


def drawn(folder):
    return sorted(path.name for path in folder.iterdir())


def write_clip(path, picture, frames=4, rate=5.0, codec='MJPG'):
    """Write a video that shows a picture, brighter from frame to frame."""
    pixels = cv2.imread(str(picture))
    code = cv2.VideoWriter.fourcc(*codec)
    writer = cv2.VideoWriter(str(path), code, rate, pixels.shape[1::-1])
    for i in range(frames):
        writer.write(cv2.convertScaleAbs(pixels, alpha=1, beta=9 * i))
    writer.release()


def two_colours(height, width):
    """Pixels that videos keep, unlike noise; red and blue are not to be swapped."""
    row = np.repeat([[200, 60, 20], [20, 60, 200]], width // 2, 0)
    return np.repeat(row[None], height, 0).astype(np.uint8)


def read_clip(path):
    """Frames (N, H, W, 3) and how many a second."""
    reader, frames = cv2.VideoCapture(str(path)), []
    while (read := reader.read())[0]:
        frames.append(read[1])
    return np.array(frames, int), reader.get(cv2.CAP_PROP_FPS)


def apart(one, other):
    """Mean difference of two pictures, or of a picture and a file's."""
    other = cv2.imread(str(other)).astype(int) if isinstance(other, Path) else other
    return np.abs(one - other).mean()


def test_a_folder_is_drawn(run_tool, tiny_config, tiny_data, trained, tmp_path):
    code, out, err = run_tool(
        'image_demo.py', tiny_data / 'images', tiny_config, trained / 'epoch_1.pth',
        '--out-dir', 'out', '--score-thr', '0',
    )  # fmt: skip
    assert code == 0, err
    lines = [line for line in out.splitlines() if line.endswith(' boxes')]
    assert lines == [f'{tiny_data}/images/{i}.png: 20 boxes' for i in (1, 2, 3)]
    assert drawn(tmp_path / 'out/vis') == ['1.png', '2.png', '3.png']
    before = np.asarray(Image.open(tiny_data / 'images/1.png'))
    after = np.asarray(Image.open(tmp_path / 'out/vis/1.png').convert('RGB'))
    assert before.shape == after.shape and (before != after).any()
    found = json.loads((tmp_path / 'out/preds/1.json').read_text())
    assert len(found['bboxes']) == len(found['scores']) == 20


def test_no_box_tells_the_best_score(run_tool, tiny_config, tiny_data, trained):
    code, out, err = run_tool(
        'image_demo.py', tiny_data / 'images/1.png', tiny_config,
        trained / 'epoch_1.pth', '--score-thr', '1',
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(Path('outputs/preds/1.json').read_text())
    best = max(found['scores'])
    assert f': 0 boxes of 1 or more (--score-thr), at best {best:.3g}\n' in out


def test_a_glob_without_predictions(
    run_tool, tiny_config, tiny_data, trained, tmp_path
):
    code, out, err = run_tool(
        'image_demo.py', tiny_data / 'images/[12].png', tiny_config,
        trained / 'epoch_1.pth', '--out-dir', 'out', '--no-save-pred',
        '--score-thr', '1', '--device', 'cpu',
    )  # fmt: skip
    assert code == 0, err
    lines = [line for line in out.splitlines() if 'boxes' in line]
    assert [line.partition(' boxes')[0][-3:] for line in lines] == [': 0'] * 2
    assert drawn(tmp_path / 'out/vis') == ['1.png', '2.png']
    assert not (tmp_path / 'out/preds').exists()


def test_results_of_one_name_get_names_that_differ():
    files = ['a/x.1.jpg', 'a/x.png', 'a/x.jfif', 'b/x.png', 'a/x_jfif.bmp', 'c/b/x.png']
    names = ['x.1.jpg', 'x.png', 'x_jfif.jpg', 'b_x.png', 'x_jfif_bmp.bmp', 'b_x_2.png']
    assert result_names(files) == names
    files = ['clip.avi', 'clip.mp4', 'clip.jp2', 'photo', 'e.PGM', 'f.JPG']
    names = ['clip.avi', 'clip_mp4.mp4', 'clip.png', 'photo.png', 'e.png', 'f.JPG']
    assert result_names(files, {'.avi', '.mp4'}) == names


@pytest.mark.parametrize(
    ('option', 'value', 'words'),
    [
        ('--device', 'gpu', "'gpu' is not there"),
        ('--device', 'cuda:77', 'choose one of'),
        ('--score-thr', '-3', 'must be from 0 to 1, got -3'),
        ('--score-thr', 'high', 'high'),
    ],
)
def test_options_are_checked(run_tool, tiny_config, option, value, words):
    code, _, err = run_tool('image_demo.py', 'x.png', tiny_config, 'w', option, value)
    assert code == 2 and words in err and 'Traceback' not in err


def test_nothing_to_draw_says_what_is_looked_for(run_tool, tiny_config, tmp_path):
    (tmp_path / 'empty').mkdir()
    code, _, err = run_tool('image_demo.py', tmp_path / 'empty', tiny_config, 'w.pth')
    assert code == 2 and 'no image or video at' in err and '.webp' in err


def test_segmentation(run_tool, untrained, tiny_data, tmp_path, reads):
    names = dict(
        classes=('sky', 'sea', 'land'), palette=[[0, 0, 9], [0, 9, 0], [9] * 3]
    )
    untrained(SEGMENTATION, dataset_meta=names)
    shutil.copytree(tiny_data / 'images', 'images')
    write_clip('images/clip.avi', 'images/1.png')
    code, out, err = run_tool(
        'image_demo.py', 'images', 'config.py', 'weights.pth', '--out-dir', 'out'
    )
    assert code == 0, err
    assert reads == {'weights.pth': 1}
    line = next(line for line in out.splitlines() if line.startswith('images/1.png'))
    assert set(line.split('classes: ')[1].split(', ')) <= set(names['classes'])
    files = ['1.png', '2.png', '3.png']
    assert drawn(tmp_path / 'out/vis') == [*files, 'clip.mp4']
    assert drawn(tmp_path / 'out/preds') == files
    clip, _ = read_clip('out/vis/clip.mp4')
    assert clip.shape == (4, 48, 64, 3)
    shown = Path('out/vis/1.png')  # of the noise of images/1.png a video keeps little
    error = apart(clip[0], shown)
    assert error < apart(clip[0][..., ::-1], shown)
    assert error < apart(clip[0], Path('images/1.png'))
    labels = np.asarray(Image.open(tmp_path / 'out/preds/1.png'))
    assert labels.shape == (48, 64) and labels.max() < 3


@pytest.mark.parametrize('highest', [255, 299])
def test_label_maps_of_many_classes(tmp_path, monkeypatch, highest):
    monkeypatch.syspath_prepend(str(TOOLS))
    labels = np.array([[0, 7], [highest, 1]])
    names = [f'class {i}' for i in range(300)]

    def inferencer(image, return_vis):
        return dict(predictions=labels, visualization=np.zeros((2, 2, 3), np.uint8))

    inferencer.model = SimpleNamespace(dataset_meta=dict(classes=names))
    args = SimpleNamespace(out_dir=str(tmp_path), no_save_pred=False)
    drawer = runpy.run_path(str(TOOLS / 'image_demo.py'))['segmentor'](inferencer, args)
    assert drawer.image('a.jpg').endswith(f'class 7, class {highest}')
    written = np.asarray(Image.open(tmp_path / 'preds' / 'a.png'))
    assert written.tolist() == labels.tolist()


def test_segmentation_needs_class_names(run_tool, untrained, tiny_data):
    untrained(SEGMENTATION)
    code, _, err = run_tool(
        'image_demo.py', tiny_data / 'images', 'config.py', 'weights.pth'
    )
    assert code == 2 and 'does not say which classes it knows' in err


def test_classification(run_tool, untrained, tmp_path, reads):
    untrained(CLASSIFICATION, dataset_meta=dict(classes=('cat', 'dog', 'cow')))
    (tmp_path / 'in').mkdir()
    for name in ('2.png', '2.1.png', '2.2.png'):
        save(tmp_path / 'in' / name, two_colours(64, 48))
    write_clip('in/2.avi', 'in/2.png')
    code, out, err = run_tool(
        'image_demo.py', 'in', 'config.py', 'weights.pth', '--out-dir', 'out'
    )
    assert code == 0, err
    assert reads == {'weights.pth': 1}
    line = next(line for line in out.splitlines() if '2.png: ' in line)
    assert line.split('2.png: ')[1].split(' (')[0] in ('cat', 'dog', 'cow')
    assert drawn(tmp_path / 'out/vis') == ['2.1.png', '2.2.png', '2.mp4', '2.png']
    clip, _ = read_clip('out/vis/2.mp4')
    assert clip.shape == (4, 64, 48, 3)
    error = apart(clip[0], Path('out/vis/2.png'))
    assert error < 8 and error < apart(clip[0], Path('in/2.png'))  # with its class


def save(path, pixels):
    Image.fromarray(pixels).save(path)


def test_a_folder_of_odd_files(run_tool, tiny_config, tiny_data, trained, tmp_path):
    folder = tmp_path / 'odd'
    shutil.copytree(tiny_data / 'images', folder)
    gray = np.asarray(Image.open(folder / '1.png').convert('L'))
    save(folder / 'gray8.png', gray)
    save(folder / 'gray12.png', gray.astype(np.uint16) * 16)
    save(folder / 'gray16.png', gray.astype(np.uint16) * 257)
    save(folder / 'unit.tif', gray.astype(np.float32) / 255)
    save(folder / 'thin.png', np.full((1, 60, 3), 90, np.uint8))
    save(folder / 'thinner.png', np.full((1, 200, 3), 90, np.uint8))
    save(folder / 'thread.png', np.full((1, 9000, 3), 90, np.uint8))
    (folder / 'zero.jpg').write_bytes(b'')
    (folder / 'text.png').write_text('not a picture')
    half = (folder / '2.png').read_bytes()
    (folder / 'half.png').write_bytes(half[: len(half) // 2])
    code, out, err = run_tool(
        'image_demo.py', folder, tiny_config, trained / 'epoch_1.pth',
        '--out-dir', 'out', '--score-thr', '0',
    )  # fmt: skip
    assert code == 0, out + err
    names = ['1', '2', '3', 'gray12', 'gray16', 'gray8', 'thin', 'unit']
    assert drawn(tmp_path / 'out/vis') == [f'{name}.png' for name in names]
    tail = out.splitlines()[-6:]
    assert tail[0] == '5 of 13 could not be drawn:'
    for line, words in zip(
        tail[1:],
        ['half.png breaks off', 'text.png is no image',
         'thinner.png (200 x 1 pixels) cannot be resized', 'thread.png is so thin',
         'zero.jpg is a file of no bytes'],
        strict=True,
    ):  # fmt: skip
        assert words in line
    found = {
        name: json.loads((tmp_path / f'out/preds/{name}.json').read_text())['scores']
        for name in ('gray8', 'gray12', 'gray16', 'unit')
    }
    assert found['gray12'] == found['gray16'] == found['unit'] == found['gray8']
    assert sum('read by their range' in line for line in out.splitlines()) == 2


def test_nothing_that_can_be_drawn(run_tool, tiny_config, trained, tmp_path):
    (tmp_path / 'bad').mkdir()
    for name in 'ab':
        (tmp_path / 'bad' / f'{name}.png').write_bytes(b'?')
    result = run_tool('image_demo.py', 'bad', tiny_config, trained / 'epoch_1.pth')
    assert_fails(result, 'nothing was drawn', 'a.png is no image', 'b.png is no image')


def test_a_folder_of_many_kinds(run_tool, tiny_config, trained, tmp_path):
    folder = tmp_path / 'kinds'
    folder.mkdir()
    pixels = Image.fromarray(two_colours(48, 64))
    for name in ('a.jpg', 'a.png', 'c.jp2', 'd.pgm', 'e.gif', 'f.GIF', 'g.png'):
        (pixels.convert('L') if name == 'd.pgm' else pixels).save(folder / name)
    pixels.save(folder / 'b.jfif', format='JPEG')
    content = bytearray((folder / 'g.png').read_bytes())
    content[len(content) // 2] ^= 255
    (folder / 'g.png').write_bytes(content)
    (folder / 'notes.txt').write_text('notes')
    code, out, err = run_tool(
        'image_demo.py', folder, tiny_config, trained / 'epoch_1.pth',
        '--out-dir', 'out',
    )  # fmt: skip
    assert code == 0, out + err
    names = ['a.jpg', 'a_png.png', 'b.jpg', 'c.png', 'd.png']
    assert drawn(tmp_path / 'out/vis') == names
    assert len(drawn(tmp_path / 'out/preds')) == 5
    assert re.search(r'a.png: .* \(as a_png.png\)$', out, re.M)
    *_, other, odd, broken = out.splitlines()
    assert other == 'passed over: 2 .gif, 1 .txt' and odd.startswith('1 of 6')
    assert 'g.png cannot be decoded: it is damaged' in broken


def test_what_failed_is_said(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(TOOLS))
    draw = runpy.run_path(str(TOOLS / 'image_demo.py'))['draw_picture']
    save(tmp_path / 'a.png', two_colours(4, 6))
    picture = read_picture(str(tmp_path / 'a.png'))

    def said(work):
        drawer = SimpleNamespace(image=lambda file: work(cv2.imread(file)))
        with pytest.raises(BadInput) as caught:
            draw(str(tmp_path / 'a.png'), picture, drawer, 'a.png')
        return str(caught.value)

    words = said(lambda pixels: cv2.imwrite(str(tmp_path / 'a.odd'), pixels))
    assert words.startswith('(6 x 4 pixels) cannot be drawn: ') and 'writer' in words
    words = said(lambda pixels: cv2.resize(pixels, (0, 1)))
    assert words == '(6 x 4 pixels) cannot be resized as the config wants'


def test_images_and_videos(run_tool, tiny_config, trained, tmp_path):
    (tmp_path / 'mixed').mkdir()
    save(tmp_path / 'mixed/1.png', two_colours(48, 64))
    write_clip('mixed/clip.avi', 'mixed/1.png')
    write_clip('mixed/half.mp4', 'mixed/1.png', codec='mp4v')
    Path('mixed/half.mp4').write_bytes(Path('mixed/half.mp4').read_bytes()[:-400])
    Path('mixed/none.MOV').write_bytes(b'?')
    code, out, err = run_tool(
        'image_demo.py', 'mixed', tiny_config, trained / 'epoch_1.pth',
        '--out-dir', 'out', '--score-thr', '0',
    )  # fmt: skip
    assert code == 0, out + err
    assert drawn(tmp_path / 'out/vis') == ['1.png', 'clip.mp4']
    assert 'mixed/clip.avi: 4 frames, ' in out
    assert re.search(r'^mixed/1.png: \d+ boxes$', out, re.M)
    *_, odd, half, none = out.splitlines()
    assert odd == '2 of 4 could not be drawn:'
    assert half == '  mixed/half.mp4 is no video that can be read'
    assert none == '  mixed/none.MOV is no video that can be read'
    clip, rate = read_clip('out/vis/clip.mp4')
    assert clip.shape == (4, 48, 64, 3) and rate == 5
    error = apart(clip[0], Path('mixed/1.png'))
    assert 8 < error < apart(clip[0][..., ::-1], Path('mixed/1.png'))  # with its boxes
    code, out, err = run_tool(
        'image_demo.py', 'mixed/none.MOV', tiny_config, trained / 'epoch_1.pth'
    )
    assert_fails((code, out, err), 'nothing was drawn', 'is no video')


class TestRedraw:
    @pytest.fixture(autouse=True)
    def clip(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        cv2.imwrite('grey.png', np.full((46, 60, 3), 90, np.uint8))
        write_clip('clip.avi', 'grey.png', frames=5, rate=12.5)

    def test_frames_and_progress(self):
        told = []
        said = redraw('clip.avi', Path('out/a.mp4'), lambda x: 255 - x, told.append)
        frames, rate = read_clip('out/a.mp4')
        assert frames.shape == (5, 46, 60, 3) and rate == 12.5
        expected = 255 - 90 - 9 * np.arange(5)
        assert np.abs(frames.mean((1, 2, 3)) - expected).max() < 5
        assert said.startswith('5 frames, ') and said.endswith(' a second')
        assert [line.split(',')[0] for line in told] == [
            f'clip.avi: frame {i}/5' for i in range(1, 6)
        ]
        assert told[-1].endswith('eta 0:00:00')
        assert drawn(Path('out')) == ['a.mp4']

    def test_a_full_disk_is_noticed(self, monkeypatch):
        class Full:
            fourcc = cv2.VideoWriter.fourcc

            def __init__(self, *args): ...
            def write(self, frame): ...
            def release(self): ...

        Path('out.mp4').write_text('older')
        monkeypatch.setattr(video.cv2, 'VideoWriter', Full)
        with pytest.raises(BadInput, match='of 5 frames 0 could be written to out.mp4'):
            redraw('clip.avi', Path('out.mp4'), lambda x: x, print)
        assert Path('out.mp4').read_text() == 'older'

    def test_frames_that_cannot_be_resized(self):
        def draw(frame):
            return cv2.resize(frame, (0, 1))

        with pytest.raises(BadInput, match=r'\(60 x 46 pixels\) cannot be resized'):
            redraw('clip.avi', Path('out/out.mp4'), draw, print)
        assert drawn(Path('out')) == []

    def test_frames_that_come_back_in_another_size(self):
        words = r'\(60 x 46 pixels\) has a frame that was drawn with 20 x 23 pixels'
        with pytest.raises(BadInput, match=words):
            redraw('clip.avi', Path('out/out.mp4'), lambda x: x[::2, ::3], print)
        assert drawn(Path('out')) == []


def test_steps_are_told_and_leave_no_trace(monkeypatch, capfd):
    monkeypatch.setattr(console, 'SPARSE', 0)
    with console.open_console(quiet=False) as told:
        told.step('frame 1/2')
        told.step('frame 2/2')
        told.say('done')
    assert capfd.readouterr().out == 'frame 1/2\nframe 2/2\ndone\n'


def test_pictures_that_are_not_there(tmp_path):
    (tmp_path / 'photos' / 'inner').mkdir(parents=True)
    with pytest.raises(BadInput, match=r"searched by '.*photos/\*\*/\*\.jpg'"):
        find_images(str(tmp_path / 'photos'))
    with pytest.raises(BadInput, match=r'no image at .*photo \(.*photos'):
        find_images(str(tmp_path / 'photo'))
