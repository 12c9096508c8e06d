"""``python -m mmmsmlp.deploy IMAGES MODEL``: draw what an exported model finds.

Needs no torch; ``tools/image_demo.py IMAGES MODEL.onnx`` is the same command.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import BadInput
from .pictures import draw, find_images, name_of, passed_over, result_names
from .resize import read_picture
from .runtime import Classes, Deployed, Detections, Result, load
from .sessions import RUNTIMES, SUFFIXES


def names_a_model(arguments: Sequence[str]) -> bool:
    """Whether a command line gives an exported model in place of a config."""
    return any(Path(argument).suffix in SUFFIXES for argument in arguments)


def parse_args(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='image_demo', description=__doc__)
    add = parser.add_argument
    add('input', help="an image, a folder, or a quoted glob: 'a/*.jpg'")
    add('model', help='as tools/export.py wrote it: .onnx, .xml or .pt2')
    add('--out-dir', default='outputs', help='default: %(default)s')
    add('--score-thr', type=float, default=0.3, help='of boxes; default: %(default)s')
    add('--runtime', choices=sorted(RUNTIMES), help='default: what is installed')
    add('--quiet', action='store_true', help='as for a checkpoint; says no less here')
    return parser.parse_args(arguments)


def said(result: Result, model: Deployed, threshold: float | None) -> str:
    """A result in a few words."""
    if isinstance(result, Detections):
        least = '' if len(result) else f' of {threshold:g} or more (--score-thr)'
        return f'{len(result)} boxes{least}'
    if isinstance(result, Classes):
        score = result.scores[result.label]
        return f'{name_of(model.metadata, result.label)} ({score:.3f})'
    present = np.unique(result)
    names = ', '.join(name_of(model.metadata, int(label)) for label in present)
    return f'{len(present)} classes: {names}'


def demo(args: argparse.Namespace) -> None:
    """Draw every image; say at the end which could not be read."""
    images = find_images(args.input)
    model = load(args.model, args.runtime)
    folder = Path(args.out_dir, 'vis')
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(
            f'--out-dir {args.out_dir} cannot be written: {error.strerror}; name a '
            'folder of yours'
        ) from error
    odd = []
    threshold = args.score_thr if model.metadata.thresholds else None
    for image, name in zip(images, result_names(images), strict=True):
        try:
            picture = read_picture(image)
        except BadInput as error:
            odd.append(str(error))
            continue
        result = model(picture, threshold)
        drawn = draw(picture, result, model.metadata)
        coded = cv2.imencode(Path(name).suffix, drawn[..., ::-1])[1]
        Path(folder, name).write_bytes(coded.tobytes())
        under = '' if Path(name).stem == Path(image).stem else f' (as {name})'
        print(f'{image}: {said(result, model, threshold)}{under}', flush=True)
    if len(odd) == len(images):
        raise BadInput('nothing was drawn: ' + '; '.join(odd))
    print(f'drawn into {folder} by {model.runtime}')
    if other := passed_over(args.input):
        print(f'  {other}')
    for reason in odd:
        print(f'  not drawn: {reason}')


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; bad input ends it with a sentence and exit status 2."""
    args = parse_args(arguments)
    try:
        demo(args)
    except BadInput as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)


if __name__ == '__main__':
    main()
