#!/usr/bin/env python
"""Put an MS-MLP backbone into any config of mmdet, mmseg or mmpretrain.

Which outputs the model takes and which channel numbers follow is measured by steps of
training on noise. Prints what changed; the new config needs mmmsmlp as a custom import
and nothing else.
"""

import argparse
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.errors import BadInput
from mmmsmlp.run.config import find_config
from mmmsmlp.run.entry import DictOptions, run_tool, writable


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('config', help='a file, or such as mmdet::atss/atss_r50_fpn_1x_coco.py')
    add('--backbone', default='MSMLP', help='MSMLPSwin, ... or any; default MSMLP')
    add('--arch', default='tiny', help="'tiny', 'small' or 'base'; default tiny")
    add('--out', type=Path, metavar='FILE', help='where to write the new config')
    add('--pretrained', metavar='FILE', help='weights that the backbone starts from')
    add('--recipe', action='store_true', help="also the paper's AdamW and drop path")
    add(
        '--backbone-options', nargs='+', action=DictOptions, metavar='KEY=VALUE',
        default={}, help='further arguments of the backbone, such as with_cp=True',
    )  # fmt: skip
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.out:
        if args.out.suffix != '.py':
            raise BadInput(
                f'--out {args.out} is to be a config: a name that ends with .py'
            )
        writable('--out', args.out, read=[args.config])
    from mmmsmlp.run.weights import use_pretrained
    from mmmsmlp.swap import diff, read_config, swap

    name = args.config if '::' in args.config else str(find_config(args.config))
    options = dict(args.backbone_options)
    if args.pretrained:
        options['init_cfg'] = dict(type='Pretrained', checkpoint=args.pretrained)
    before = read_config(name)
    after, notes = swap(
        read_config(name), args.backbone, args.arch, args.recipe, **options
    )
    if args.pretrained:
        notes.append(use_pretrained(after, args.pretrained))
    print(diff(before, after) or 'nothing changed')
    for note in notes:
        print(f'note: {note}')
    if args.out:
        after.dump(str(args.out))
        print(args.out)


if __name__ == '__main__':
    run_tool(main)
