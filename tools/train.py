#!/usr/bin/env python
"""Train what a config describes: a detector, a segmentor or a classifier."""

import argparse
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

from mmengine.runner import FlexibleRunner, Runner

from mmmsmlp.checkpoints import peek_checkpoint
from mmmsmlp.run import (
    curves,
    folder,
    mends,
    preflight,
    switches,
    training_checks,
    trial,
)
from mmmsmlp.run.config import build_runner, check_is_experiment, load_config
from mmmsmlp.run.console import Console, open_console
from mmmsmlp.run.entry import add_common_arguments, run_tool
from mmmsmlp.run.launch import set_up_processes, stop_workers
from mmmsmlp.run.metric_names import check_metric_names
from mmmsmlp.run.own_data import add_data_arguments, refuse_options, use_data
from mmmsmlp.run.settings import check_settings
from mmmsmlp.run.tally import TallyHook
from mmmsmlp.run.vet import vet_data
from mmmsmlp.run.weights import use_pretrained

NEEDED = ('default_scope', 'model', 'train_dataloader', 'train_cfg', 'optim_wrapper')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add_common_arguments(parser)
    add_data_arguments(parser)
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
    parser.add_argument(
        '--try',
        dest='trial',
        action='store_true',
        help='go through a few steps, a checkpoint, an evaluation, resuming and a '
        'drawing, and say how long the whole run takes and what it needs',
    )
    parser.add_argument(
        '--no-report',
        action='store_true',
        help='keep no results for a report, and write no RUN/report.html at the end',
    )
    args = parser.parse_args()
    if args.trial and args.resume:
        parser.error('--try starts anew; give it without --resume')
    return args


def train(args: argparse.Namespace, console: Console) -> None:
    cfg = load_config(args.config, args.cfg_options)
    check_is_experiment(cfg, *NEEDED)
    switches.use_work_dir(cfg, args.work_dir)
    if args.trial:
        cfg.work_dir = str(Path(cfg.work_dir, 'try'))
    console.log_to(cfg.work_dir)
    notices = [mends.keep_two(cfg)]
    if args.amp:
        switches.use_amp(cfg, args.amp)
    check_settings(cfg)
    if args.auto_scale_lr or (cfg.get('auto_scale_lr') or {}).get('enable'):
        notices.append(switches.use_auto_scale_lr(cfg))
    if args.tensorboard:
        curves.use_tensorboard(cfg)
    alone = cfg.get('resume') and not cfg.get('load_from')  # mmengine's word for auto
    if args.trial and alone:
        cfg.resume = False  # it starts anew
    elif args.resume or alone:
        notices.append(switches.use_resume(cfg, args.resume or 'auto'))
    mends.install(resumed=cfg.load_from if cfg.get('resume') else None)
    switches.collate_for_scope(cfg)
    switches.use_our_hooks(cfg)
    notices += set_up_processes(cfg, args.launcher, args.local_rank)
    notices.append(folder.claim(cfg.work_dir))
    loops = ('train', 'val', 'test')
    notices += use_data(cfg, args.data, args.val_split, loops, console.say)
    notices += training_checks.fit_workers(cfg, ('train', 'val'))
    mends.mend_coco(cfg)
    check_metric_names(cfg)
    preflight.check_data_paths(cfg, ('train', 'val'))
    preflight.check_dataset_classes(cfg, ('train', 'val'))
    preflight.check_labels(cfg, ('val',))
    if cfg.get('load_from'):
        peek_checkpoint(cfg.load_from)
    if args.pretrained:
        notices.append(use_pretrained(cfg, args.pretrained))
    notices += vet_data(cfg, ('train', 'val'), args.data_check)
    training_checks.check_batch_of_one(cfg)
    notices += preflight.say_padding(cfg, ('val',))
    mends.remove_parts(cfg.work_dir)
    console.progress('building the model, reading the data')
    runner = build_runner(cfg, 'train', 'val')
    if cfg.get('resume') and isinstance(runner, Runner):
        mends.expect_weights(runner.model, args.pretrained)
    notices += training_checks.look_ahead(runner)
    notices.append(folder.set_aside(cfg))
    console.watch(runner)
    for notice in filter(None, notices):
        runner.logger.info(notice)
    if not args.trial:
        return run(runner, cfg.work_dir, not args.no_report)
    plan = trial.Plan.of(runner)
    del runner  # its model would count as memory of the trial
    console.say(trial.go_through(cfg, plan))


def run(runner: Runner | FlexibleRunner, work_dir: str, reports: bool) -> None:
    if reports:
        runner.register_hook(TallyHook())
    runner.train()
    stop_workers(runner)
    if reports:
        curves.report_at_the_end(work_dir)


def main() -> None:
    args = parse_args()
    refuse_options(args.data, args.cfg_options)
    with open_console(args.quiet) as console:
        train(args, console)


if __name__ == '__main__':
    run_tool(main)
