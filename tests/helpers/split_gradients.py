"""One of several gloo processes: are the gradients of 4 images those of one process?

Started by torchrun with 2 or 4 processes. Every model sees 4 images in all; what
DistributedDataParallel leaves in the gradients must be what one process computes.
"""

import copy
import importlib

import numpy as np
import torch
import torch.distributed as dist
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from torch.nn.parallel import DistributedDataParallel

import mmmsmlp
from mmmsmlp.configs import get_config
from mmmsmlp.run.launch import leave_gloo
from tests.helpers.exports import narrow

IMAGES, SIZE = 4, 64
REGIONS = [[1, 3]] * 4
MIX = dict(embed_dims=16, depths=[1, 1, 1, 1], mix_sizes=REGIONS)
HEADS = dict(num_heads=[1, 2, 4, 8], window_size=7)
SWIN = dict(embed_dims=16, depths=[1, 1, 1, 1], **HEADS)
FOCAL = dict(
    SWIN,
    focal_levels=[2, 2, 2, 2],
    focal_windows=[7, 5, 3, 1],
    expand_sizes=[3, 3, 3, 0],
)
BACKBONES = {
    'MSMLP': dict(arch=MIX, shift_dist=(0, 1), layer_scale_init_value=1.0),
    'MSMLPSwin': dict(arch=dict(SWIN, mix_sizes=[1, 3]), shift_dist=(0, 1)),
    'MSMLPFocal': dict(arch=dict(FOCAL, mix_sizes=[1, 3]), shift_dist=(0, 1)),
    'SwinTransformer': dict(arch=SWIN),
    'FocalTransformer': dict(arch=FOCAL),
}


class Loss(torch.nn.Module):
    """A model and its loss as one module, as DistributedDataParallel wants it."""

    def __init__(self, model, loss):
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, images):
        return self.loss(self.model, images)


def of_backbone(model, images):
    return sum(output.pow(3).mean() for output in model(images))


def of_segmentor(model, images):
    from mmseg.structures import SegDataSample

    samples = []
    for image in images:
        sample = SegDataSample(metainfo=dict(img_shape=image.shape[1:]))
        sample.gt_sem_seg = PixelData(data=(image[:1] > 0).long())
        samples.append(sample)
    return model.parse_losses(model.loss(images, samples))[0]


def of_detector(model, images):
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    shape = tuple(images.shape[2:])
    meta = dict(
        img_shape=shape, ori_shape=shape, pad_shape=shape, batch_input_shape=shape,
        scale_factor=(1, 1),
    )  # fmt: skip
    boxes = images.new_tensor([[4, 4, 40, 40], [20, 16, 60, 56]])
    masks = np.zeros((2, *shape), np.uint8)
    masks[0, 4:40, 4:40] = masks[1, 16:56, 20:60] = 1
    samples = []
    for _ in images:
        sample = DetDataSample(metainfo=meta)
        sample.gt_instances = InstanceData(
            bboxes=boxes, labels=torch.tensor([1, 2]), masks=BitmapMasks(masks, *shape)
        )
        sample.ignored_instances = InstanceData(
            bboxes=boxes[:0], labels=torch.zeros(0, dtype=torch.long)
        )
        samples.append(sample)
    return model.parse_losses(model.loss(images, samples))[0]


def seed_samplers():
    """Let every image draw the same regions, in whichever process and slot it is."""
    from mmdet.models.task_modules.samplers import RandomSampler

    def random_choice(self, gallery, num):
        generator = torch.Generator().manual_seed(0)
        return gallery[torch.randperm(len(gallery), generator=generator)[:num]]

    RandomSampler.random_choice = random_choice


def suppress_in_float32():
    """mmcv's NMS knows no double; which boxes it keeps is all that is asked of it."""
    module = importlib.import_module('mmcv.ops.nms')
    nms = module.nms

    def in_float32(boxes, scores, *args, **kwargs):
        _, kept = nms(boxes.float(), scores.float(), *args, **kwargs)
        return torch.cat([boxes[kept], scores[kept, None]], 1), kept

    module.nms = in_float32


def small(name):
    """A leaf with a small backbone, GroupNorm in its heads and no dropout."""
    cfg = get_config(name)
    cfg.model.backbone.update(BACKBONES['MSMLP'], drop_path_rate=0.0)
    group_norm = dict(type='GN', num_groups=8)
    if 'upernet' in name:
        for head, channels in (
            ('decode_head', [16, 32, 64, 128]),
            ('auxiliary_head', 64),
        ):
            cfg.model[head].update(
                in_channels=channels, channels=16, norm_cfg=group_norm, dropout_ratio=0
            )
    else:
        widths = [16, 32, 64, 128][-len(cfg.model.neck.in_channels) :]
        cfg.model.neck.update(in_channels=widths, out_channels=32)
        narrow(cfg.model)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return cfg.default_scope, MODELS.build(cfg.model).train()


def check(name, model, loss, images):
    rank, world = dist.get_rank(), dist.get_world_size()
    joint = Loss(copy.deepcopy(model), loss)
    joint(images).backward()
    split = DistributedDataParallel(Loss(model, loss))
    share = len(images) // world
    split(images[rank * share : (rank + 1) * share]).backward()
    whole = torch.cat([p.grad.flatten() for p in joint.parameters()]).norm()
    for (key, one), two in zip(
        joint.named_parameters(), model.parameters(), strict=True
    ):
        # A gradient that is next to nothing beside the others is rounding alone.
        scale = max(one.grad.norm(), 1e-3 * whole)
        error = (two.grad - one.grad).norm() / scale
        assert error < 1e-5, f'{name} {key}: relative error {error:.1e}'
    if rank == 0:
        print(f'{name}: equal', flush=True)


def main():
    dist.init_process_group('gloo')
    torch.manual_seed(1)
    images = torch.randn(IMAGES, 3, SIZE, SIZE)
    for name, arguments in BACKBONES.items():
        torch.manual_seed(0)
        model = getattr(mmmsmlp, name)(**arguments)
        check(name, model, of_backbone, images)
    same = images[:1].expand(IMAGES, -1, -1, -1).contiguous()
    seed_samplers()
    suppress_in_float32()
    for name, loss, batch in (
        ('upernet_msmlp_t_160k', of_segmentor, images),
        ('retinanet_msmlp_t_1x', of_detector, same),
        ('mask-rcnn_msmlp_t_1x', of_detector, same),
    ):
        torch.manual_seed(0)
        scope, model = small(name)
        if 'retinanet' not in name:
            # GroupNorm of pooled 1x1 maps magnifies float32's rounding, and at random
            # weights it decides the order of proposals that score alike.
            model, batch = model.double(), batch.double()
        with DefaultScope.overwrite_default_scope(scope):
            check(name, model, loss, batch)
    leave_gloo()


if __name__ == '__main__':
    main()
