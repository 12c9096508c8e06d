"""One try of the doctor's, in a process of its own.

    python tools/_doctor_probe.py torch|cv2|operators|backend|NET

Prints lines of a marker and JSON: each stage as it begins, then the result. A process
that dies has said what it was at. Nothing but the standard library is imported before
the stage that names it.
"""

import json
import sys
from importlib import import_module
from typing import Any

MARK = '@doctor '
SIZE, CLASSES = 64, 4


def say(**what: object) -> None:
    print(MARK + json.dumps(what), flush=True)


def load(name: str) -> Any:
    """Import a module, as a stage."""
    say(stage=f'import {name}')
    return import_module(name)


# --- what is beneath the nets --------------------------------------------------------


def probe_torch() -> dict[str, object]:
    """The device that a run takes, and whether torch, numpy and torchvision fit."""
    torch = load('torch')
    say(stage='find the device')
    found = {'device': 'cpu', 'threads': torch.get_num_threads(), 'cuda_error': ''}
    found['cuda'] = torch.version.cuda
    if torch.cuda.is_available():
        major, minor = torch.cuda.get_device_capability()
        found.update(device='cuda', gpu=torch.cuda.get_device_name(),
                     gpus=torch.cuda.device_count(),
                     capability=f'{major}.{minor}')  # fmt: skip
    elif torch.version.cuda:
        try:
            torch.cuda.init()
        except Exception as error:  # whatever the driver makes of it
            found['cuda_error'] = first_line(error)
    elif torch.backends.mps.is_available():
        found['device'] = 'mps'
    say(found=found)
    say(stage='hand a tensor to numpy')
    torch.ones(2).numpy()
    vision = load('torchvision')
    say(stage='torchvision.ops.nms')
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8]])
    kept = vision.ops.nms(boxes, torch.tensor([0.4, 0.8]), 0.5)
    expect(kept.tolist() == [1], f'it kept {kept.tolist()} of two boxes, not [1]')
    return found


def probe_cv2() -> dict[str, object]:
    return {'text': f'cv2 {load("cv2").__version__} imports'}


def probe_operators() -> dict[str, object]:
    """Whose ``mmcv._ext`` there is, and whether it works."""
    torch = load('torch')
    load('mmcv')
    from mmcv_ops import extension_of, folder_of_mmcv, is_compiled

    extension = extension_of(folder_of_mmcv())
    if extension is None:
        load('mmmsmlp')
    load('mmcv._ext')
    ops = load('mmcv.ops')
    say(stage='mmcv.ops.nms')
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8]])
    kept = ops.nms(boxes, torch.tensor([0.4, 0.8]), 0.5)[1]
    expect(kept.tolist() == [1], f'it kept {kept.tolist()} of two boxes, not [1]')
    kind = 'compiled' if is_compiled(extension) else 'installed'
    return {'kind': kind if extension else 'by import', 'file': str(extension)}


def probe_backend() -> dict[str, object]:
    """The backend that auto takes for mix-shift here, and why not a faster one."""
    torch = load('torch')
    load('mmmsmlp')
    dispatch = load('mmmsmlp.ops.mixshift.dispatch')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    x = torch.zeros(1, 4, 8, 8, device=device)
    weights = [torch.zeros(4, 1, 3, 3, device=device)]
    say(stage='choose the backend')
    backend = dispatch.select_backend(x, weights)
    reason = device == 'cuda' and dispatch.why_not('triton', x, weights)
    return {'backend': backend, 'reason': reason or ''}


# --- nets -----------------------------------------------------


def backbone(**options: object) -> dict[str, object]:
    arch = dict(embed_dims=8, depths=[1] * 4, mix_sizes=[[1, 3]] * 4)
    return dict(type='mmmsmlp.MSMLP', arch=arch, shift_dist=(0, 1), **options)


WIDTHS = [8, 16, 32, 64]
STATISTICS = dict(mean=[127.0] * 3, std=[64.0] * 3)
RETINANET = dict(
    type='RetinaNet',
    data_preprocessor=dict(type='DetDataPreprocessor', **STATISTICS),
    backbone=backbone(out_indices=(1, 2, 3)),
    neck=dict(type='FPN', in_channels=WIDTHS[1:], out_channels=16, num_outs=3),
    bbox_head=dict(
        type='RetinaHead', num_classes=CLASSES, in_channels=16, feat_channels=16,
        stacked_convs=1,
        anchor_generator=dict(type='AnchorGenerator', octave_base_scale=2,
                              scales_per_octave=1, ratios=[1.0], strides=[8, 16, 32]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25),
        loss_bbox=dict(type='L1Loss')),
    train_cfg=dict(
        assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4,
                      min_pos_iou=0, ignore_iof_thr=-1),
        sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1),
    test_cfg=dict(nms_pre=100, min_bbox_size=0, score_thr=0.0, max_per_img=5,
                  nms=dict(type='nms', iou_threshold=0.5)),
)  # fmt: skip
UPERNET = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', size=(SIZE, SIZE), pad_val=0,
                           seg_pad_val=255, **STATISTICS),
    backbone=backbone(),
    decode_head=dict(type='UPerHead', in_channels=WIDTHS, in_index=[0, 1, 2, 3],
                     pool_scales=(1, 2), channels=16, num_classes=CLASSES,
                     norm_cfg=dict(type='BN'), align_corners=False),
    test_cfg=dict(mode='whole'),
)  # fmt: skip
CLASSIFIER = dict(
    type='ImageClassifier',
    data_preprocessor=dict(num_classes=CLASSES, **STATISTICS),
    backbone=backbone(out_indices=(3,), gap_before_final_norm=True),
    head=dict(type='LinearClsHead', num_classes=CLASSES, in_channels=WIDTHS[3],
              loss=dict(type='CrossEntropyLoss')),
)  # fmt: skip


