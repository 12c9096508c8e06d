"""What an evaluation keeps for the report: right, small, and never in the way."""

import base64
import importlib
import io
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmmsmlp.report.runs import Run, write_report
from mmmsmlp.report.runs.results import by_class
from mmmsmlp.run.mends import mend_coco
from mmmsmlp.run.tally import KEPT, NAME, Tally, TallyHook, _noting, summary_of


class Data(list):
    """A list with attributes."""


def runner_of(folder, scope, names, truth=(), metrics=()):
    """What a tally asks of a Runner; ``truth`` is a list of boxes an image."""
    infos = [dict(img_id=i, instances=rows) for i, rows in enumerate(truth)]
    dataset = Data(infos)
    dataset.metainfo, dataset.get_data_info = dict(classes=names), infos.__getitem__
    loop = SimpleNamespace(
        dataloader=SimpleNamespace(dataset=dataset), evaluator=Evaluator(list(metrics))
    )
    cfg = ConfigDict(default_scope=scope, load_from='w.pth')
    return SimpleNamespace(cfg=cfg, log_dir=str(folder), epoch=3, iter=30,
                           val_loop=loop, test_loop=loop)  # fmt: skip


def kept(runner, samples, loop='test'):
    """The record of an evaluation of some samples."""
    tally = Tally(runner, loop)
    tally.process({}, samples)
    assert tally.evaluate(len(samples)) == {}
    return json.loads((Path(runner.log_dir) / NAME).read_text())


def table(record):
    return by_class(Run('x', Path(), evaluation=record))


def box(x, label):
    return dict(bbox=[x, 0, x + 10, 10], bbox_label=label, ignore_flag=0)


def found(number, *rows):
    """A prediction of boxes (x, label, score), ten pixels wide."""
    corners = [[x, 0, x + 10, 10] for x, *_ in rows]
    return dict(
        img_id=number,
        img_path=f'{number}.jpg',
        pred_instances=dict(
            bboxes=torch.tensor(corners).float().reshape(-1, 4),
            labels=torch.tensor([label for _, label, _ in rows]).long(),
            scores=torch.tensor([score for *_, score in rows]).float(),
        ),
    )


def test_detections(tmp_path):
    truth = [[box(0, 0), box(40, 1)], [box(0, 1)], []]
    runner = runner_of(tmp_path, 'mmdet', ('cup', 'pen'), truth)
    record = kept(runner, [
        found(0, (1, 0, 0.9), (40, 1, 0.8)),
        found(1, (0, 0, 0.5), (70, 0, 0.1)),  # another class; and one too faint
        found(2),
    ])  # fmt: skip
    assert record['names'] == ['cup', 'pen', 'background'] and record['images'] == 3
    assert record['confusion'] == [[0, 0, 1], [1, 0, 1], [1, 1, 1]]
    assert table(record) == {
        'boxes': [1, 2],
        'precision, %': [50, 100],
        'recall, %': [100, 50],
        'F1, %': [200 / 3] * 2,
    }
    (worst,), (best,) = record['worst'], record['best']
    assert worst == dict(
        file=os.path.abspath('1.jpg'),
        quality=0.0,
        truth=[[1, 0, 0, 10, 10]],
        found=[[0, 0, 0, 10, 10, 0.5]],
    )
    assert best['file'] == os.path.abspath('0.jpg') and best['quality'] == 1.0
    assert (record['loop'], record['checkpoint']) == ('test', 'w.pth')


def test_label_maps(tmp_path):
    true = torch.tensor([[[0, 0, 1, 255]]])
    guess = torch.tensor([[[0, 1, 1, 1]]])
    sample = dict(img_path='a.png', gt_sem_seg=dict(data=true),
                  pred_sem_seg=dict(data=guess))  # fmt: skip
    record = kept(runner_of(tmp_path, 'mmseg', ('sky', 'road')), [sample], 'val')
    assert table(record) == {
        'pixels': [2, 1],
        'IoU, %': [50, 50],
        'Acc, %': [50, 100],
        'precision, %': [100, 50],
    }
    assert record['checkpoint'] is None and record['worst'][0]['quality'] == 0.5
    maps = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(record['worst'][0][key]))))
        for key in ('truth', 'found')
    ]
    assert [m.tolist() for m in maps] == [[[0, 0, 1, 255]], [[0, 1, 1, 1]]]


def test_label_maps_of_more_classes_than_a_byte_has(tmp_path):
    """They have no pictures, rather than wrong ones; the page needs none."""
    for many, pictured in ((255, 1), (300, 0)):
        true, guess = torch.tensor([[[0, many - 1]]]), torch.tensor([[[0, 43]]])
        sample = dict(img_path='a.png', gt_sem_seg=dict(data=true),
                      pred_sem_seg=dict(data=guess))  # fmt: skip
        runner = runner_of(tmp_path, 'mmseg', [f'c{i}' for i in range(many)])
        record = kept(runner, [sample])
        assert record['confusion'] == [[0, 0, 1], [many - 1, 43, 1]]
        assert len(record['worst'] + record['best']) == pictured
    run = Run('x', tmp_path, evaluation=record)
    text = write_report(tmp_path / 'report.html', [run]).read_text()
    assert 'id="images"' not in text and '<tr><td>c299</td><td>c43</td>' in text


