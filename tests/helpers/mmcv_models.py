"""Small detectors that train and predict by mmcv's operators, for comparisons."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from tests.helpers.mmcv_cases import drawn, uniform, using

DETECTORS = {
    'mask-rcnn': None,
    # Nothing is sampled in a RetinaNet, so that rounding stays rounding.
    'retinanet DCN': dict(type='DCN', deform_groups=1),
    'retinanet DCNv2': dict(type='DCNv2', deform_groups=2),
}
STEPS = 4


def detector(name: str) -> nn.Module:
    """mmdet's with a ResNet of an eighth of the width; weights drawn."""
    import mmdet
    from mmdet.registry import MODELS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    folder = Path(mmdet.__file__).parent / '.mim' / 'configs' / '_base_' / 'models'
    cfg = Config.fromfile(folder / f'{name.split()[0]}_r50_fpn.py').model
    cfg.backbone.update(
        base_channels=8, stem_channels=8, init_cfg=None, norm_eval=False
    )
    if DETECTORS[name]:
        cfg.backbone.update(
            dcn=DETECTORS[name], stage_with_dcn=(False, True, True, True)
        )
    cfg.neck.update(in_channels=[32, 64, 128, 256], out_channels=16)
    if 'bbox_head' in cfg:
        cfg.bbox_head.update(
            in_channels=16, feat_channels=16, stacked_convs=1, num_classes=3
        )
        cfg.test_cfg.score_thr = 0.01
    else:
        shrink_two_stages(cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg)
    for number, (key, parameter) in enumerate(model.named_parameters()):
        if parameter.dim() > 1 and 'conv_offset' not in key:  # those begin as zeros
            fan = parameter[0].numel()
            parameter.data = drawn(*parameter.shape, seed=number, scale=fan**-0.5)
    return model


def shrink_two_stages(cfg: Config) -> None:
    cfg.rpn_head.update(in_channels=16, feat_channels=16)
    heads, small = cfg.roi_head, dict(in_channels=16, num_classes=3)
    for extractor in (heads.bbox_roi_extractor, heads.mask_roi_extractor):
        extractor.out_channels = 16
    heads.bbox_head.update(small, fc_out_channels=32)
    heads.mask_head.update(small, conv_out_channels=16, num_convs=1)
    cfg.train_cfg.rcnn.sampler.num = 64
    cfg.test_cfg.rcnn.score_thr = 0.01


def batch() -> dict:
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    inputs, samples = [], []
    for image in range(2):
        inputs.append((uniform(3, 96, 128, seed=image) * 255).to(torch.uint8))
        boxes = torch.tensor([[8.0, 12, 60, 70], [50, 30, 110, 90]]) + 4 * image
        masks = torch.zeros(2, 96, 128, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = 1
        sample = DetDataSample(metainfo=dict(
            img_shape=(96, 128), ori_shape=(96, 128), pad_shape=(96, 128),
            batch_input_shape=(96, 128), scale_factor=(1, 1),
        ))  # fmt: skip
        sample.gt_instances = InstanceData(
            bboxes=boxes,
            labels=torch.tensor([image, 2]),
            masks=BitmapMasks(masks.numpy(), 96, 128),
        )
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def trained(name: str, ext: object) -> tuple[Tensor, Tensor]:
    """The losses (steps, kinds), their sum first, and then the detections (n, 6)."""
    torch.manual_seed(0)
    with using(ext), DefaultScope.overwrite_default_scope('mmdet'):
        model = detector(name).train()
        rate = torch.optim.SGD(model.parameters(), lr=0.01)
        optimizer = OptimWrapper(rate, clip_grad=dict(max_norm=1))
        rows = []
        for _ in range(STEPS):
            torch.manual_seed(0)  # the samplers draw
            losses = model.train_step(batch(), optimizer)
            rows.append([losses[key].item() for key in losses if 'loss' in key])
        found = []
        for sample in model.eval().test_step(batch()):
            kept = sample.pred_instances
            parts = [kept.bboxes, kept.scores[:, None], kept.labels[:, None]]
            found.append(torch.cat(parts, 1))
    return torch.tensor(rows), torch.cat(found).detach()
