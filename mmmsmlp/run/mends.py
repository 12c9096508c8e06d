"""Mends of mmengine, each with what it mends and where that was seen.

Seen in mmengine 0.10.7 and in onedl-mmengine 0.10.12 alike:

- Its loaders run the code in a pickle, or fall back to it, read a file again for every
  user, and fetch from a dozen kinds of addresses: :meth:`Loading.load_from_file`.
- It fills models with whatever fits and warns of the rest, so a file of other names
  leaves them at random: :meth:`Loading.load_state_dict`.
- A checkpoint is written under its own name from the start: :class:`AtomicBackend`.
- The oldest checkpoint is removed before the new one is written: :func:`keep_two`.
- ``find_latest_checkpoint`` trusts a note that may name half a file, or one of another
  folder: :func:`latest_checkpoint`.
- It reads and writes text in the platform's encoding, which on Windows and in an ASCII
  locale lacks most names, and its images through OpenCV, which on Windows finds no path
  beyond ASCII: :func:`name_encodings`, :class:`AnyPathVisBackend`. So does pycocotools
  2.0.11 with annotations.
- What a data pipeline raises does not say of which image: :func:`_prepare_named`.
- It writes NaN into its JSON files, which JSON does not have: :class:`StrictJson`.
- mmdet gives no AP at all where not one box was found, and its classwise AP stands
  under another class's name where category ids do not ascend as the classes do:
  :func:`mend_coco`.

What a config has to name lies in ``engine``: ``hooks.PlainCheckpointHook`` (it pickles
log buffers and numpy's scalars as objects), ``hooks.SeedByProgressHook`` (a resumed run
draws other numbers), ``fsdp.FSDPStrategy`` and ``fsdp.ShardedRunner`` (see there).
"""

import json
import logging
import os
import re
import sys
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

from mmcv import imwrite
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.fileio import LocalBackend, register_backend
from mmengine.fileio.handlers import file_handlers
from mmengine.fileio.handlers.json_handler import JsonHandler, set_default
from mmengine.logging import MMLogger
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import VISBACKENDS
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.visualization import LocalVisBackend
from mmengine.visualization.vis_backend import force_init_env
from numpy import ndarray
from torch import Tensor
from torch.nn import Module

from ..checkpoints import read_checkpoint
from ..checkpoints.compare import refuse_other_shapes
from ..checkpoints.keys import Found, find_state
from ..checkpoints.load import fill_partly, fill_whole, fit_names
from ..checkpoints.writing import atomic_write
from ..errors import BadInput, CheckpointError, SampleError
from ..models.pyramid import PyramidBackbone
from .config import tables_in

EVALUATIONS = ('COCOeval', 'COCOevalMP')  # mmdet's; the other one is for use_mp_eval
_make_logger = MMLogger.__init__
_prepare_data = BaseDataset.prepare_data


def install(complete: bool = False, resumed: str | None = None) -> None:
    """Put the mends in that take the place of a part of mmengine.

    Args:
        complete: For evaluation: a model is filled completely or not at all.
        resumed: The file that a run goes on from, which must be of the same model.
    """
    register_backend('local', AtomicBackend, force=True, prefixes='')
    loading = Loading(complete, resumed)
    for scheme in ('', *CheckpointLoader._schemes):
        CheckpointLoader.register_scheme(scheme, loading.load_from_file, force=True)
    mmengine_checkpoint.load_state_dict = loading.load_state_dict
    register = VISBACKENDS.register_module
    register('LocalVisBackend', force=True, module=AnyPathVisBackend)
    file_handlers['json'] = StrictJson()
    name_encodings()
    BaseDataset.prepare_data = _prepare_named


class Loading:
    """mmengine's way from a file into a model, through our reader and our checks."""

    def __init__(self, complete: bool, resumed: str | None):
        self.complete, self.resumed = complete, resumed
        self.file, self.layout = '', ''

    def load_from_file(self, filename: str, map_location: Any = None) -> dict:
        """Read a checkpoint; where weights lie elsewhere, ``state_dict`` has them too.

        Args:
            filename: File, or address that is read from.
            map_location: Ignored: who fills a model or an optimizer copies the tensors
                to its device, and until then they may stay on the CPU.

        Raises:
            CheckpointError: Missing, damaged, foreign, or it would run code.
        """
        content = read_checkpoint(filename)
        self.file, self.layout = filename, 'bare'
        try:
            found = find_state(content, filename)
        except CheckpointError:
            if 'ema_state_dict' in content:
                raise
            return content  # of a layout that a toolbox may know
        self.layout = found.layout
        if all(key.startswith('module.') for key in found.tensors):
            self.layout += ' > module.'  # which mmengine strips on the way
        if found.layout != 'state_dict':
            content['state_dict'] = found.tensors
        return content

    def load_state_dict(
        self,
        model: Any,
        state_dict: Mapping[str, Tensor],
        strict: bool = False,
        logger: Any = None,
    ) -> None:
        """Fill a model from the file that was read last.

        Raises:
            CheckpointError: None of its tensors is in the file; for evaluation, not
                all of them; for ``--resume``, not these alone.
        """
        while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
            model = model.module
        versions = getattr(state_dict, '_metadata', None)
        found = Found(state_dict, self.layout, versions=versions)
        if self.complete:
            fill_whole(model, found, self.file)
            return
        if self.file == self.resumed:
            own = model.state_dict()
            found = fit_names(own, found, self.file)
            refuse_other_shapes(own, found, self.file, type(model).__name__)
        fill_partly(model, found, self.file)