def classified(number, true, guess, score=0.7):
    scores = torch.full((3,), (1 - score) / 2)
    scores[guess] = score
    return dict(img_path=f'{number}.jpg', gt_label=torch.tensor([true]),
                pred_label=torch.tensor([guess]), pred_score=scores)  # fmt: skip


def test_classes_and_which_images_are_kept(tmp_path):
    runner = runner_of(tmp_path, 'mmpretrain', ('a', 'b', 'c'))
    samples = [classified(i, 0, 0, 0.4 + i / 100) for i in range(40)]
    samples[17] = classified(17, 2, 1, 0.9)
    record = kept(runner, samples)
    assert record['confusion'] == [[0, 0, 39], [2, 1, 1]]
    assert table(record)['images'] == [39, 0, 1]
    worst, best = (
        [int(Path(one['file']).stem) for one in record[which]]
        for which in ('worst', 'best')
    )
    assert worst == [17, *range(KEPT - 1)]
    assert best == [39 - i for i in range(KEPT)]
    assert record['worst'][0]['truth'] == [2] and record['worst'][0]['found'] == [
        1,
        0.9,
    ]
    assert record['best'][0]['quality'] == pytest.approx(0.79)


def test_the_next_evaluation_starts_anew(tmp_path):
    tally = Tally(runner_of(tmp_path, 'mmpretrain', ('a', 'b', 'c')), 'val')
    for many in (3, 1):
        tally.process({}, [classified(i, 0, 0) for i in range(many)])
        tally.evaluate(many)
        record = json.loads((tmp_path / NAME).read_text())
        assert record['images'] == len(record['worst'] + record['best']) == many


@pytest.fixture
def warned(monkeypatch):
    """What is warned of in the log."""
    lines = []
    logger = SimpleNamespace(warning=lines.append)
    monkeypatch.setattr(MMLogger, 'get_current_instance', lambda: logger)
    return lines


def test_what_goes_wrong_is_told_once_and_ends_nothing(tmp_path, warned):
    runner = runner_of(tmp_path, 'mmpretrain', ('a', 'b', 'c'))
    tally = Tally(runner, 'val')
    tally.process({}, [dict(img_path='a')] * 3 + [classified(0, 0, 0)])
    assert tally.evaluate(4) == {} and not (tmp_path / NAME).exists()
    assert len(warned) == 1 and 'will lack' in warned[0]
    tally.process({}, [classified(0, 0, 0)])  # and the next one is kept
    tally.evaluate(1)
    assert (tmp_path / NAME).is_file()


def test_several_labels_an_image(tmp_path, warned):
    tally = Tally(runner_of(tmp_path, 'mmpretrain', ('a', 'b', 'c')), 'val')
    several = dict(classified(0, 0, 0), gt_label=torch.tensor([0, 2]))
    tally.process({}, [several] * 2)
    assert warned == [
        'the report will lack this evaluation: several labels an image: no confusion '
        'in the report'
    ]


def test_who_has_a_tally(tmp_path):
    blind, plain = SimpleNamespace(format_only=True), SimpleNamespace()
    for scope, metrics, many in (
        ('mmseg', [plain], 1), ('mmrotate', [plain], 0), ('mmseg', [blind], 0)
    ):  # fmt: skip
        runner = runner_of(tmp_path, scope, ('a',))
        runner.val_loop.evaluator.metrics = [*metrics]
        for _ in range(2):
            TallyHook().before_val(runner)
        tallies = [m for m in runner.val_loop.evaluator.metrics if m not in metrics]
        assert len(tallies) == many


def test_the_numbers_are_those_of_cocos_evaluation():
    """Ids 7 and 3 are not in the order of the labels."""
    rng = np.random.default_rng(0)
    images = [dict(id=i, width=300, height=300) for i in range(6)]
    rows = []
    for i in range(40):
        x, y, w, h = (rng.random(4) * [150, 150, 120, 120] + 4).tolist()
        rows.append(dict(id=i + 1, image_id=i % 6, category_id=(7, 3)[i % 2],
                         bbox=[x, y, w, h], area=w * h, iscrowd=0))  # fmt: skip
    truth = COCO()
    categories = [dict(id=7, name='a'), dict(id=3, name='b')]
    truth.dataset = dict(images=images, annotations=rows, categories=categories)
    truth.createIndex()
    results = [
        dict(image_id=r['image_id'], category_id=r['category_id'], score=rng.random(),
             bbox=(np.array(r['bbox']) + rng.normal(size=4) * 3).tolist())
        for r in rows
    ]  # fmt: skip
    each = {}
    for name, ids in dict(all=[3, 7], a=[7], b=[3]).items():
        scored = COCOeval(truth, truth.loadRes(results), 'bbox')
        scored.params.catIds = ids
        scored.evaluate()
        scored.accumulate()
        scored.summarize()
        each[name] = scored
    told = summary_of(each['all'], [7, 3])
    stats = {name: scored.stats for name, scored in each.items()}
    sizes, of_class = told['by_size'].values(), told['by_class']
    for place, name in enumerate(('AP', 'AP50', 'AP75')):
        expected = [stats['a'][place], stats['b'][place]]
        assert of_class[name] == pytest.approx(expected, abs=1e-6)
    assert list(sizes) == pytest.approx(stats['all'][[0, 3, 4, 5]], abs=1e-6)
    level = np.mean(told['curves']['IoU 0.50'])
    assert level == pytest.approx(stats['all'][1], abs=1e-6)
    assert np.mean(told['class_curves'][1]) == pytest.approx(stats['b'][1], abs=1e-6)


