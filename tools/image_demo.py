#!/usr/bin/env python
"""Draw a model's predictions on images and videos: one, a folder, or a glob.

An exported model (``image_demo.py IMAGES MODEL.onnx``) needs no config and no torch; it
draws images alone.
"""

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.deploy import __main__ as exported

if __name__ == '__main__' and exported.names_a_model(sys.argv[1:]):
    exported.main()
    sys.exit()

import cv2
import numpy as np
from mmcv import imread, imwrite
from mmengine.device import get_device

from mmmsmlp.data.cache import Cache
from mmmsmlp.data.pictures import Picture, by_range, is_deep, look, refused
from mmmsmlp.deploy.pictures import find_images, passed_over, result_names
from mmmsmlp.errors import BadInput, one_line
from mmmsmlp.run import video
from mmmsmlp.run.console import Console, open_console
from mmmsmlp.run.entry import add_quiet, device, fraction, run_tool, writable
from mmmsmlp.run.inferencers import open_inferencer, read_config


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add('input', help="an image, a video, a folder, or a quoted glob: 'a/*.jpg'")
    add('config', help='such as configs/retinanet_msmlp_t_1x.py')
    add('weights', help='checkpoint of the whole model')
    add('--out-dir', default='outputs', help='default: %(default)s')
    add(
        '--score-thr', type=fraction, default=0.3,
        help='detection: draw and count boxes above it',
    )  # fmt: skip
    add('--device', type=device, help='such as cuda:0 or cpu; default: the GPU')
    add(
        '--no-save-pred', action='store_true', help='detection, segmentation: draw only'
    )
    add_quiet(parser)
    return parser.parse_args()


def is_video(path: str | Path) -> bool:
    return Path(path).suffix.lower() in video.SUFFIXES


class Drawer(NamedTuple):
    """What draws the predictions of a model."""

    image: Callable[[str], str]  # a file, into the folder; says what it found
    frame: Callable[[np.ndarray], np.ndarray]  # (H, W, 3) of uint8, BGR, into another


def detector(inferencer, args) -> Drawer:
    options = dict(pred_score_thr=args.score_thr, no_save_pred=args.no_save_pred)

    def draw(image: str) -> str:
        found = inferencer(image, out_dir=args.out_dir, **options)['predictions'][0]
        least = args.score_thr
        count = sum(score >= least for score in found['scores'])
        if count:
            return f'{count} boxes'
        best = max(found['scores'], default=0)
        return f'0 boxes of {least:g} or more (--score-thr), at best {best:.3g}'

    def frame(pixels: np.ndarray) -> np.ndarray:
        found = inferencer(pixels, return_datasamples=True)['predictions'][0]
        canvas = inferencer.visualizer
        canvas.add_datasample(
            '', pixels[..., ::-1], found, draw_gt=False, pred_score_thr=args.score_thr
        )
        return canvas.get_image()[..., ::-1]

    return Drawer(draw, frame)


def segmentor(inferencer, args) -> Drawer:
    names = inferencer.model.dataset_meta['classes']

    def draw(image: str) -> str:
        # Written here: the inferencer would number the files instead of naming them.
        result = inferencer(image, return_vis=True)
        labels, name = result['predictions'], Path(image).name
        drawn = result['visualization'][..., ::-1]
        imwrite(drawn, str(Path(args.out_dir, 'vis', name)))
        if not args.no_save_pred:
            file = Path(args.out_dir, 'preds', name).with_suffix('.png')
            kind = np.uint16 if labels.max() > 255 else np.uint8
            imwrite(labels.astype(kind), str(file))
        present = np.unique(labels)
        return f'{len(present)} classes: ' + ', '.join(names[i] for i in present)

    def frame(pixels: np.ndarray) -> np.ndarray:
        found = inferencer(pixels, return_datasamples=True)
        canvas = inferencer.visualizer
        canvas.set_dataset_meta(**inferencer.model.dataset_meta)
        canvas.add_datasample('', pixels[..., ::-1], found, draw_gt=False)
        return canvas.get_image()[..., ::-1]

    return Drawer(draw, frame)


