#!/usr/bin/env python
"""Draw a model's predictions on one image, a folder of images, or a glob.

An exported model (``image_demo.py IMAGES MODEL.onnx``) needs no config and no torch.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import _checkout  # noqa: F401  before the package is imported
from mmmsmlp.deploy import __main__ as exported

if __name__ == '__main__' and exported.names_a_model(sys.argv[1:]):
    exported.main()
    sys.exit()

import cv2
import torch
from mmcv import imwrite
from mmengine.device import get_device
from numpy import unique

from mmmsmlp.checkpoints import peek_checkpoint
from mmmsmlp.data.cache import Cache
from mmmsmlp.data.pictures import by_range, is_deep, look, refused
from mmmsmlp.deploy.pictures import find_images
from mmmsmlp.errors import BadInput
from mmmsmlp.run import mends
from mmmsmlp.run.config import building, check_is_experiment, load_config
from mmmsmlp.run.console import Console, open_console
from mmmsmlp.run.entry import add_quiet, run_tool
from mmmsmlp.run.launch import replace_sync_bn
from mmmsmlp.run.preflight import check_classes


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('input', help="an image, a folder, or a quoted glob: 'a/*.jpg'")
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


def fraction(text: str) -> float:
    """Read a score, as the ``type`` of an argument."""
    if not 0 <= (value := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f'must be from 0 to 1, got {text}')
    return value


def device(text: str) -> str:
    """Check that a device is there, as the ``type`` of an argument."""
    try:
        torch.empty(1, device=text)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).partition('\n')[0]
        raise argparse.ArgumentTypeError(
            f'{text!r} is not there ({reason}); choose one of '
            + ', '.join(dict.fromkeys([get_device(), 'cpu']))
        ) from error
    return text


def detector(cfg, args) -> Callable[[str], str]:
    from mmdet.apis import DetInferencer

    inferencer = DetInferencer(cfg, args.weights, args.device, show_progress=False)
    options = dict(pred_score_thr=args.score_thr, no_save_pred=args.no_save_pred)

    def draw(image: str) -> str:
        found = inferencer(image, out_dir=args.out_dir, **options)['predictions'][0]
        count = sum(score >= args.score_thr for score in found['scores'])
        return f'{count} boxes'

    return draw


def segmentor(cfg, args) -> Callable[[str], str]:
    from mmseg.apis import MMSegInferencer

    check_classes(cfg, args.weights)
    inferencer = MMSegInferencer(cfg, args.weights, device=args.device)
    inferencer.show_progress = False  # no argument of upstream's mmseg
    names = inferencer.model.dataset_meta['classes']

    def draw(image: str) -> str:
        # Written here: the inferencer would number the files instead of naming them.
        result = inferencer(image, return_vis=True)
        labels, name = result['predictions'], Path(image).name
        drawn = result['visualization'][..., ::-1]
        imwrite(drawn, str(Path(args.out_dir, 'vis', name)))
        if not args.no_save_pred:
            file = Path(args.out_dir, 'preds', name).with_suffix('.png')
            imwrite(labels.astype('uint8'), str(file))
        present = unique(labels)
        return f'{len(present)} classes: ' + ', '.join(names[i] for i in present)

    return draw


def classifier(cfg, args) -> Callable[[str], str]:
    from mmpretrain.apis import ImageClassificationInferencer

    inferencer = ImageClassificationInferencer(cfg, args.weights, args.device)
    folder = Path(args.out_dir) / 'vis'
    folder.mkdir(parents=True, exist_ok=True)

    def draw(image: str) -> str:
        best = inferencer(image, show_dir=str(folder))[0]
        name = best.get('pred_class', best['pred_label'])
        return f'{name} ({best["pred_score"]:.3f})'

    return draw


INFERENCERS = {'mmdet': detector, 'mmseg': segmentor, 'mmpretrain': classifier}


def demo(args: argparse.Namespace, console: Console) -> None:
    args.device = args.device or get_device()
    cfg = load_config(args.config)
    check_is_experiment(cfg, 'default_scope', 'model')
    scope = cfg.default_scope
    if scope not in INFERENCERS:
        raise BadInput(
            f'{cfg.filename} has default_scope={scope!r}; the demo draws for '
            + ', '.join(INFERENCERS)
        )
    images = find_images(args.input)
    console.log_to(args.out_dir)
    mends.install(complete=True)
    peek_checkpoint(args.weights)
    replace_sync_bn(cfg)
    console.progress('building the model')
    with building(cfg.filename):
        draw = INFERENCERS[scope](cfg, args)
    odd = draw_all(images, draw, console)
    if len(odd) == len(images):
        raise BadInput('nothing was drawn: ' + '; '.join(odd))
    console.say(f'drawn into {Path(args.out_dir) / "vis"}')
    if odd:
        console.say(f'{len(odd)} of {len(images)} could not be drawn:')
    for reason in odd:
        console.say(f'  {reason}')


def draw_all(
    images: list[str], draw: Callable[[str], str], console: Console
) -> list[str]:
    """Draw what can be, with a line for each; say of the others why not."""
    odd = []
    with TemporaryDirectory() as folder:
        for image, picture in zip(images, look(images, Cache()), strict=True):
            if reason := refused(picture):
                odd.append(f'{image} {reason}')
                continue
            file, note = image, ''
            if is_deep(picture):
                file = str(Path(folder, Path(image).stem + '.png'))
                imwrite(by_range(image), file)
                note = f' (more than 8 bits, read by their range: {picture.high:g})'
            try:
                found = draw(file)
            except cv2.error:
                size = f'{picture.width} x {picture.height} pixels'
                odd.append(f'{image} ({size}) cannot be resized as the config wants')
                continue
            except Exception as error:
                if len(images) == 1:
                    raise  # a fault of the program, or of the config
                odd.append(f'{image}: {type(error).__name__}: {error}')
                continue
            console.say(f'{image}: {found}{note}')
    return odd


def main() -> None:
    args = parse_args()
    with open_console(args.quiet) as console:
        demo(args, console)


if __name__ == '__main__':
    run_tool(main)