@pytest.fixture
def coco_metric(monkeypatch, stock_mmengine):
    """mmdet's module as it is before any mend."""
    module = importlib.import_module('mmdet.evaluation.metrics.coco_metric')
    for name in ('COCO', 'COCOeval', 'COCOevalMP'):
        kinds = getattr(module, name).__mro__
        theirs = next(kind for kind in kinds if kind.__name__ == name)
        monkeypatch.setattr(module, name, theirs)
    return module


def scored_by_mmdet(module, folder, **options):
    """Metrics of boxes and proposals, and what is noted of them; ids descend."""
    names = {7: 'a', 3: 'b'}
    rows = [
        dict(id=k + 1, image_id=k % 2, category_id=category, bbox=[10, 10, 40, 40],
             area=1600, iscrowd=0)
        for k, category in enumerate((7, 7, 3, 3))
    ]  # fmt: skip
    content = dict(
        images=[dict(id=i, width=100, height=100) for i in range(2)],
        categories=[dict(id=i, name=name) for i, name in names.items()],
        annotations=rows,
    )
    (folder / 'truth.json').write_text(json.dumps(content))
    metric = module.CocoMetric(
        ann_file=str(folder / 'truth.json'), metric=['bbox', 'proposal'], **options
    )
    metric.dataset_meta = dict(classes=('a', 'b'))
    for i in range(2):  # the second class is found in the first image alone
        boxes = dict(
            bboxes=torch.tensor([[10.0, 10, 50, 50]] * (2 - i)),
            labels=torch.tensor([0, 1][: 2 - i]),
            scores=torch.tensor([0.9, 0.8][: 2 - i]),
        )
        sample = dict(img_id=i, ori_shape=(100, 100), pred_instances=boxes)
        metric.process({}, [sample])
    noted = []
    with _noting(metric, lambda *pair: noted.append(summary_of(*pair))):
        metrics = metric.evaluate(2)
    return metrics, noted


HALF = 51 / 101  # of the 101 recalls


def test_proposals_leave_the_boxes_as_they_are(tmp_path, coco_metric):
    """They know no classes, and come last under the same name of 'bbox'."""
    metrics, noted = scored_by_mmdet(coco_metric, tmp_path)
    assert metrics['coco/AR@100'] == 0.75
    (told,) = noted
    assert told['by_class']['AP'] == pytest.approx([1, HALF], abs=1e-6)


def test_proposals_beside_the_ap_of_each_class(tmp_path, coco_metric):
    plain, _ = scored_by_mmdet(coco_metric, tmp_path)
    mend_coco(Config(dict(val_evaluator=dict(type='CocoMetric', classwise=True))))
    metrics, (told,) = scored_by_mmdet(coco_metric, tmp_path, classwise=True)
    assert {name: metrics[name] for name in plain} == plain
    assert metrics['coco/a_precision'] == 1 and metrics['coco/b_precision'] == 0.505
    assert told['by_class']['AP'] == pytest.approx([1, HALF], abs=1e-6)


@pytest.mark.full
def test_an_evaluation_in_several_processes(tmp_path, coco_metric):
    """mmdet sends the evaluation to them, and has another class for that."""
    mend_coco(Config(dict(val_evaluator=dict(type='CocoMetric', classwise=True))))
    expected = scored_by_mmdet(coco_metric, tmp_path, classwise=True)
    given = scored_by_mmdet(coco_metric, tmp_path, classwise=True, use_mp_eval=True)
    assert given == expected and given[1]


@pytest.mark.full
def test_ten_thousand_images_cost_little(tmp_path):
    truth = [[box(20 * k, k % 80) for k in range(8)] for _ in range(10_000)]
    runner = runner_of(tmp_path, 'mmdet', [f'{i}' for i in range(80)], truth)
    rows = [(20 * k + 3 * (k % 3), k % 5, 0.9 - k / 20) for k in range(12)]
    start = time.monotonic()
    record = kept(runner, [found(i, *rows) for i in range(10_000)])
    assert time.monotonic() - start < 60
    assert record['images'] == 10_000 and (tmp_path / NAME).stat().st_size < 100_000
