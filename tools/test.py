#!/usr/bin/env python
"""Evaluate a checkpoint with the test data and metrics of its config."""

import argparse

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.checkpoints import peek_checkpoint
from mmmsmlp.deploy.sessions import is_exported
from mmmsmlp.errors import BadInput
from mmmsmlp.run import mends, switches
from mmmsmlp.run.config import build_runner, check_is_experiment, load_config
from mmmsmlp.run.console import Console, open_console
from mmmsmlp.run.entry import add_common_arguments, positive, run_tool, writable
from mmmsmlp.run.exported import use_exported
from mmmsmlp.run.launch import set_up_processes, stop_workers
from mmmsmlp.run.mistakes import add_mistakes
from mmmsmlp.run.own_data import add_data_arguments, refuse_options, use_data
from mmmsmlp.run.preflight import (
    annotations_of,
    check_classes,
    check_data_paths,
    check_dataset_classes,
    check_labels,
    say_padding,
)
from mmmsmlp.run.results import add_writers
from mmmsmlp.run.tally import TallyHook
from mmmsmlp.run.training_checks import fit_workers
from mmmsmlp.run.vet import vet_data

NEEDED = ('default_scope', 'model', 'test_dataloader', 'test_cfg', 'test_evaluator')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add_common_arguments(parser)
    add_data_arguments(parser)
    parser.add_argument(
        'checkpoint', help='weights of the whole model, or an exported one: MODEL.onnx'
    )
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    parser.add_argument('--out', metavar='FILE.pkl', help='write every prediction')
    parser.add_argument('--metrics', metavar='FILE.json', help='write the metrics')
    parser.add_argument(
        '--json', metavar='FILE.json', help="write boxes and masks as COCO's results"
    )
    parser.add_argument(
        '--classwise', action='store_true', help='print a table of every class'
    )
    parser.add_argument(
        '--confusion', metavar='FILE.png', help='draw which class is taken for which'
    )
    parser.add_argument(
        '--mistakes', metavar='DIR',
        help="count a detector's mistakes, and draw the worst images beside the truth",
    )  # fmt: skip
    parser.add_argument(
        '--mistakes-count', type=positive, default=24, metavar='N',
        help='images to draw at most; default %(default)s',
    )  # fmt: skip
    parser.add_argument('--show-dir', metavar='DIR', help='write drawn test images')
    parser.add_argument('--show', action='store_true', help='show them in a window')
    return parser.parse_args()


def test(args: argparse.Namespace, console: Console) -> None:
    cfg = load_config(args.config, args.cfg_options)
    check_is_experiment(cfg, *NEEDED)
    switches.use_work_dir(cfg, args.work_dir)
    console.log_to(cfg.work_dir)
    mends.install(complete=True)
    files = [args.config, args.checkpoint, args.data or '', *annotations_of(cfg)]
    switches.check_out_files(
        files, out=args.out, metrics=args.metrics, json=args.json,
        confusion=args.confusion,
    )  # fmt: skip
    if args.mistakes:
        writable('--mistakes', args.mistakes, folder=True)
    if args.tta:
        if is_exported(args.checkpoint):
            raise BadInput(
                f'--tta is for a checkpoint, and {args.checkpoint} is an exported '
                'model; leave it out, or name the .pth file'
            )
        switches.use_tta(cfg)
    if args.show or args.show_dir:
        switches.use_visualization(cfg, args.show, args.show_dir)
    switches.collate_for_scope(cfg)
    for sharding in 'runner_type', 'strategy':  # every process takes the whole model
        cfg.pop(sharding, None)
    notices = set_up_processes(cfg, args.launcher, args.local_rank)
    own = (args.data, args.val_split, ('test',), console.say, args.checkpoint)
    notices += use_data(cfg, *own)
    if args.classwise:
        switches.use_classwise(cfg)
    notices += fit_workers(cfg, ('test',))
    mends.mend_coco(cfg)
    check_data_paths(cfg, ('test',))
    check_dataset_classes(cfg, ('test',))
    check_labels(cfg, ('test',))
    if is_exported(args.checkpoint):
        notices.append(use_exported(cfg, args.checkpoint))
        cfg.load_from, cfg.resume = None, False
    else:
        peek_checkpoint(args.checkpoint)
        check_classes(cfg, args.checkpoint)
        cfg.load_from, cfg.resume = args.checkpoint, False
    console.progress('reading the data, building the model')
    notices += vet_data(cfg, ('test',), args.data_check, args.checkpoint)
    notices += say_padding(cfg, ('test',))
    runner = build_runner(cfg, 'test')
    console.watch(runner)
    for notice in notices:
        runner.logger.info(notice)
    if args.out:
        switches.dump_predictions(runner, args.out)
    add_writers(runner, args.json, args.confusion, args.classwise)
    runner.register_hook(TallyHook())
    if args.mistakes:
        add_mistakes(runner, args.mistakes, args.mistakes_count)
    metrics = runner.test()
    stop_workers(runner)
    if args.metrics:
        switches.write_metrics(metrics, args.metrics)


def main() -> None:
    args = parse_args()
    refuse_options(args.data, args.cfg_options)
    with open_console(args.quiet) as console:
        test(args, console)


if __name__ == '__main__':
    run_tool(main)
