"""Evaluation writes COCO results, tables by class, confusion matrices, plain JSON."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.fileio import dump
from mmengine.logging import MMLogger
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from pycocotools.mask import decode

from mmmsmlp.errors import BadInput
from mmmsmlp.run import mends
from mmmsmlp.run.confusion import matrix_of, pair_boxes, table_of, worst_of
from mmmsmlp.run.results import CocoResults, Confusion, add_writers
from mmmsmlp.run.switches import write_metrics
from tests.helpers.commands import assert_fails


def strict(path):
    """What a JSON file holds; NaN and Infinity are refused."""

    def refuse(word):
        raise ValueError(f'{word} is no JSON')

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.fixture
def odd_ids(tiny_data, tmp_path):
    """The tiny set with category ids 7 and 3, and no box of the second class."""
    data = json.loads((tiny_data / 'boxes.json').read_text())
    new = {1: 7, 2: 3}
    for category in data['categories']:
        category['id'] = new[category['id']]
    data['annotations'] = [
        dict(a, category_id=7) for a in data['annotations'] if a['category_id'] == 1
    ]
    path = tmp_path / 'odd.json'
    path.write_text(json.dumps(data))
    return path


def test_what_one_evaluation_writes(run_tool, tiny_config, trained, odd_ids, tmp_path):
    options = [f'test_dataloader.dataset.ann_file={odd_ids}',
               f'test_evaluator.ann_file={odd_ids}']  # fmt: skip
    code, out, err = run_tool(
        'test.py', tiny_config, trained / 'epoch_1.pth', '--json', 'r/found.json',
        '--metrics', 'm.json', '--classwise', '--confusion', 'matrix.png',
        '--work-dir', 'run', '--cfg-options', *options,
    )  # fmt: skip
    assert code == 0, out + err
    metrics = strict(tmp_path / 'm.json')
    assert metrics['coco/bar_precision'] is None
    assert metrics['coco/square_precision'] == round(metrics['coco/bbox_mAP'], 3)
    assert 'square' in out and '| bar ' in out
    (log,) = (tmp_path / 'run').glob('*/2*.json')
    assert strict(log)['coco/bar_precision'] is None
    results = strict(tmp_path / 'r' / 'found.json')
    assert {r['category_id'] for r in results} == {3, 7}
    assert set(results[0]) == {'image_id', 'category_id', 'bbox', 'score'}
    truth = COCO(str(odd_ids))
    scored = COCOeval(truth, truth.loadRes(results), 'bbox')
    scored.evaluate()
    scored.accumulate()
    scored.summarize()
    assert scored.stats[0] == pytest.approx(metrics['coco/bbox_mAP'], abs=6e-4)
    assert Image.open(tmp_path / 'matrix.png').size > (300, 300)


def test_no_box_at_all_is_an_ap_of_zero(run_tool, tiny_config, trained, odd_ids):
    options = ['model.test_cfg.score_thr=1.5', f'test_evaluator.ann_file={odd_ids}',
               f'test_dataloader.dataset.ann_file={odd_ids}',
               'train_dataloader.dataset.ann_file=gone.json']  # fmt: skip
    code, out, err = run_tool(
        'test.py', tiny_config, trained / 'epoch_1.pth', '--metrics', 'm.json',
        '--classwise', '--work-dir', 'run', '--cfg-options', *options,
    )  # fmt: skip
    assert code == 0, out + err
    metrics = strict(Path('m.json'))
    assert metrics['coco/bbox_mAP'] == metrics['coco/bbox_mAP_50'] == 0
    assert metrics['coco/square_precision'] == 0
    assert metrics['coco/bar_precision'] is None  # has no truth
    assert 'not one box was found in' in out + err and 'is empty' not in out + err
    (record,) = Path('run').glob('*/evaluation.json')
    assert strict(record)['coco']['bbox']['by_class']['AP'] == [0, None]


@pytest.mark.parametrize(
    ('option', 'file'), [('--json', 'x.txt'), ('--confusion', 'x.gif')]
)
def test_names_of_files_are_checked_first(run_tool, tiny_config, option, file):
    result = run_tool('test.py', tiny_config, 'no.pth', option, file)
    assert_fails(result, option, file, 'ends with')


def test_results_of_masks(tmp_path):
    mask = torch.zeros(1, 6, 8, dtype=torch.bool)
    mask[0, 2:5, 1:4] = True
    found = dict(
        bboxes=torch.tensor([[1.0, 2.0, 4.0, 5.5]]), labels=torch.tensor([1]),
        scores=torch.tensor([0.75]), masks=mask,
    )  # fmt: skip
    metric = CocoResults([90, 17], str(tmp_path / 'r.json'))
    metric.process({}, [dict(img_id=42, pred_instances=found)])
    metric.compute_metrics(metric.results)
    (entry,) = strict(tmp_path / 'r.json')
    assert (entry['image_id'], entry['category_id']) == (42, 17)
    assert entry['bbox'] == [1, 2, 3, 3.5] and entry['score'] == 0.75
    code = dict(entry['segmentation'], counts=entry['segmentation']['counts'].encode())
    assert (decode(code) == mask[0].numpy()).all()


def writers(scope, dataset, **asked):
    runner = SimpleNamespace(
        cfg=dict(default_scope=scope),
        test_dataloader=SimpleNamespace(dataset=dataset),
        test_evaluator=SimpleNamespace(metrics=[]),
    )
    options = dict(coco=None, confusion=None, classwise=False) | asked
    add_writers(runner, **options)
    return runner.test_evaluator.metrics


def test_who_has_which_results():
    inner = SimpleNamespace(cat_ids=[5, 2])
    joined = SimpleNamespace(datasets=[SimpleNamespace(dataset=inner)])
    (metric,) = writers('mmdet', joined, coco='x.json')
    assert metric.category_ids == [5, 2]
    for scope in ('mmseg', 'mmdet'):
        with pytest.raises(BadInput, match='SimpleNamespace has none; --out'):
            writers(scope, SimpleNamespace(), coco='x.json')
    names = SimpleNamespace(metainfo=dict(classes=('a', 'b')))
    assert writers('mmseg', names, classwise=True) == []
    assert len(writers('mmpretrain', names, classwise=True)) == 1


def box(x, label, ignore=0):
    return dict(bbox=[x, 0, x + 10, 10], bbox_label=label, ignore_flag=ignore)


def pairs(truth, *found):
    boxes = np.array([[x, 0, x + 10, 10] for x, _ in found], float).reshape(-1, 4)
    labels = np.array([label for _, label in found], int)
    return sorted(map(tuple, pair_boxes(truth, boxes, labels).T.tolist()))


def test_boxes_are_paired():
    two = [box(0, 0), box(50, 1)]
    assert pairs(two, (1, 0), (50, 1)) == [(0, 0), (1, 1)]
    assert pairs(two, (1, 1)) == [(0, 1), (1, -1)]  # another class, and a miss
    assert pairs(two, (0, 0), (50, 1), (2, 0)) == [(-1, 0), (0, 0), (1, 1)]
    assert pairs(two, (6, 0), (50, 1)) == [(-1, 0), (0, -1), (1, 1)]  # IoU 0.25
    assert pairs([], (0, 2)) == [(-1, 2)] and pairs([box(0, 2)]) == [(2, -1)]
    assert pairs([]) == []
    # A box of the right class has precedence over a better one of another.
    assert pairs([box(0, 0)], (0, 1), (2, 0)) == [(-1, 1), (0, 0)]
    # What lies in a crowd counts nowhere.
    assert pairs([box(0, 0, 1)], (0, 0), (80, 1)) == [(-1, 1)]


def dataset_of(*classes):
    return SimpleNamespace(metainfo=dict(classes=classes))


def counted(metric, samples):
    for sample in samples:
        metric.process({}, [sample])
    return matrix_of(metric.results, metric.classes, False)


def test_labels_and_pixels_are_counted():
    samples = [
        dict(gt_label=torch.tensor([t]), pred_label=torch.tensor([p]))
        for t, p in [(0, 0), (0, 2), (2, 2), (2, 2)]
    ]
    names, counts = counted(Confusion(dataset_of(*'abc'), 'mmpretrain', None), samples)
    assert names == ['a', 'b', 'c']
    assert counts.tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 2]]
    lines = table_of(names, counts).splitlines()
    assert lines[1].split() == ['a', '2', '100.0', '50.0', '66.7']
    assert lines[2].split() == ['b', '0', '-', '-', '-']
    assert worst_of(names, counts, False) == 'a was taken for c in 50 %'
    # 'background' is mmdet's last row, or a class like any other.
    names = ['cup', 'background']
    assert worst_of(names, counts[::2, ::2], True) == 'cup was missed in 50 %'
    odd = np.array([[1, 1], [3, 1]])
    assert worst_of(names, odd, False) == (
        'background was taken for cup in 75 %; cup was taken for background in 50 %'
    )
    true = torch.tensor([[[0, 1, 255], [1, 1, 0]]])
    found = torch.tensor([[[0, 0, 1], [1, 1, 1]]])
    sample = dict(gt_sem_seg=dict(data=true), pred_sem_seg=dict(data=found))
    _, counts = counted(Confusion(dataset_of(*'ab'), 'mmseg', None), [sample] * 2)
    assert counts.tolist() == [[2, 2], [2, 4]]


def test_several_labels_an_image_have_no_matrix():
    metric = Confusion(dataset_of(*'ab'), 'mmpretrain', None)
    sample = dict(gt_label=torch.tensor([0, 1]), pred_label=torch.tensor([0]))
    with pytest.raises(BadInput, match='leave out --confusion'):
        metric.process({}, [sample])


@pytest.mark.parametrize('size', [3, 40, 201])
def test_matrices_of_any_size_are_drawn(tmp_path, size):
    MMLogger.get_instance('results')
    classes = [f'class {i}' for i in range(size)]
    metric = Confusion(dataset_of(*classes), 'mmpretrain', str(tmp_path / 'm.png'))
    rng = np.random.default_rng(0)
    true = rng.integers(0, size, 500)
    found = np.where(rng.random(500) < 0.7, true, rng.integers(0, size, 500))
    samples = [
        dict(gt_label=torch.tensor([t]), pred_label=torch.tensor([p]))
        for t, p in zip(true, found, strict=True)
    ]
    metric.process({}, samples)
    assert metric.compute_metrics(metric.results) == {}
    drawn = np.asarray(Image.open(tmp_path / 'm.png').convert('L'))
    assert 400 < max(drawn.shape) < 3000 and drawn.min() < 80


def test_what_is_no_number_is_null(tmp_path, stock_mmengine):
    mends.install()
    metrics = dict(a=float('nan'), b=[1.5, float('inf')], c=torch.tensor(0.5),
                   d=np.float32(2))  # fmt: skip
    expected = dict(a=None, b=[1.5, None], c=0.5, d=2)
    write_metrics(metrics, tmp_path / 'm.json')
    dump(metrics, str(tmp_path / 'theirs.json'))
    with open(tmp_path / 'open.json', 'w') as file:
        dump(metrics, file, file_format='json')
    for name in ('m', 'theirs', 'open'):
        assert strict(tmp_path / f'{name}.json') == expected


def test_the_config_of_a_table_by_class():
    from mmmsmlp.run.switches import use_classwise

    both = [dict(type='CocoMetric'), dict(type='mmdet.CocoMetric'), dict(type='Other')]
    cfg = Config(dict(test_evaluator=both))
    use_classwise(cfg)
    assert [m.get('classwise') for m in cfg.test_evaluator] == [True, True, None]
