"""Vetting the data of a config before its run: ``--data-check``.

Each dataset is handed to the part of :mod:`mmmsmlp.data` that knows its form. Errors
end the tool; where a repair is needed, the config comes to name a repaired copy in the
run folder, for the dataset and for the metric alike.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..data import class_folders, label_maps
from ..data.cache import Cache
from ..data.class_folders import FolderSet, FolderUse
from ..data.coco_checks import Use
from ..data.coco_copy import write_copy
from ..data.coco_set import CocoSet, check_names, check_set
from ..data.findings import Findings
from ..data.label_maps import MapSet, MapUse
from ..data.splits import check_splits
from ..errors import BadInput
from .class_order import dataset_class, follow_order, named_classes
from .config import tables_in
from .launch import one_for_all
from .preflight import datasets_of

AnySet = CocoSet | MapSet | FolderSet


@dataclass
class Vetted:
    """What vetting a config's data gave."""

    found: Findings = field(default_factory=Findings)
    sets: list[tuple[str, AnySet]] = field(default_factory=list)  # by loop
    changes: dict[str, dict[str, str]] = field(default_factory=dict)
    """By loop: the real path of a file to its repaired copy."""
    left_out: list[str] = field(default_factory=list)
    """Lines on pictures that the config itself leaves out of training."""
    told: list[str] = field(default_factory=list)  # how a folder was understood


def vet_data(
    cfg: Config,
    loops: tuple[str, ...],
    mode: str = 'headers',
    checkpoint: str | None = None,
) -> list[str]:
    """Vet the data of loops, and point the config to repaired copies.

    The first process does it; the others wait for what it found.

    Args:
        cfg: Config, its paths checked; datasets and evaluators may get another
            ``ann_file``.
        loops: Such as ('train', 'val').
        mode: 'headers' reads the pictures' headers, 'full' decodes them, 'off' skips.
        checkpoint: Whose labels are evaluated: its classes give their order; without
            one, those of the first data.

    Returns:
        Lines for the log: what was repaired, and what to be warned of.

    Raises:
        BadInput: The data has errors; names them all.
    """
    if mode == 'off':
        return []
    followed = follow_order(cfg, loops, checkpoint)

    def work() -> dict[str, Any]:
        cache = Cache()
        vetted = vet(cfg, loops, cache, mode == 'full')
        lines = vetted.found.lines
        notices = [f'data repaired: {line}' for line in lines('repair')]
        notices += [f'data warning: {line}' for line in lines('warning')]
        said = [*vetted.left_out, *filter(None, [cache.trouble])]
        notices += [f'data warning: {line}' for line in said]
        return dict(errors=lines('error'), notices=notices, changes=vetted.changes)

    outcome = one_for_all(cfg.launcher, work)
    if errors := outcome['errors']:
        raise BadInput(_joined(errors))
    _point_to_copies(cfg, loops, outcome['changes'])
    return [*followed, *outcome['notices']]


def _joined(errors: list[str]) -> str:
    if len(errors) == 1:
        return errors[0]
    lines = ''.join(f'\n  {i}. {line}' for i, line in enumerate(errors, 1))
    return f'{len(errors)} things in the data would end or spoil the run:{lines}'


def vet(
    cfg: Config, loops: tuple[str, ...], cache: Cache, full: bool = False
) -> Vetted:
    """Check every dataset of the loops, and write the repaired copies."""
    vetted = Vetted()
    files: dict[tuple[str, str], CocoSet] = {}  # by loop and real path
    for loop, dataset in datasets_of(cfg, loops):
        check = _checker_of(cfg, dataset)
        if check is None:
            continue
        one = check(cfg, loop, dataset, vetted.found, cache, full)
        vetted.sets.append((loop, one))
        if isinstance(one, CocoSet):
            files[loop, os.path.realpath(one.path)] = one
            if loop == 'train':
                vetted.left_out += _left_out(dataset, one)
    for loop in loops:
        _check_metrics(cfg, loop, vetted, files, cache)
    _compare_splits(vetted)
    if not vetted.found.of('error'):
        for number, ((loop, path), one) in enumerate(files.items()):
            if not one.plan:
                continue
            name = f'{loop}_{Path(path).name}'
            alike = [
                f for f in files if (f[0], Path(f[1]).name) == (loop, Path(path).name)
            ]
            if len(alike) > 1:
                name = f'{loop}{number}_{Path(path).name}'
            target = os.path.abspath(os.path.join(cfg.work_dir, 'data', name))
            write_copy(one.path, target, one.plan)
            vetted.changes.setdefault(loop, {})[path] = target
    return vetted


