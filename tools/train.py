#!/usr/bin/env python
"""Train what a config describes: a detector, a segmentor or a classifier."""

import argparse

import _checkout  # noqa: F401  before the package is imported
from mmmsmlp.checkpoints import peek_checkpoint
from mmmsmlp.run import curves, mends, preflight, switches
from mmmsmlp.run.config import build_runner, check_is_experiment, load_config
from mmmsmlp.run.console import Console, open_console
from mmmsmlp.run.entry import add_common_arguments, run_tool
from mmmsmlp.run.launch import set_up_processes
from mmmsmlp.run.vet import vet_data
from mmmsmlp.run.weights import use_pretrained

NEEDED = ('default_scope', 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add_common_arguments(parser)
    parser.add_argument(
        '--pretrained',
        metavar='FILE',
        help='backbone weights to start from; also sets the geometry they need',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='FILE',
        help='continue from FILE, or from the latest checkpoint of the run folder',
    )
    parser.add_argument(
        '--amp',
        nargs='?',
        const='auto',
        choices=['auto', 'fp16', 'bf16'],
        help='mixed precision; fp16 on a GPU and bf16 on a CPU unless named',
    )
    parser.add_argument(
        '--auto-scale-lr',
        action='store_true',
        help="scale the learning rate from the config's batch size to the actual one",
    )
    parser.add_argument(
        '--tensorboard', action='store_true', help='also write logs for TensorBoard'
    )
    return parser.parse_args()


def train(args: argparse.Namespace, console: Console) -> None:
    cfg = load_config(args.config, args.cfg_options)
    check_is_experiment(cfg, *NEEDED)
    switches.use_work_dir(cfg, args.work_dir)
    console.log_to(cfg.work_dir)
    mends.install()
    notices = [mends.keep_two(cfg)]
    if args.amp:
        switches.use_amp(cfg, args.amp)
    if args.auto_scale_lr:
        notices.append(switches.use_auto_scale_lr(cfg))
    if args.tensorboard:
        curves.use_tensorboard(cfg)
    if args.resume:
        notices.append(switches.use_resume(cfg, args.resume))
    switches.collate_for_scope(cfg)
    mends.name_classwise(cfg)
    switches.use_our_hooks(cfg)
    preflight.check_data_paths(cfg, ('train', 'val'))
    preflight.check_dataset_classes(cfg, ('train', 'val'))
    preflight.check_labels(cfg, ('val',))
    if cfg.get('load_from'):
        peek_checkpoint(cfg.load_from)
    if args.pretrained:
        notices.append(use_pretrained(cfg, args.pretrained))
    notices += set_up_processes(cfg, args.launcher, args.local_rank)
    notices += vet_data(cfg, ('train', 'val'), args.data_check)
    notices += preflight.say_padding(cfg, ('val',))
    preflight.check_batch_of_one(cfg)
    mends.remove_parts(cfg.work_dir)
    console.progress('building the model, reading the data')
    runner = build_runner(cfg, 'train', 'val')
    console.watch(runner)
    for notice in filter(None, notices):
        runner.logger.info(notice)
    runner.train()


def main() -> None:
    args = parse_args()
    with open_console(args.quiet) as console:
        train(args, console)


if __name__ == '__main__':
    run_tool(main)
