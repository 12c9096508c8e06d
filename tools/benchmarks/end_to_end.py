"""Whole detectors and segmentors: loading, step, and what lies outside the backbone."""

import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmmsmlp.demo import CLASSES, PALETTE, make_demo_data
from mmmsmlp.models import swin
from mmmsmlp.run.config import load_config, tables_in
from mmmsmlp.run.launch import replace_sync_bn

from .machine import describe_machine
from .models import NCHW
from .run import progress
from .timing import interleave, speed_over

CONFIGS = {
    'retinanet': 'retinanet_msmlp_t_1x.py',
    'mask-rcnn': 'mask-rcnn_msmlp_t_1x.py',
    'upernet': 'upernet_msmlp_t_160k.py',
}
PEERS = {
    'swin': (
        'Swin-T (mmdet)',
        dict(type='mmdet.SwinTransformer', **swin.ARCHS['tiny']),
    ),
    'convnext': (
        'ConvNeXt-T (mmpretrain)',
        dict(type='mmpretrain.ConvNeXt', arch='tiny', gap_before_final_norm=False),
    ),
}
BACKBONES = {'msmlp': ('MS-MLP-T', None), **PEERS}
PICTURES, SIDE = 8, 640  # of each split, or some more; pixels
Shape = tuple[int, int, int]


class Trial:
    """A detector with its loaders, whose steps are timed part by part.

    ``parts`` grows with every step: its images, and the seconds of the whole step, of
    waiting for the loader, and in the backbone, forward and backward.
    """

    def __init__(
        self, model: nn.Module, loader: DataLoader, optimizer: OptimWrapper
    ) -> None:
        self.model, self.optimizer = model, optimizer
        self.batches = _endless(loader)
        self.parts: list[dict[str, float]] = []
        model.backbone.register_forward_pre_hook(self._enter)
        model.backbone.register_forward_hook(self._leave)
        _after_backward(optimizer, self._leave_backward)

    def __call__(self) -> None:
        """One step, from the loader to the new weights or the predictions."""
        self.backbone, self.entered = 0.0, None
        start = time.perf_counter()
        batch = next(self.batches)
        loaded = time.perf_counter()
        if self.model.training:
            self.model.train_step(batch, self.optimizer)
        else:
            with torch.no_grad():
                self.model.test_step(batch)
        total = time.perf_counter() - start
        parts = dict(total=total, loading=loaded - start, backbone=self.backbone)
        self.parts.append(parts | dict(images=len(batch['inputs'])))

    def _enter(self, *_: object) -> None:
        self.entered = time.perf_counter()

    def _leave(self, _: nn.Module, __: object, outputs: tuple[Tensor, ...]) -> None:
        self.backbone += time.perf_counter() - self.entered
        self.entered = None
        for output in outputs:
            if output.requires_grad:
                output.register_hook(self._enter_backward)

    def _enter_backward(self, _: Tensor) -> None:
        # Autograd goes from the last operation to the first: the heads are done.
        self.entered = self.entered or time.perf_counter()

    def _leave_backward(self) -> None:
        if self.entered is not None:
            self.backbone += time.perf_counter() - self.entered


def _endless(loader: DataLoader) -> Iterator[dict]:
    while True:
        yield from loader


def _after_backward(optimizer: OptimWrapper, call: Callable[[], None]) -> None:
    plain = optimizer.backward

    def backward(loss: Tensor, **kwargs: object) -> None:
        plain(loss, **kwargs)
        call()

    optimizer.backward = backward