def _checker_of(cfg: Config, dataset: dict) -> Callable[..., AnySet] | None:
    """The check for a dataset's class, or None for a form that is not known here."""
    if dataset.get('backend_args') or dataset.get('file_client_args'):
        return None  # the files lie in some remote or archived store
    if '://' in str(dataset.get('data_root')):
        return None
    kind = dataset_class(cfg, dataset)
    bases = {base.__name__: base for base in getattr(kind, '__mro__', ())}
    if coco := bases.get('CocoDataset'):
        same = kind.load_data_list is coco.load_data_list
        return _check_coco if same and dataset.get('ann_file') else None
    if 'BaseSegDataset' in bases:
        return _check_maps if _names_maps(dataset) else None
    known = getattr(kind, '__name__', '') in (
        'CustomDataset',
        'ImageNet',
        'ImageNet21k',
    )
    labelled = dataset.get('with_label', True) and dataset.get('split') != 'test'
    return _check_folders if known and labelled else None


def _names_maps(dataset: dict) -> bool:
    return bool((dataset.get('data_prefix') or {}).get('seg_map_path'))


def _join(dataset: dict, path: str) -> str:
    path = os.path.expanduser(path)
    return os.path.join(os.path.expanduser(dataset.get('data_root') or ''), path)


def _prefix(dataset: dict, key: str) -> str:
    prefix = dataset.get('data_prefix') or ''
    name = prefix.get(key, '') if isinstance(prefix, dict) else prefix
    return os.path.normpath(_join(dataset, name) or '.')


def _source(dataset: dict) -> str:
    return os.path.normpath(_join(dataset, dataset['ann_file']))


def _loader(dataset: dict, name: str) -> dict:
    """The first table of a pipeline whose type has a name, or an empty one."""
    tables = tables_in(dataset.get('pipeline'))
    return next((t for t in tables if str(t.get('type')).endswith(name)), {})


def _metrics(cfg: Config, loop: str) -> list[dict]:
    """The tables of a loop's COCO metrics that score, not only write."""
    return [
        table
        for table in tables_in(cfg.get(f'{loop}_evaluator'))
        if str(table.get('type')).endswith('CocoMetric')
        and not table.get('format_only')
    ]


def _use(cfg: Config, loop: str, dataset: dict) -> Use:
    metrics = [] if loop == 'train' else _metrics(cfg, loop)
    kinds = [kind for m in metrics for kind in _as_list(m.get('metric', 'bbox'))]
    masks = bool(_loader(dataset, 'LoadAnnotations').get('with_mask'))
    return Use(
        classes=named_classes(cfg, dataset),
        place=f'{loop}_dataloader.dataset.metainfo.classes',
        masks=masks if loop == 'train' else 'segm' in kinds,
        trains=loop == 'train',
        scores=bool(metrics),
    )


def _as_list(value: object) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _check_coco(
    cfg: Config, loop: str, dataset: dict, found: Findings, cache: Cache, full: bool
) -> CocoSet:
    reading = _loader(dataset, 'LoadImageFromFile')
    stored = 'ignore_orientation' in str(reading.get('color_type'))
    stored |= reading.get('imdecode_backend') in ('turbojpeg', 'tifffile')
    return check_set(
        _source(dataset),
        _prefix(dataset, 'img'),
        _use(cfg, loop, dataset),
        found,
        cache,
        full,
        rotates=not stored,
    )


def _left_out(dataset: dict, one: CocoSet) -> list[str]:
    least = (dataset.get('filter_cfg') or {}).get('min_size', 0)
    known = [p for p in one.pictures if p.width]
    count = sum(min(picture.width, picture.height) < least for picture in known)
    if not count:
        return []
    return [
        f'{one.path}: {count} of {len(known)} pictures are smaller than '
        f'filter_cfg.min_size={least} and are not trained on; set it lower, if that is '
        'not meant'
    ]


def _check_maps(
    cfg: Config, loop: str, dataset: dict, found: Findings, cache: Cache, full: bool
) -> MapSet:
    kind = dataset_class(cfg, dataset)
    classes = named_classes(cfg, dataset) or ()
    known = kind.METAINFO.get('classes') or classes
    defaults = _defaults(kind)
    options = {**defaults, **dataset}
    listed = dataset.get('ann_file')
    names = None
    if listed and os.path.isfile(_join(dataset, listed)):
        text = Path(_join(dataset, listed)).read_text(encoding='utf-8')
        names = tuple(line.strip() for line in text.splitlines() if line.strip())
    backend = _loader(dataset, 'LoadAnnotations').get('imdecode_backend', 'pillow')
    use = MapUse(
        images=_prefix(dataset, 'img_path'),
        maps=_prefix(dataset, 'seg_map_path'),
        image_suffix=options.get('img_suffix', '.jpg'),
        map_suffix=options.get('seg_map_suffix', '.png'),
        classes=classes,
        numbers=len(known),
        names=names,
        reduce_zero=bool(options.get('reduce_zero_label')),
        trains=loop == 'train',
        by_pillow=backend == 'pillow',
    )
    return label_maps.check_maps(use, found, cache, full)


