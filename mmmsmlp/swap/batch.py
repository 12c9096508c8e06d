"""A batch that any model of the three toolboxes trains on, made of nothing."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from .places import walk

IMAGES = 2  # batch norm behind global pooling needs more than one


def make_batch(cfg: Mapping, size: int) -> dict[str, Any]:
    """Images of noise with annotations, as the config's data loader would collate them.

    Args:
        cfg: The config; ``model.data_preprocessor`` tells videos and branches,
            ``train_dataloader`` what mmpretrain's views are made of.
        size: Height and width of the images.
    """
    scope = cfg.get('default_scope')
    if scope == 'mmseg':
        return _collate([_segmented(size) for _ in range(IMAGES)])
    if scope == 'mmpretrain':
        return _piped(cfg)
    processor = cfg['model'].get('data_preprocessor') or {}
    kind, by_frame = str(processor.get('type')), processor.get('use_det_processor')
    if kind.endswith('TrackDataPreprocessor') and not by_frame:
        return _collate([_video(size, cfg) for _ in range(IMAGES)])
    batch = _collate([_detected(size, cfg) for _ in range(IMAGES)])
    if kind.endswith('MultiBranchDataPreprocessor'):
        names = 'sup', 'unsup_teacher', 'unsup_student'
        return {key: dict.fromkeys(names, value) for key, value in batch.items()}
    return batch


def _collate(samples: list[dict]) -> dict[str, list]:
    return {key: [sample[key] for sample in samples] for key in samples[0]}


def _image(size: int) -> torch.Tensor:
    return torch.randint(256, (3, size, size), dtype=torch.uint8)


def _meta(size: int) -> dict[str, Any]:
    shape = size, size
    return dict(
        img_id=0, img_path='', img_shape=shape, ori_shape=shape, pad_shape=shape,
        batch_input_shape=shape, scale_factor=(1.0, 1.0), flip=False,
        flip_direction=None, border=(0, size, 0, size),
        homography_matrix=np.eye(3, dtype=np.float32),
    )  # fmt: skip


def _detected(size: int, cfg: Mapping) -> dict[str, Any]:
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData, PixelData

    low, high = size // 8, size // 2
    boxes = torch.tensor([[low, low, high, high], [high, low, 7 * low, high + low]])
    sample = DetDataSample(metainfo=_meta(size))
    sample.gt_instances = InstanceData(
        bboxes=boxes.float(), labels=torch.zeros(2, dtype=torch.long),
        instances_ids=torch.arange(2),
    )  # fmt: skip
    if wants(cfg, 'with_mask') or wants(cfg, 'type', 'LoadPanopticAnnotations'):
        masks = np.zeros((2, size, size), np.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.tolist(), strict=True):
            mask[top:bottom, left:right] = 1
        sample.gt_instances.masks = BitmapMasks(masks, size, size)
    sample.ignored_instances = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
    )
    sample.proposals = InstanceData(bboxes=boxes.float())
    side = round(size * (wants(cfg, 'scale_factor', 'SegRescale') or 1))
    sample.gt_sem_seg = PixelData(sem_seg=torch.zeros(1, side, side, dtype=torch.long))
    return dict(inputs=_image(size), data_samples=sample)


def wants(cfg: Mapping, key: str, type: str = 'Annotations') -> Any:
    """What a loading or other step of the training pipeline says of ``key``."""
    steps = [step for _, step in walk(dict(cfg).get('train_dataloader'))]
    named = (step for step in steps if isinstance(step, dict))
    said = (step.get(key) for step in named if str(step.get('type')).endswith(type))
    return next(filter(None, said), None)


def _video(size: int, cfg: Mapping) -> dict[str, Any]:
    """A key frame and a reference."""
    from mmdet.structures import TrackDataSample

    frames = [_detected(size, cfg) for _ in range(2)]
    sample = TrackDataSample(metainfo=dict(key_frames_inds=[0], ref_frames_inds=[1]))
    sample.video_data_samples = [frame['data_samples'] for frame in frames]
    return dict(
        inputs=torch.stack([frame['inputs'] for frame in frames]), data_samples=sample
    )


def _segmented(size: int) -> dict[str, Any]:
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=_meta(size))
    labels = torch.zeros(1, size, size, dtype=torch.long)
    labels[:, size // 2 :] = 1
    sample.gt_sem_seg = PixelData(data=labels)
    sample.gt_edge_map = PixelData(data=labels)
    sample.gt_depth_map = PixelData(data=labels.float() + 1)
    return dict(inputs=_image(size), data_samples=sample)


def _piped(cfg: Mapping) -> dict[str, Any]:
    """What the config's own pipeline makes of pictures that need no loading."""
    from mmengine.dataset import Compose, default_collate, pseudo_collate
    from mmpretrain.registry import TRANSFORMS

    loader = cfg['train_dataloader']
    dataset = loader['dataset']
    while 'pipeline' not in dataset:  # ConcatDataset and the like wrap others
        dataset = dataset.get('datasets', [dataset.get('dataset')])[0]
    steps = [
        step for step in dataset['pipeline'] if not step['type'].startswith('Load')
    ]
    pipeline = Compose([TRANSFORMS.build(step) for step in steps])
    samples = []
    for i in range(IMAGES):
        picture = np.random.default_rng(i).integers(256, size=(256, 256, 3))
        samples.append(
            pipeline(
                dict(
                    img=picture.astype(np.uint8), img_shape=(256, 256),
                    ori_shape=(256, 256), img_path='', sample_idx=i, gt_label=0,
                )
            )
        )  # fmt: skip
    kind = str((loader.get('collate_fn') or {}).get('type'))
    return (default_collate if kind == 'default_collate' else pseudo_collate)(samples)


def make_test_batch(cfg: Mapping, size: int) -> dict[str, Any]:
    """One image, or video of one frame, to predict on; arguments as above."""
    scope = cfg.get('default_scope')
    if scope == 'mmseg':
        return _collate([_segmented(size)])
    if scope == 'mmpretrain':
        from mmpretrain.structures import DataSample

        return dict(inputs=_image(size)[None], data_samples=[DataSample()])
    sample = _detected(size, cfg)
    kind = str((cfg['model'].get('data_preprocessor') or {}).get('type'))
    if kind.endswith('TrackDataPreprocessor'):
        from mmdet.structures import TrackDataSample

        frame = sample['data_samples']
        frame.set_metainfo(dict(frame_id=0, video_length=1, ori_video_length=1))
        video = TrackDataSample(metainfo=dict(ori_video_length=1, video_length=1))
        video.video_data_samples = [frame]
        sample = dict(inputs=sample['inputs'][None], data_samples=video)
    return _collate([sample])
