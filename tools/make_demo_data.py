#!/usr/bin/env python
"""Generate the demo dataset: coloured shapes with boxes and masks, COCO format."""

import argparse
import sys

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.demo import DemoDataError, make_demo_data


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add('out', help='folder to make')
    add('--train', type=int, default=400, help='training images')
    add('--val', type=int, default=80, help='validation images')
    add('--size', type=int, default=160, help='pixels per side')
    add('--seed', type=int, default=0)
    add('--semantic', action='store_true', help='also write segmentation maps')
    args = parser.parse_args()
    try:
        made = make_demo_data(**vars(args))
    except (DemoDataError, OSError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    print(f'{args.out}: {"made" if made else "complete already, nothing to do"}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
