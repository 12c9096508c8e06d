"""Do the classes that a config names exist in its data, and does its model fit them?

The toolboxes pass over a class that no annotation has, and train heads of any size.
"""

import json
import os

from mmengine.config import Config

from ..errors import BadInput
from ..run.config import tables_in
from .data_paths import datasets_of


def check_dataset_classes(cfg: Config, loops: tuple[str, ...]) -> None:
    """Check ``metainfo.classes`` wherever a config gives it to a dataset.

    Args:
        cfg: Config whose data paths exist.
        loops: 'train', 'val', 'test': what the run will use.

    Raises:
        BadInput: The classes are one text, are not those of the COCO file, or are not
            as many as the model's ``num_classes``; or the file holds no annotations.
    """
    for loop, dataset in datasets_of(cfg, loops):
        classes = (dataset.get('metainfo') or {}).get('classes')
        if not classes:
            continue
        name = f'{loop}_dataloader.dataset.metainfo.classes'
        if isinstance(classes, str):
            if os.path.isfile(classes):
                continue  # mmengine reads them from the file
            raise BadInput(
                f'{name} = {classes!r} is one text; a single class is written '
                f'({classes!r},), with the comma'
            )
        _check_model(cfg, name, len(classes))
        if cfg.get('default_scope') == 'mmdet':
            _check_annotations(dataset, name, classes)


def _check_model(cfg: Config, name: str, count: int) -> None:
    for table in tables_in(cfg.get('model')):
        if 'RPN' in str(table.get('type')):
            continue  # it tells objects from background
        if table.get('num_classes', count) != count:
            raise BadInput(
                f'{name} has {count} entries, but the model has num_classes='
                f'{table["num_classes"]} in its {table.get("type")}; make them equal'
            )


def _check_annotations(dataset: dict, name: str, classes: list[str]) -> None:
    path = os.path.join(dataset.get('data_root') or '', dataset.get('ann_file') or '')
    if not path.endswith('.json') or not os.path.isfile(path):
        return  # of another format, or in a remote store
    try:
        with open(path) as file:
            known = [category['name'] for category in json.load(file)['categories']]
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(
            f'{path} holds no COCO annotations: {type(error).__name__}: {error}; every '
            "file of them has 'categories', each with a 'name'"
        ) from error
    missing = [label for label in classes if label not in known]
    if missing:
        raise BadInput(
            f'{name} names {", ".join(map(repr, missing))}, of which {path} has no '
            f'category; its categories are {", ".join(map(repr, known[:100]))}'
        )
