#!/usr/bin/env python
"""Draw what a model looks at in an image: its feature maps, Grad-CAM and EigenCAM.

    python tools/explain.py photo.jpg CONFIG CHECKPOINT --out explained

Feature maps are drawn by stage, and by channel group where a backbone mixes and shifts;
the activation maps by pytorch-grad-cam (pip install grad-cam), by stage too.
"""

import argparse
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

import numpy as np
from mmengine.device import get_device
from torch import Tensor

from mmmsmlp.data.cache import Cache
from mmmsmlp.data.pictures import by_range, is_deep, look, refused
from mmmsmlp.errors import BadInput, did_you_mean
from mmmsmlp.explain import cams
from mmmsmlp.explain.features import draw_features, feature_maps
from mmmsmlp.run.console import Console, open_console
from mmmsmlp.run.entry import add_quiet, device, fraction, run_tool, writable
from mmmsmlp.run.inferencers import batch_of, open_inferencer, read_config

MAPS = {'features': '', 'gradcam': 'Grad-CAM', 'eigencam': 'EigenCAM'}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('image')
    add('config', help='such as configs/retinanet_msmlp_t_1x.py')
    add('weights', help='checkpoint of the whole model')
    add('--out', default='explained', metavar='DIR', help='default: %(default)s')
    add('--maps', nargs='+', choices=MAPS, default=[*MAPS], help='default: all')
    add(
        '--class', dest='chosen', metavar='NAME',
        help='of which the score is explained; default: the best class of a '
        "classifier, the largest of a segmentor, all of a detector's",
    )  # fmt: skip
    add(
        '--score-thr', type=fraction, default=0.3,
        help='detection: of boxes from this score on; default %(default)s',
    )  # fmt: skip
    add('--device', type=device, help='such as cuda:0 or cpu; default: the GPU')
    add_quiet(parser)
    return parser.parse_args()


def class_names(inferencer) -> list[str]:
    """The names of a model's classes, or their numbers where it knows none."""
    model = inferencer.model
    meta = getattr(model, 'dataset_meta', None) or {}
    names = getattr(inferencer, 'classes', None) or meta.get('classes')
    return [*names] if names else [str(i) for i in range(model.head.num_classes)]


def class_index(name: str | None, names: list[str]) -> int | None:
    """The number of a class, or None for none.

    Raises:
        BadInput: The model knows no such class.
    """
    if name is None or name in names:
        return None if name is None else names.index(name)
    raise BadInput(
        f'--class {name} is none of the {len(names)} classes of the model'
        + did_you_mean(name, names, most=5, likeness=0)
    )


def read_image(path: str) -> str | np.ndarray:
    """What an inferencer takes for an image; one of more than 8 bits by its range.

    Raises:
        BadInput: It cannot be read.
    """
    (picture,) = look([path], Cache())
    if reason := refused(picture):
        raise BadInput(f'{path} {reason}')
    return by_range(path) if is_deep(picture) else path


def as_read(pixels: Tensor) -> np.ndarray:
    """A pipeline's (3, H, W), BGR, as (H, W, 3) of uint8, RGB."""
    image = pixels.permute(1, 2, 0).numpy()[..., ::-1]
    if image.dtype != np.uint8:  # the pipeline has its own norm
        image = 255 * (image - image.min()) / max(np.ptp(image), 1e-12)
    return np.ascontiguousarray(image, np.uint8)


def explain(args: argparse.Namespace, console: Console) -> None:
    if {*args.maps} - {'features'}:
        cams.library()
    cfg = read_config(args.config)
    image = read_image(args.image)
    console.log_to(args.out)
    console.progress('building the model')
    inferencer = open_inferencer(cfg, args.weights, args.device or get_device())
    model = inferencer.model
    names = class_names(inferencer)
    chosen = class_index(args.chosen, names)
    batch = batch_of(inferencer, image)
    shown = as_read(batch['inputs'][0])
    data = model.data_preprocessor(batch, False)
    pixels, samples = data['inputs'], data['data_samples']
    score = {
        'mmdet': lambda: cams.boxes_of(chosen, names, samples, args.score_thr),
        'mmseg': lambda: cams.pixels_of(chosen, names, samples),
        'mmpretrain': lambda: cams.logit_of(chosen, names),
    }[cfg.default_scope]()
    folder = Path(args.out)
    if 'features' in args.maps:
        draw_features(
            shown, feature_maps(model.backbone, pixels), folder / 'features.png'
        )
        console.say(f'drawn: {folder / "features.png"}')
    rows, boxes = {}, []
    for method in args.maps:
        if method != 'features':
            console.progress(MAPS[method])
            maps, asked = cams.activation_maps(method, model, pixels, score)
            rows[f'{MAPS[method]}:\n{asked.said}'] = maps
            boxes = boxes or asked.boxes
            console.say(f'{MAPS[method]}: {asked.said}')
    if rows:
        cams.draw_cams(shown, rows, boxes, folder / 'cam.png')
        console.say(f'drawn: {folder / "cam.png"}')


def main() -> None:
    args = parse_args()
    writable('--out', args.out, folder=True)
    with open_console(args.quiet) as console:
        explain(args, console)


if __name__ == '__main__':
    run_tool(main)
