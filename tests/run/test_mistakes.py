"""A detector's mistakes on sets whose answer is known."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmmsmlp.errors import BadInput
from mmmsmlp.run.confusion import matrix_of, pair_boxes
from mmmsmlp.run.mistakes import (
    ALONE,
    RIGHT,
    WRONG,
    Mistakes,
    add_mistakes,
    count_mistakes,
    judge,
    tables_of,
)


def box(x, label, ignore=0):
    return dict(bbox=[x, 0, x + 10, 10], bbox_label=label, ignore_flag=ignore)


# Two squares and two bars, and a crowd in which nothing counts.
TRUTH = [box(0, 0), box(20, 0), box(40, 1), box(60, 1), box(200, 0, ignore=1)]
FOUND = [  # x, class, score
    (0, 0, 0.9),  # right
    (20, 1, 0.8),  # a square taken for a bar
    (1, 0, 0.7),  # the first square again
    (44, 1, 0.6),  # next to a bar: IoU 3/7
    (90, 0, 0.5),  # where nothing is
    (200, 0, 0.4),  # in the crowd
]


def sample(img_id, found):
    xs = torch.tensor([[float(x), 0, x + 10, 10] for x, _, _ in found]).reshape(-1, 4)
    _, labels, scores = zip(*found, strict=True) if found else ((), (), ())
    instances = dict(
        bboxes=xs, labels=torch.tensor(labels).long(), scores=torch.tensor(scores)
    )
    return dict(img_id=img_id, pred_instances=instances)


def dataset(folder, *truths):
    infos = [
        dict(img_id=i, img_path=str(folder / f'{i}.png'), instances=truth)
        for i, truth in enumerate(truths)
    ]
    for info in infos:
        cv2.imwrite(info['img_path'], np.full((20, 110, 3), 128, np.uint8))

    class Data(list):
        metainfo = dict(classes=('square', 'bar'))
        get_data_info = list.__getitem__

    return Data(infos)


def judged(truth=TRUTH, found=FOUND):
    boxes = np.array([[x, 0, x + 10, 10] for x, _, _ in found], float)
    _, labels, scores = map(np.array, zip(*found, strict=True))
    return judge('a.png', truth, boxes, labels, scores)


def test_every_box_is_judged():
    image = judged()
    assert image.true.kinds.tolist() == [RIGHT, WRONG, ALONE, ALONE]
    assert image.true.overlaps.tolist() == pytest.approx([1, 1, 3 / 7, 0])
    assert image.true.partners.tolist() == [0, 1, -1, -1]
    assert image.found.kinds.tolist() == [RIGHT, WRONG, ALONE, ALONE, ALONE]
    assert image.found.overlaps.tolist() == pytest.approx([1, 1, 9 / 11, 3 / 7, 0])
    assert image.found.partners.tolist() == [0, 0, -1, -1, -1]
    assert image.mistakes == 6


def test_both_tables():
    counts = count_mistakes([judged(), judged(found=FOUND[:1])], ['square', 'bar'])
    lines = tables_of(counts).splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ['square', '4', '2', '1', '1', '4', '2', '0', '2'],
        ['bar', '4', '0', '0', '4', '2', '0', '1', '1'],
        ['all', '8', '2', '1', '5', '6', '2', '1', '3'],
    ]
    assert [line.split() for line in lines[-4:]] == [
        ['0.0', '0.1', '1', '4'], ['0.1', '0.3', '0', '0'],
        ['0.3', '0.5', '1', '1'], ['0.5', '1.0', '1', '0'],
    ]  # fmt: skip


def test_nothing_there_and_nothing_found():
    empty = np.zeros((0, 4)), np.zeros(0, int), np.zeros(0)
    image = judge('a.png', [], *empty)
    assert image.mistakes == 0
    (row, _) = count_mistakes([image], ['square', 'bar'])['classes']
    assert set(row.values()) == {'square', 0}
    assert judge('a.png', TRUTH, *empty).true.kinds.tolist() == [ALONE] * 4


def test_the_confusion_matrix_says_the_same():
    rng = np.random.default_rng(0)
    images, pairs = [], []
    for _ in range(20):
        truth = [box(float(x), int(k)) for x, k in zip(*draw(rng), strict=True)]
        xs, labels = draw(rng)
        boxes = np.stack([xs, 0 * xs, xs + 10, 0 * xs + 10], 1)
        images.append(judge('a.png', truth, boxes, labels, np.ones(len(xs))))
        found = pair_boxes(truth, boxes, labels)
        pairs.append(np.concatenate([found, np.ones((1, found.shape[1]), int)]))
    _, matrix = matrix_of(pairs, ['a', 'b', 'c'], background=True)
    rows = count_mistakes(images, ['a', 'b', 'c'])['classes']
    assert matrix.diagonal().min(initial=99, where=np.arange(4) < 3) > 0
    for k, row in enumerate(rows):
        assert row['found'] == row['right'] == matrix[k, k]
        assert row['missed'] == matrix[k, 3] and row['false'] == matrix[3, k]
        assert row['there'] == matrix[k].sum() and row['boxes'] == matrix[:, k].sum()
        assert row['taken for another'] == matrix[k, :3].sum() - matrix[k, k]


def draw(rng):
    count = rng.integers(1, 6)
    return rng.integers(0, 60, count).astype(float), rng.integers(0, 3, count)


def test_the_worst_images_are_drawn(tmp_path):
    MMLogger.get_instance('mistakes')
    data = dataset(tmp_path, [box(0, 0)], TRUTH[:4], [box(0, 1)])
    metric = Mistakes(data, str(tmp_path / 'out'), 2)
    low = (70, 0, 0.29)  # under the score from which on boxes are shown
    metric.process({}, [sample(0, [(0, 0, 0.9), low]), sample(1, FOUND[:5])])
    metric.process({}, [sample(2, [])])
    assert metric.compute_metrics(metric.results) == {}
    table = json.loads((tmp_path / 'out/mistakes.json').read_text())
    assert [row['there'] for row in table['classes']] == [3, 3]
    assert [row['false'] for row in table['classes']] == [2, 1]
    assert [(p['picture'], p['mistakes']) for p in table['pictures']] == [
        ('001_1.jpg', 6), ('002_2.jpg', 1),
    ]  # fmt: skip
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == ['001_1.jpg', '002_2.jpg', 'mistakes.json']
    scale = 640 / 110
    image = cv2.imread(str(tmp_path / 'out/001_1.jpg')).astype(int)
    assert image.shape[1] == 2 * 640 + 6
    y, middle = round(10 * scale), 646
    for x, colour in [
        (5, (80, 200, 60)), (45, (60, 60, 240)),  # a square found, a bar missed
        (middle * 110 / 640 + 95, (60, 60, 240)),  # a false box
    ]:  # fmt: skip
        at = image[y - 2 : y + 3, round(x * scale)]
        assert np.abs(at - colour).max(1).min() < 40


def test_it_wants_a_detector():
    runner = SimpleNamespace(cfg=Config(dict(default_scope='mmseg')))
    with pytest.raises(BadInput, match='--mistakes is of the boxes of a detector'):
        add_mistakes(runner, 'out', 3)


def test_the_tool_writes_them(run_tool, tiny_config, trained, tmp_path):
    code, out, err = run_tool(
        'test.py', tiny_config, trained / 'epoch_1.pth', '--work-dir', 'run',
        '--mistakes', 'out', '--mistakes-count', '2',
    )  # fmt: skip
    assert code == 0, err
    table = json.loads(Path('out/mistakes.json').read_text())
    for row in table['classes']:
        assert row['there'] == 3
        assert row['found'] + row['taken for another'] + row['missed'] == 3
    pictures = [entry['picture'] for entry in table['pictures']]
    assert len(pictures) == 2 and all(Path('out', name).is_file() for name in pictures)
    assert 'by overlap (IoU):' in out + err
