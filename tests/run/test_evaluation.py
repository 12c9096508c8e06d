"""tools/test.py: metrics, predictions, drawings and test-time augmentation."""

import json
import pickle

import torch
from mmengine.config import Config

from mmmsmlp.run.switches import use_tta, write_metrics

TTA = """
_base_ = 'tiny.py'
tta_model = dict(type='DetTTAModel', tta_cfg=dict(
    nms=dict(type='nms', iou_threshold=0.5), max_per_img=7))
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale=(s, s), keep_ratio=True) for s in (64, 96)],
        [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)],
        [dict(type='LoadAnnotations', with_bbox=True)],
        [dict(type='PackDetInputs', meta_keys=(
            'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip',
            'flip_direction'))]])]
"""


def read(path):
    with open(path, 'rb') as file:
        return pickle.load(file)


def test_metrics_predictions_and_drawings(run_tool, tiny_config, trained, tmp_path):
    code, out, err = run_tool(
        'test.py', tiny_config, trained / 'epoch_1.pth', '--metrics', 'a/m.json',
        '--out', 'b/p.pkl', '--show-dir', 'c',
    )  # fmt: skip
    assert code == 0, err
    metrics = json.loads((tmp_path / 'a/m.json').read_text())
    assert 0 <= metrics['coco/bbox_mAP_50'] <= 1
    printed = f'coco/bbox_mAP_50: {metrics["coco/bbox_mAP_50"]:.4f}'
    assert printed in out + err
    predictions = read('b/p.pkl')
    assert [p['img_id'] for p in predictions] == [1, 2, 3]
    assert sorted(p.name for p in (tmp_path / 'c').iterdir()) == [
        '1.png', '2.png', '3.png'
    ]  # fmt: skip
    assert (tmp_path / 'work_dirs/tiny').is_dir()


def test_tta_with_predictions(run_tool, tiny_config, trained):
    config = tiny_config.parent / 'tta.py'
    config.write_text(TTA)
    code, out, err = run_tool(
        'test.py', config, trained / 'epoch_1.pth', '--tta', '--out', 'tta.pkl',
        '--metrics', 'm.json',
    )  # fmt: skip
    assert code == 0, err
    predictions = read('tta.pkl')
    assert [p['img_id'] for p in predictions] == [1, 2, 3]
    # The TTA model's own limit; the plain model gives up to 20.
    assert all(0 < len(p['pred_instances']['scores']) <= 7 for p in predictions)


def test_tta_reaches_every_dataset():
    parts = [dict(pipeline=['plain']), dict(dataset=dict(pipeline=['plain']))]
    cfg = Config(
        dict(
            model=dict(type='Model'),
            test_cfg={},
            tta_model=dict(type='TTA'),
            tta_pipeline=['many'],
            test_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=parts)),
        )
    )
    use_tta(cfg)
    first, second = cfg.test_dataloader.dataset.datasets
    assert first.pipeline == second.dataset.pipeline == ['many']
    assert 'pipeline' not in cfg.test_dataloader.dataset


def test_metrics_that_are_no_single_number(tmp_path):
    metrics = dict(matrix=torch.eye(2), score=torch.tensor(0.5), count=3)
    write_metrics(metrics, tmp_path / 'm.json')
    read = json.loads((tmp_path / 'm.json').read_text())
    assert read == dict(matrix=[[1.0, 0.0], [0.0, 1.0]], score=0.5, count=3)


def test_tta_needs_the_whole_model_too(run_tool, tiny_config, trained):
    config = tiny_config.parent / 'tta.py'
    config.write_text(TTA)
    bigger = 'model.bbox_head.stacked_convs=2'
    code, out, err = run_tool(
        'test.py', config, trained / 'epoch_1.pth', '--tta', '--cfg-options', bigger
    )
    assert code == 2 and 'bbox_head.cls_convs.1.conv.weight' in err


def test_a_config_in_the_run_folder_is_not_written_over(
    run_tool, tiny_config, trained, tmp_path
):
    mine = tmp_path / 'run' / 'mine.py'
    mine.parent.mkdir()
    mine.write_text(tiny_config.read_text())
    code, _, err = run_tool(
        'test.py', mine, trained / 'epoch_1.pth', '--work-dir', 'run', '--cfg-options',
        'model.test_cfg.max_per_img=3',
    )  # fmt: skip
    assert code == 0, err
    assert mine.read_text() == tiny_config.read_text()
    assert 'max_per_img=3' in (mine.parent / 'mine.ran.py').read_text()