def measure_detectors(args: Namespace) -> dict:
    """Time the detectors that ``args`` name, training and inference, on the CPU.

    Returns:
        What :func:`benchmarks.run.measure` returns; no gate goes before, as nothing
        here is an operation of its own.
    """
    rows = []
    for shape in args.shapes or [None]:
        batch = shape[0] if shape else 1
        many = -(-PICTURES // batch) * batch  # no batch of the loader is a short one
        with tempfile.TemporaryDirectory() as folder:
            make_demo_data(f'{folder}/data', many, many, SIDE, semantic=True)
            for name in args.detectors:
                for section in ('training', 'inference'):
                    rows += time_detector(
                        name, section, Path(folder, 'data'), shape, args.rounds or 3
                    )
    return dict(
        machine=describe_machine('cpu'), device='cpu', dtype='float32', results=rows
    )


def time_detector(
    name: str, section: str, data: Path, shape: Shape | None, rounds: int
) -> Iterator[dict]:
    """The rows of a detector with each backbone."""
    progress(f'{name}, {section}')
    trials = {
        key: build_trial(config_of(name, key, data, shape), section)
        for key in BACKBONES
    }
    times = interleave(trials, rounds, 'cpu', min_time=0)
    what = f'{name}, {section}'
    if shape is not None:
        batch = shape[0] if section == 'training' else 1
        what += f', {batch}x{shape[1]}x{shape[2]}'
    for key in trials:
        place = dict(section='end to end', size='t', shape=what)
        yield place | row_of(key, trials, times)


def build_trial(cfg: Config, section: str) -> Trial:
    """Build the model, its optimizer, and the loader of 'training' or 'inference'."""
    training = section == 'training'
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        torch.manual_seed(0)
        model: nn.Module = MODELS.build(cfg.model).train(training)
        settings = cfg.train_dataloader if training else cfg.val_dataloader
        loader = Runner.build_dataloader(settings, seed=0)
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
        return Trial(model, loader, optimizer)


def _resize(node: object, size: tuple[int, ...]) -> None:
    """Give every transform of a pipeline pictures of this height and width."""
    for table in tables_in(node):
        if 'Resize' in str(table.get('type')):
            table['keep_ratio'] = False
            if 'ratio_range' in table:
                table['ratio_range'] = 1.0, 1.0
        for name in ('scale', 'crop_size'):
            if name in table:
                table[name] = size[::-1] if name == 'scale' else size


def row_of(key: str, trials: dict, times: dict) -> dict:
    """A result; of the steps before the rounds, which warm up, nothing counts."""
    seconds = median(times[key])
    parts = trials[key].parts[-len(times[key]) :]

    def share(name: str) -> float:
        return median(part[name] / part['total'] for part in parts)

    return dict(
        key=key,
        label=BACKBONES[key][0],
        layout=NCHW,
        ms=1e3 * seconds,
        images_per_s=median(part['images'] / part['total'] for part in parts),
        loading=share('loading'),
        outside=1 - share('backbone') - share('loading'),
        over={rival: speed_over(times, key, rival) for rival in PEERS},
    )


def config_of(name: str, backbone: str, data: Path, shape: Shape | None) -> Config:
    """The config of a detector with this backbone, on the generated pictures.

    A ``shape`` (N, H, W) takes the place of its batch and of its pictures' size.
    """
    cfg = load_config(CONFIGS[name])
    replace_sync_bn(cfg)
    settings = BACKBONES[backbone][1]
    if settings is not None:
        indices = cfg.model.backbone.get('out_indices', (0, 1, 2, 3))
        same = dict(drop_path_rate=0.2, out_indices=indices)
        cfg.model.backbone = settings | same
    if shape is not None and 'size' in cfg.model.data_preprocessor:
        cfg.model.data_preprocessor.size = shape[1:]  # what training is padded to
    for split in ('train', 'val'):
        loader = cfg[f'{split}_dataloader']
        loader.dataset.update(data_root=str(data), _scope_=cfg.default_scope)
        if shape is not None:
            loader.batch_size = shape[0] if split == 'train' else 1
            _resize(loader.dataset, shape[1:])
        if cfg.default_scope == 'mmseg':
            loader.dataset.update(
                type='BaseSegDataset',
                img_suffix='.jpg',
                seg_map_suffix='.png',
                data_prefix=dict(img_path=split, seg_map_path=f'semantic/{split}'),
                metainfo=dict(classes=('background', *CLASSES)),
            )
        else:
            loader.dataset.update(
                ann_file=f'annotations/{split}.json',
                data_prefix=dict(img=f'{split}/'),
                metainfo=dict(classes=CLASSES, palette=PALETTE),
            )
    return cfg