class AtomicBackend(LocalBackend):
    """mmengine's local files, but what it puts appears complete or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file.

        Raises:
            CheckpointError: The disk is full, or the file cannot be written. An older
                file of that name stays as it was.
        """
        with atomic_write(filepath) as part:
            part.write_bytes(obj)


class AnyPathVisBackend(LocalVisBackend):
    """mmengine's drawings and scalars, under any name."""

    @force_init_env
    def add_image(self, name: str, image: ndarray, step: int = 0, **_: Any) -> None:
        """Write an image (H, W, 3), uint8, RGB."""
        file = os.path.join(self._img_save_dir, f'{name}_{step}.png')
        imwrite(image[..., ::-1], file)  # encodes first, and writes by itself


class StrictJson(JsonHandler):
    """mmengine's JSON files, but what is no number is null."""

    def dump_to_str(self, obj: Any, **options: Any) -> str:
        """What the file will hold."""
        return to_json(obj, **options)

    def dump_to_fileobj(self, obj: Any, file: IO, **options: Any) -> None:
        """Write to an open file."""
        file.write(to_json(obj, **options))


def to_json(content: Any, **options: Any) -> str:
    """JSON that any reader takes: NaN and infinity are null, arrays lists."""
    options = {'default': _as_list, **options}
    try:
        return json.dumps(content, allow_nan=False, **options)
    except ValueError:
        loose = json.dumps(content, **options)
        return json.dumps(json.loads(loose, parse_constant=lambda _: None), **options)


def mend_coco(cfg: Config) -> None:
    """Let COCO's evaluation give the AP of no boxes, and each class's under its name.

    Looks for the evaluators that a config wants. pycocotools sorts the category ids;
    mmdet reads its arrays in the order of the classes.
    """
    loops = ('val_evaluator', 'test_evaluator')
    metrics = [m for loop in loops for m in tables_in(cfg.get(loop))]
    if any('CocoMetric' in str(m.get('type')) for m in metrics):
        _score_nothing()
    if any(m.get('classwise') for m in metrics):
        _name_classwise()


def _score_nothing() -> None:
    """An empty list of results is scored like any other: AP 0, and -1 without truth."""
    from mmdet.evaluation.metrics import coco_metric

    if coco_metric.COCO.__name__ == 'Truth':
        return

    class Truth(coco_metric.COCO):
        def loadRes(self, resFile: Any) -> Any:
            if len(resFile):
                return super().loadRes(resFile)
            MMLogger.get_current_instance().warning(
                f'not one box was found in {len(self.imgs)} images, so the AP is 0; '
                'longer training or a lower test_cfg.score_thr of the model gives some'
            )
            results = Truth()
            results.dataset = dict(self.dataset, annotations=[])
            results.createIndex()
            return results

    take_the_place(coco_metric, 'COCO', Truth)


def take_the_place(module: Any, name: str, kind: type) -> None:
    """Put a class where another was, and pickle finds it: mmdet sends to processes."""
    kind.__module__, kind.__qualname__ = module.__name__, name
    setattr(module, name, kind)


def _name_classwise() -> None:
    from mmdet.evaluation.metrics import coco_metric

    for name in EVALUATIONS:
        known = getattr(coco_metric, name)
        if known.__name__ != 'NamedEval':
            take_the_place(coco_metric, name, _named(known))


def _named(known: Any) -> type:
    """An evaluation whose arrays are in the order of the ids that it was given."""

    class NamedEval(known):
        def evaluate(self) -> None:
            self.given = list(self.params.catIds)
            super().evaluate()

        def accumulate(self, *args: Any) -> None:
            super().accumulate(*args)
            if not self.params.useCats:
                return  # proposals: there is one class, of all
            order = [sorted(set(self.given)).index(number) for number in self.given]
            for key in 'precision', 'scores':
                self.eval[key] = self.eval[key][:, :, order]
            self.eval['recall'] = self.eval['recall'][:, order]

    return NamedEval


