"""Vetting data on its own, of a config or of a path: tools/check_data.py."""

from pathlib import Path

from .. import configs
from ..data.cache import Cache
from ..data.coco import read_coco
from ..data.coco_checks import Use
from ..data.coco_set import check_set
from ..data.findings import Findings
from ..data.image_folder import image_folder
from ..data.layout_coco import glance
from ..data.own import recognise, task_of
from ..errors import BadInput, is_there_another
from .class_order import follow_order
from .config import find_config, load_config
from .own_data import use_data
from .preflight import check_data_paths, check_dataset_classes
from .vet import Vetted, vet

LOOPS = ('train', 'val', 'test')


# What reads a folder of each kind as a run would.
CONFIGS = {
    'boxes': 'retinanet_msmlp_t_1x',
    'masks': 'mask-rcnn_msmlp_t_1x',
    'maps': 'upernet_msmlp_t_160k',
    'folders': 'msmlp_t_300e',
}


def inspect(
    source: str, images: str | None, scratch: str, cache: Cache, full: bool
) -> Vetted:
    """Vet what a config, a COCO file or a folder of any known layout holds.

    Nothing of it is changed; what has to be converted is written to ``scratch``.

    Raises:
        BadInput: It is none of these, or its images are not to be found.
    """
    path = Path(source).expanduser()
    told: list[str] = []
    if path.suffix == '.json' and path.is_file():
        return inspect_coco(path, images, cache, full)
    if images:
        raise BadInput(f'--images is for a COCO file (a .json), and {path} is none')
    if path.is_dir() or path.suffix in ('.yaml', '.yml'):
        cfg = load_config(_reader_of(str(path), cache))
        cfg.work_dir, cfg.launcher = scratch, 'none'
        use_data(cfg, str(path), None, LOOPS, told.append)
        told.pop()  # names the config of a run, and there is none
    else:
        cfg = load_config(_config_at(source))
        cfg.work_dir = scratch
    loops = tuple(loop for loop in LOOPS if cfg.get(f'{loop}_dataloader'))
    if cfg.get('test_dataloader') == cfg.get('val_dataloader'):
        loops = tuple(loop for loop in loops if loop != 'test')
    if not loops:
        raise BadInput(f'config {cfg.filename} names no data')
    check_data_paths(cfg, loops)
    check_dataset_classes(cfg, loops)
    told += follow_order(cfg, loops)
    vetted = vet(cfg, loops, cache, full)
    vetted.told = told
    return vetted


def _config_at(source: str) -> str:
    try:
        return str(find_config(source))
    except BadInput as error:
        if Path(source).suffix == '.py':
            raise
        near = is_there_another(source) or configs.advice(source)
        raise BadInput(
            f'{source}: there is no such folder or COCO file, nor a config of that '
            f'name{near}'
        ) from error


def _reader_of(path: str, cache: Cache) -> str:
    task = task_of(path, cache)
    parts = recognise(path, task, cache).parts.values()
    masks = sum(part.masks for part in parts)
    return CONFIGS['masks' if 2 * masks > sum(part.boxes for part in parts) else task]


def inspect_coco(path: Path, images: str | None, cache: Cache, full: bool) -> Vetted:
    """Vet one COCO file.

    Raises:
        BadInput: Its images are not to be found.
    """
    vetted = Vetted()
    names: list[str] = []
    file = read_coco(str(path), Findings())
    masks = False
    if file is not None:
        names = [str(i['file_name']) for i in file.images if i.get('file_name')]
        table = glance(str(path), cache) or dict(masks=0, boxes=0)
        masks = 2 * table['masks'] > table['boxes']
    try:
        folder = images or image_folder(str(path), names, notes=vetted.told)
    except BadInput as error:
        raise BadInput(f'{error}; name their folder with --images DIR') from error
    use = Use(classes=None, masks=masks, trains=True, scores=True)
    one = check_set(str(path), folder, use, vetted.found, cache, full)
    vetted.sets.append(('data', one))
    return vetted