def detection_sample(torch: Any) -> Any:
    structures = import_module('mmdet.structures')
    instances = import_module('mmengine.structures').InstanceData(
        bboxes=torch.tensor([[8.0, 8, 40, 40]]), labels=torch.tensor([1])
    )
    shapes = dict.fromkeys(('img_shape', 'ori_shape', 'batch_input_shape'), (SIZE,) * 2)
    sample = structures.DetDataSample(metainfo=dict(shapes, scale_factor=(1.0, 1.0)))
    sample.gt_instances = instances
    return sample


def segmentation_sample(torch: Any) -> Any:
    structures = import_module('mmseg.structures')
    pixels = import_module('mmengine.structures').PixelData(
        data=torch.arange(SIZE).remainder(CLASSES).expand(1, SIZE, SIZE).clone()
    )
    shapes = dict.fromkeys(('img_shape', 'ori_shape'), (SIZE,) * 2)
    sample = structures.SegDataSample(metainfo=shapes)
    sample.gt_sem_seg = pixels
    return sample


def class_sample(torch: Any) -> Any:
    return import_module('mmpretrain.structures').DataSample().set_gt_label(1)


# Toolbox, what its tools import, the net, a sample, its prediction's shape, as wanted.
NETS = {
    'retinanet': (
        'mmdet', 'mmdet.apis', RETINANET, detection_sample,
        lambda sample: sample.pred_instances.bboxes.shape, (5, 4),
    ),
    'upernet': (
        'mmseg', 'mmseg.apis', UPERNET, segmentation_sample,
        lambda sample: sample.pred_sem_seg.data.shape, (1, SIZE, SIZE),
    ),
    'classifier': (
        'mmpretrain', 'mmpretrain.models', CLASSIFIER, class_sample,
        lambda sample: sample.pred_score.shape, (CLASSES,),
    ),
}  # fmt: skip


def probe_net(name: str) -> dict[str, object]:
    """Build a tiny net from the registries, train one step, predict."""
    toolbox, module, config, sample, shape_of, wanted = NETS[name]
    torch = load('torch')
    load('mmmsmlp')
    load(module)
    say(stage='build')
    import_module(f'{toolbox}.utils').register_all_modules()
    torch.manual_seed(0)
    device = import_module('mmengine.device').get_device()
    config = import_module('mmengine.config').ConfigDict(config)
    net = import_module(f'{toolbox}.registry').MODELS.build(config).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.001)
    wrapper = import_module('mmengine.optim').OptimWrapper(optimizer)
    images = [torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8)] * 2
    samples = [sample(torch), sample(torch)]
    if toolbox == 'mmpretrain':  # its data loader stacks
        images = torch.stack(images)
    data = {'inputs': images, 'data_samples': samples}
    before = [parameter.detach().clone() for parameter in net.backbone.parameters()]
    say(stage='train a step')
    net.train()
    loss = net.train_step(data, wrapper)['loss'].item()
    expect(0 <= loss < float('inf'), f'the loss is {loss}, not finite')
    after = net.backbone.parameters()
    changed = sum(not torch.equal(*pair) for pair in zip(before, after, strict=True))
    expect(changed > 0, 'the step changed no parameter of the backbone')
    say(stage='predict')
    net.eval()
    with torch.no_grad():
        shapes = [tuple(shape_of(one)) for one in net.test_step(data)]
    expect(shapes == [wanted] * 2, f'predictions of {shapes}, not twice {wanted}')
    return {'text': f'trains and predicts on {device}, loss {loss:.3g}'}


def expect(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ['']
    return lines[0][:300]


PROBES = {
    'torch': probe_torch,
    'cv2': probe_cv2,
    'operators': probe_operators,
    'backend': probe_backend,
}


def main(name: str) -> int:
    try:
        result = probe_net(name) if name in NETS else PROBES[name]()
    except BaseException as error:  # a toolbox may raise SystemExit, too
        say(error=f'{type(error).__name__}: {first_line(error)}')
        return 1
    say(result=result)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