def _defaults(kind: Any) -> dict[str, Any]:
    """What a dataset's class takes where a config gives nothing, its bases' too."""
    import inspect

    result: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if '__init__' in vars(base):
            for name, parameter in inspect.signature(base.__init__).parameters.items():
                if parameter.default is not parameter.empty:
                    result[name] = parameter.default
    return result


def _check_folders(
    cfg: Config, loop: str, dataset: dict, found: Findings, cache: Cache, full: bool
) -> FolderSet:
    split = dataset.get('split', '')
    data = dict(dataset, data_prefix=dataset.get('data_prefix') or split)
    listed = dataset.get('ann_file') or ''
    if split and not listed:
        inferred = os.path.join('meta', f'{split}.txt')
        listed = inferred if os.path.isfile(_join(data, inferred)) else ''
    heads = [t for t in tables_in(cfg.model.get('head')) if 'num_classes' in t]
    suffixes = (
        dataset.get('extensions')
        or _defaults(dataset_class(cfg, dataset))['extensions']
    )
    use = FolderUse(
        root=_prefix(data, 'img_path'),
        suffixes=tuple(suffix.lower() for suffix in suffixes),
        classes=named_classes(cfg, dataset),
        count=heads[0]['num_classes'] if heads else None,
        list_file=_join(data, listed) if listed else '',
    )
    return class_folders.check_folders(use, found, cache, full)


def _check_metrics(
    cfg: Config,
    loop: str,
    vetted: Vetted,
    files: dict[tuple[str, str], CocoSet],
    cache: Cache,
) -> None:
    """A metric that scores against a file of its own needs it in order too."""
    if loop == 'train':
        return
    sets = [one for name, one in vetted.sets if name == loop]
    own = [one for one in sets if isinstance(one, CocoSet)]
    for metric in _metrics(cfg, loop):
        file = metric.get('ann_file')
        if not file or not own or '://' in file:
            continue
        path = os.path.realpath(os.path.expanduser(file))
        if (loop, path) in files or len(own) > 1:
            continue
        _, dataset = next(pair for pair in datasets_of(cfg, (loop,)))
        use = _use(cfg, loop, dataset)
        one = check_names(path, own[0], use, vetted.found, cache)
        files[loop, path] = one


def _compare_splits(vetted: Vetted) -> None:
    train = [one for loop, one in vetted.sets if loop == 'train']
    others = [one for loop, one in vetted.sets if loop != 'train']
    for one in train:
        for other in others:
            if type(one) is not type(other):
                continue
            folder = os.path.dirname(next(iter(other.files), ''))
            place = other.path if isinstance(other, CocoSet) else folder
            mine, theirs = (one.files, one.pictures), (other.files, other.pictures)
            check_splits(mine, theirs, place, vetted.found)
            if isinstance(one, FolderSet) and isinstance(other, FolderSet):
                class_folders.check_same_folders(one, other, vetted.found)


def _point_to_copies(
    cfg: Config, loops: tuple[str, ...], changes: dict[str, dict[str, str]]
) -> None:
    """Let datasets and metrics read the repaired copies.

    Raises:
        BadInput: A copy is not to be seen from this machine.
    """
    for copy in (copy for copies in changes.values() for copy in copies.values()):
        if not os.path.exists(copy):
            raise BadInput(
                f'{copy}, the repaired copy of the annotations, is not to be seen from '
                'this machine; give a --work-dir on a disk that all machines share, or '
                'repair the annotations themselves'
            )
    if 'test' not in loops:  # often the validation's: the config as it runs is whole
        changes = {**changes, 'test': changes.get('val', {})}
    for loop, dataset in datasets_of(cfg, tuple(changes)):
        if dataset.get('ann_file'):
            file = os.path.realpath(_source(dataset))
            dataset['ann_file'] = changes[loop].get(file, dataset['ann_file'])
    for loop in changes:
        for metric in tables_in(cfg.get(f'{loop}_evaluator')):
            given = metric.get('ann_file')
            if isinstance(given, str) and '://' not in given:
                path = os.path.realpath(os.path.expanduser(given))
                metric['ann_file'] = changes[loop].get(path, given)
