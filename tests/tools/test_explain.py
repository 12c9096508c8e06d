"""tools/explain.py on a detector, a segmentor and a classifier."""

import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.helpers.commands import assert_fails
from tests.helpers.untrained import CLASSIFICATION, SEGMENTATION

NAMES = ('sky', 'sea', 'land')


@pytest.fixture
def library():
    return pytest.importorskip('pytorch_grad_cam', reason='pip install grad-cam')


def picture(path):
    """A drawn picture, which has colours and is no wall of one."""
    drawn = cv2.imread(str(path))
    assert drawn is not None and min(drawn.shape[:2]) > 150 and drawn.std() > 20
    return drawn


def test_features_need_no_library(run_tool, untrained, tiny_data, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pytorch_grad_cam', None)
    untrained(CLASSIFICATION, dataset_meta=dict(classes=NAMES))
    image = tiny_data / 'images/1.png'
    arguments = ('explain.py', image, 'config.py', 'weights.pth')
    assert_fails(run_tool(*arguments), 'pip install grad-cam', '--maps features')
    gray = np.asarray(Image.open(image).convert('L')).astype(np.uint16) * 16
    Image.fromarray(gray).save('deep.png')
    code, out, err = run_tool(
        'explain.py', 'deep.png', *arguments[2:], '--maps', 'features', '--out', 'out'
    )
    assert code == 0, err
    assert out.splitlines()[-1] == 'drawn: out/features.png'
    picture('out/features.png')


def test_bad_input(run_tool, untrained, tiny_data, tmp_path):
    untrained(SEGMENTATION, dataset_meta=dict(classes=NAMES, palette=[[0] * 3] * 3))
    (tmp_path / 'note.png').write_text('no picture')
    rest = ('config.py', 'weights.pth', '--maps', 'features')
    assert_fails(run_tool('explain.py', 'note.png', *rest), 'note.png is no image')
    assert_fails(run_tool('explain.py', 'none.png', *rest), 'none.png does not exist')
    result = run_tool('explain.py', tiny_data / 'images/1.png', *rest, '--class', 'see')
    assert_fails(result, '--class see is none of the 3 classes', "did you mean 'sea'")


@pytest.mark.parametrize(
    ('text', 'said'), [(SEGMENTATION, ' % of the pixels)'), (CLASSIFICATION, 'sky (0.')]
)
def test_a_segmentor_and_a_classifier(
    library, run_tool, untrained, tiny_data, text, said
):
    untrained(text, dataset_meta=dict(classes=NAMES, palette=[[0] * 3] * 3))
    chosen = ('--class', 'sky') if text is CLASSIFICATION else ()
    code, out, err = run_tool(
        'explain.py', tiny_data / 'images/1.png', 'config.py', 'weights.pth',
        '--out', 'out', *chosen,
    )  # fmt: skip
    assert code == 0, err
    (line,) = [line for line in out.splitlines() if line.startswith('Grad-CAM: ')]
    assert said in line
    assert 'EigenCAM: the features alone' in out
    picture('out/features.png')
    picture('out/cam.png')


def test_a_detector(library, run_tool, tiny_config, tiny_data, trained):
    arguments = (
        'explain.py', tiny_data / 'images/1.png', tiny_config, trained / 'epoch_1.pth',
        '--out', 'out', '--maps', 'gradcam',
    )  # fmt: skip
    code, out, err = run_tool(*arguments, '--score-thr', '0', '--class', 'bar')
    assert code == 0, err
    (line,) = [line for line in out.splitlines() if line.startswith('Grad-CAM: ')]
    assert ' x bar box, scores 0.0' in line
    drawn = picture('out/cam.png').astype(int)
    assert (np.abs(drawn - (0, 255, 0)).sum(2) < 90).sum() > 20  # the boxes
    assert_fails(run_tool(*arguments, '--score-thr', '1'), 'no box has', '--score-thr')