def classifier(inferencer, args) -> Drawer:
    from mmpretrain.visualization import UniversalVisualizer

    folder = Path(args.out_dir) / 'vis'
    folder.mkdir(parents=True, exist_ok=True)
    canvas = UniversalVisualizer()

    def draw(image: str) -> str:
        # It cuts a name at its last dot, as of frame.1: two would be one file.
        with TemporaryDirectory() as scratch:
            best = inferencer(image, show_dir=scratch)[0]
            (drawn,) = Path(scratch).iterdir()
            shutil.move(drawn, folder / f'{Path(image).stem}.png')
        name = best.get('pred_class', best['pred_label'])
        return f'{name} ({best["pred_score"]:.3f})'

    def frame(pixels: np.ndarray) -> np.ndarray:
        found = inferencer(pixels, return_datasamples=True)[0]
        drawn = canvas.visualize_cls(
            pixels[..., ::-1], found, classes=inferencer.classes, draw_gt=False
        )
        return drawn[..., ::-1]

    return Drawer(draw, frame)


DRAWERS = {'mmdet': detector, 'mmseg': segmentor, 'mmpretrain': classifier}


def demo(args: argparse.Namespace, console: Console) -> None:
    cfg = read_config(args.config)
    paths = find_images(args.input, video.SUFFIXES)
    console.log_to(args.out_dir)
    console.progress('building the model')
    inferencer = open_inferencer(cfg, args.weights, args.device or get_device())
    drawer = DRAWERS[cfg.default_scope](inferencer, args)
    folder = Path(args.out_dir) / 'vis'
    odd = draw_all(paths, drawer, folder, console)
    if len(odd) == len(paths):
        raise BadInput('nothing was drawn: ' + '; '.join(odd))
    console.say(f'drawn into {folder}')
    if other := passed_over(args.input, video.SUFFIXES):
        console.say(other)
    if odd:
        console.say(f'{len(odd)} of {len(paths)} could not be drawn:')
    for reason in odd:
        console.say(f'  {reason}')


def draw_all(
    paths: list[str], drawer: Drawer, folder: Path, console: Console
) -> list[str]:
    """Draw what can be, with a line for each; say of the others why not."""
    odd = []
    images = [path for path in paths if not is_video(path)]
    pictures = dict(zip(images, look(images, Cache()), strict=True))
    for path, name in zip(paths, result_names(paths, video.SUFFIXES), strict=True):
        try:
            if path in pictures:
                said = draw_picture(path, pictures[path], drawer, name)
            else:
                target = folder / f'{Path(name).stem}.mp4'
                said = video.redraw(path, target, drawer.frame, console.step)
        except BadInput as error:
            odd.append(f'{path} {error}')
        except Exception as error:
            if len(paths) == 1:
                raise  # a fault of the program, or of the config
            odd.append(f'{path}: {type(error).__name__}: {error}')
        else:
            under = '' if Path(name).stem == Path(path).stem else f' (as {name})'
            console.say(f'{path}: {said}{under}')
    return odd


def draw_picture(path: str, picture: Picture, drawer: Drawer, name: str) -> str:
    """Draw one image under a name; one of more than 8 bits by its range.

    Raises:
        BadInput: It cannot be drawn; the name of its file goes before.
    """
    if reason := refused(picture):
        raise BadInput(reason)
    try:
        with called(name, path, picture) as file:
            found = drawer.image(file)
    except cv2.error as error:
        size = f'{picture.width} x {picture.height} pixels'
        if getattr(error, 'func', '') == 'resize':
            raise BadInput(f'({size}) cannot be resized as the config wants') from error
        said = getattr(error, 'err', '') or one_line(error)
        raise BadInput(f'({size}) cannot be drawn: {said}') from error
    except AssertionError as error:
        if imread(path) is not None:
            raise
        raise BadInput(
            'cannot be decoded: it is damaged, or of a kind that OpenCV '
            f'{cv2.__version__} does not read'
        ) from error
    if not is_deep(picture):
        return found
    return f'{found} (more than 8 bits, read by their range: {picture.high:g})'


@contextmanager
def called(name: str, path: str, picture: Picture) -> Iterator[str]:
    """The file, or a copy of the name that its drawing gets: drawers know no other."""
    deep = is_deep(picture)
    if name == Path(path).name and not deep:
        yield path
        return
    with TemporaryDirectory() as folder:
        file = Path(folder, name)
        if deep:
            file = file.with_name(f'{file.stem}.png')
            imwrite(by_range(path), str(file))
        else:
            shutil.copyfile(path, file)
        yield str(file)


def main() -> None:
    args = parse_args()
    writable('--out-dir', args.out_dir, folder=True)
    with open_console(args.quiet) as console:
        demo(args, console)


if __name__ == '__main__':
    run_tool(main)