def _as_list(value: Any) -> Any:
    return value.tolist() if hasattr(value, 'tolist') else set_default(value)


# Who reads and writes text, and in what: a note of a path as the system names paths.
_NOTES = 'mmengine.hooks.checkpoint_hook', 'mmengine.runner.checkpoint'
_TEXTS = (
    *('mmengine.fileio.handlers.base', 'mmengine.hooks.logger_hook'),
    *('mmengine.visualization.vis_backend', 'pycocotools.coco'),
)


def name_encodings() -> None:
    """Let mmengine and pycocotools open text as UTF-8 whatever the locale, logs too."""
    for name in _NOTES:
        vars(import_module(name))['open'] = _opening(
            encoding=sys.getfilesystemencoding(), errors=sys.getfilesystemencodeerrors()
        )
    for name in _TEXTS:
        if find_spec(name.partition('.')[0]):
            vars(import_module(name))['open'] = _opening(encoding='utf-8')
    MMLogger.__init__ = _make_utf8_logger


def _opening(**text: str) -> Callable[..., IO]:
    """The builtin ``open``, but with an encoding for text."""

    def open_named(file: Any, mode: str = 'r', **options: Any) -> IO:
        named: dict[str, Any] = {} if 'b' in mode else dict(text)
        return open(file, mode, **named, **options)

    return open_named


def _make_utf8_logger(self: MMLogger, *args: Any, **kwargs: Any) -> None:
    _make_logger(self, *args, **kwargs)
    for handler in self.handlers:
        if isinstance(handler, logging.FileHandler) and handler.stream:
            # A surrogate, of a path in an ASCII locale, is no reason to lose the line.
            handler.encoding, handler.errors = 'utf-8', 'backslashreplace'
            handler.stream.reconfigure(encoding='utf-8', errors='backslashreplace')


def _prepare_named(self: BaseDataset, idx: int) -> Any:
    """Prepare a sample.

    Raises:
        SampleError: It cannot be; names its files.
    """
    try:
        return _prepare_data(self, idx)
    except BadInput:
        raise
    except Exception as error:
        files = self.get_data_info(idx)
        paths = [files[key] for key in ('img_path', 'seg_map_path') if files.get(key)]
        raise SampleError(
            f'{" with ".join(paths) or f"sample {idx}"} cannot be prepared: '
            f'{type(error).__name__}: {error}. --data-check full finds every picture '
            'that does not decode; MMMSMLP_TRACEBACK=1 shows where this was raised'
        ) from error


def expect_weights(model: Module, pretrained: str | None) -> None:
    """Let our backbones of a run that goes on not warn of random weights.

    Args:
        model: The run's, which ``--resume`` will fill.
        pretrained: The file of ``--pretrained``, of which only the geometry was wanted.
    """
    if pretrained:
        read_checkpoint(pretrained)  # lets go of what was kept for the backbone
    for part in model.modules():
        if isinstance(part, PyramidBackbone):
            part.is_init = True


def keep_two(cfg: Config) -> str | None:
    """Keep at least two checkpoints where a config wants one.

    mmengine removes the oldest before it writes the new one: with one alone, a crash
    in between would leave none.

    Returns:
        One line for the log, if something was changed.
    """
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if hook.get('max_keep_ckpts') != 1:
        return None
    hook['max_keep_ckpts'] = 2
    return 'max_keep_ckpts became 2: with 1, a crash while saving would leave none'


def latest_checkpoint(work_dir: str | Path) -> str | None:
    """Find the checkpoint to continue from: the last one that was written to its end.

    That is what ``last_checkpoint`` names, in this folder first, since it may be a
    copy of another; and else the one with the highest number.
    """
    folder = Path(work_dir)
    numbered = sorted(folder.glob('*_*.pth'), key=_number, reverse=True)
    candidates = [path for path in numbered if _number(path) >= 0]
    note = folder / 'last_checkpoint'
    if note.is_file() and (named := os.fsdecode(note.read_bytes()).strip()):
        candidates[:0] = [folder / Path(named).name, Path(named)]
    # A torch file is a zip archive, whose directory comes last.
    complete = (p for p in candidates if p.is_file() and zipfile.is_zipfile(p))
    return next((str(path) for path in complete), None)


def remove_parts(work_dir: str | Path) -> None:
    """Remove what killed processes left of checkpoints that they were writing."""
    for part in Path(work_dir).glob('.*.part'):
        with suppress(PermissionError):  # on Windows, of a process that still runs
            part.unlink(missing_ok=True)


def _number(path: Path) -> int:
    """Of ``epoch_12.pth`` or ``iter_16000.pth``; -1 for any other, as the best's."""
    match = re.fullmatch(r'(?:epoch|iter)_(\d+)\.pth', path.name)
    return int(match[1]) if match else -1
