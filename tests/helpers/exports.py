"""Small models of every kind that exports, with weights that find something."""

import re

import cv2
import numpy as np
import torch

import mmmsmlp
from mmmsmlp.configs import get_config
from mmmsmlp.demo.scene import compose
from tests.helpers.small_nets import SETTINGS

WIDTHS = [10, 20, 40, 80]  # of the small nets' stages
FEW = dict(
    num_classes=4, feat_channels=32, stacked_convs=1, fc_out_channels=32,
    conv_out_channels=16, num_shared_convs=1, max_per_img=50, nms_pre=100,
    channels=16,
)  # fmt: skip
# What tells one picture from another, initialised as if nothing could.
CLASSIFIERS = (
    'fc_cls',
    'conv_cls',
    'retina_cls',
    'atss_cls',
    'rtm_cls',
    'conv_seg',
    'fc',
)


def small(config, backbone='MSMLP'):
    """A config of ours with a small net, few channels and small test pictures."""
    cfg = get_config(config)
    stages = cfg.model.backbone.get('out_indices', (0, 1, 2, 3))
    if cfg.default_scope == 'mmpretrain':
        stages = (3,)
    settings = SETTINGS[getattr(mmmsmlp, backbone)]
    if backbone == 'MSMLP':  # its blocks are alike; each takes its share of a trace
        arch = dict(settings['arch'], depths=[1, 1, 1, 1])
        settings = dict(settings, arch=arch)
    was = cfg.model.backbone
    cfg.model.backbone = dict(settings, type=f'mmmsmlp.{backbone}', out_indices=stages)
    for key in ('gap_before_final_norm',):
        if key in was:
            cfg.model.backbone[key] = was[key]
    widths = [WIDTHS[i] for i in stages]
    if cfg.default_scope == 'mmdet':
        cfg.model.neck.update(in_channels=widths, out_channels=32)
        if 'ATSS' in cfg.model.type:
            cfg.model.bbox_head.norm_cfg = dict(type='GN', num_groups=8)
        if 'num_csp_blocks' in cfg.model.neck:
            cfg.model.neck.num_csp_blocks = 1
    elif cfg.default_scope == 'mmseg':
        cfg.model.auxiliary_head = None
        head = cfg.model.decode_head
        many = isinstance(head.in_channels, (list, tuple))
        head.in_channels = widths if many else widths[head.in_index]
        head.update(c1_in_channels=10, c1_channels=8) if 'c1_channels' in head else None
    else:
        cfg.model.head.in_channels = widths[-1]
    narrow(cfg.model)
    for table in cfg.test_dataloader.dataset.pipeline:
        if table['type'].endswith('Resize'):
            table['scale'] = (96, 64)
        elif table['type'].endswith('Pad'):
            table['size'] = (96, 96)
        elif table['type'] == 'ResizeEdge':
            table['scale'] = 72
        elif table['type'] == 'CenterCrop':
            table['crop_size'] = 64
    return cfg


def narrow(node):
    """Give heads few channels, classes and boxes, in place."""
    if isinstance(node, (list, tuple)):
        for child in node:
            narrow(child)
    if not isinstance(node, dict):
        return
    for key in node.keys() & FEW.keys():
        node[key] = FEW[key]
    kind = str(node.get('type'))
    if 'Head' in kind and node.get('in_channels') in (128, 256):
        node['in_channels'] = 32
    if 'Extractor' in kind:
        node['out_channels'] = 32
    if 'SyncBN' in kind:
        node['type'] = 'BN'
    for child in node.values():
        narrow(child)


def built(cfg):
    """The model of a config; the same weights at every call."""
    from mmengine.registry import MODELS, init_default_scope

    init_default_scope(cfg.default_scope)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    for module in model.modules():
        if getattr(module, 'running_var', None) is not None:
            module.running_var.uniform_(0.5, 2)
            module.running_mean.normal_(std=0.1)
    _sharpen(model.eval())
    return model


def _sharpen(model):
    """Let classifiers give logits about zero, a few apart: no ties, no certainty."""
    names = '|'.join(CLASSIFIERS)
    hooks = []

    def first(layer, inputs, output):
        if layer in seen:
            return None
        seen.add(layer)
        torch.nn.init.normal_(layer.weight)
        output = layer.forward(*inputs)
        layer.weight.data /= output.std() / 2
        layer.bias.data = -layer.forward(*inputs).transpose(0, 1).flatten(1).mean(1)
        return layer.forward(*inputs)

    seen = set()
    for name, layer in model.named_modules():
        if re.search(rf'\b({names})(\.\d+)?$', name) and hasattr(layer, 'weight'):
            hooks.append(layer.register_forward_hook(first))
    noise, shape = torch.randn(1, 3, 64, 96), (64, 96)
    with torch.no_grad():
        if hasattr(model, 'roi_head'):
            from mmdet.structures import DetDataSample

            sizes = dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0))
            model.predict(noise, [DetDataSample(metainfo=sizes)])
        else:
            model(noise, mode='tensor')
    assert seen
    for hook in hooks:
        hook.remove()


def pictures(folder, sizes):
    """Files of scenes of (height, width)."""
    files = []
    for i, (height, width) in enumerate(sizes):
        scene, _ = compose(np.random.default_rng(i), max(height, width))
        files.append(str(folder / f'{i}.png'))
        cv2.imwrite(files[-1], scene[:height, :width])
    return files
