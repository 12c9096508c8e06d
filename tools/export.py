#!/usr/bin/env python
"""Export a trained model to ONNX, OpenVINO or a .pt2, checked against PyTorch."""

import argparse
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.deploy.export import SUFFIXES, check_packages
from mmmsmlp.errors import BadInput
from mmmsmlp.run import mends
from mmmsmlp.run.config import check_is_experiment, load_config
from mmmsmlp.run.console import Console, open_console
from mmmsmlp.run.entry import DictOptions, add_quiet, positive, run_tool, writable
from mmmsmlp.run.exported import export_checkpoint
from mmmsmlp.run.launch import replace_sync_bn


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add('config', help='such as configs/retinanet_msmlp_t_1x.py')
    add('checkpoint', help='weights of the whole model')
    add('--out', required=True, metavar='FILE', help='MODEL.onnx, MODEL.xml, MODEL.pt2')
    add('--format', choices=sorted(SUFFIXES), help="default: by the file's suffix")
    add(
        '--shape', nargs=2, type=positive, metavar=('HEIGHT', 'WIDTH'),
        help='resize every picture to that; by default as the config does, to any size',
    )  # fmt: skip
    add('--batch', type=positive, metavar='N', help='pictures at a time; default any')
    add('--half', action='store_true', help='keep the weights as float16')
    add('--int8', metavar='DIR', help='quantise; pictures like those to come (ONNX)')
    add('--images', metavar='PATH', help='to check on; by default generated ones')
    add('--cfg-options', nargs='+', action=DictOptions, metavar='KEY=VALUE')
    add_quiet(parser)
    return parser.parse_args()


def suffix_of(args: argparse.Namespace) -> str:
    """The suffix of the file to write, which says its format.

    Raises:
        BadInput: It is none, or not that of ``--format``; or the folder is missing.
    """
    args.out = str(Path(args.out).expanduser())
    out = Path(args.out)
    wanted = SUFFIXES[args.format] if args.format else None
    if out.suffix not in SUFFIXES.values() or wanted not in (None, out.suffix):
        raise BadInput(
            f'--out {args.out} must end in {wanted or ", ".join(SUFFIXES.values())}'
        )
    if not out.parent.is_dir():
        raise BadInput(f'--out {args.out}: the folder {out.parent} does not exist')
    writable('--out', args.out, read=[args.config, args.checkpoint])
    if out.suffix == '.pt2' and (args.half or args.int8):
        raise BadInput('--half and --int8 are for .onnx and .xml, not for a .pt2')
    if args.half and args.int8:
        raise BadInput('--half and --int8 are two precisions: give one of them')
    return out.suffix


def run(args: argparse.Namespace, console: Console) -> None:
    suffix = suffix_of(args)
    kinds = {suffix: kind for kind, suffix in SUFFIXES.items()}
    check_packages(kinds[suffix], bool(args.int8))
    cfg = load_config(args.config, args.cfg_options)
    check_is_experiment(cfg, 'default_scope', 'model')
    mends.install(complete=True)
    replace_sync_bn(cfg)
    shape = tuple(args.shape) if args.shape else None
    console.say('exporting, and comparing with PyTorch: a minute or more')
    known = export_checkpoint(
        cfg,
        args.checkpoint,
        args.out,
        args.images,
        shape,
        batch=args.batch,
        half=args.half,
        int8=args.int8,
    )
    for line in known.summary(args.out):
        console.say(line)


def main() -> None:
    args = parse_args()
    with open_console(args.quiet) as console:
        run(args, console)


if __name__ == '__main__':
    run_tool(main)
