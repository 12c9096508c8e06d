"""Resuming with another plan: the schedule follows the config, from the progress on."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch.optim import Optimizer

from ..errors import BadInput, CheckpointError, join_some
from ..registry import HOOKS
from .hooks import to_plain

# What a scheduler keeps of its own way; the rest of its state is the plan.
PROGRESS = {
    *('last_step', '_global_step', '_last_value', 'base_values', 'verbose'),
    '_get_lr_called_within_step',
}


@HOOKS.register_module()
class ResumePlanHook(Hook):
    """Lets a resumed run follow its config, where mmengine follows the old one's plan.

    mmengine puts the schedulers and the optimizer's settings back as they were saved,
    so that another number of epochs, other milestones or another rate do nothing. Here
    weights and the optimizer's averages come from the checkpoint, and rates, decay and
    schedules from the config: step by step those of a run that was planned so from the
    start. Where the plan is the old one, nothing is touched.
    """

    priority = 'VERY_LOW'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write the config's plan into what mmengine is about to put back.

        Raises:
            CheckpointError: It holds no progress, an optimizer of other parameters or
                of another kind, or averaged weights that this run would not go on with.
            BadInput: The plan changed, and its rates depend on past metrics.
        """
        wrapper = runner.optim_wrapper
        optimizer = getattr(wrapper, 'optimizer', None)
        if not runner._resume or not isinstance(runner, Runner) or optimizer is None:
            return  # sharded, or of several optimizers: as mmengine does it
        file = runner._load_from
        meta = checkpoint.get('meta')
        if not isinstance(meta, dict) or not {'epoch', 'iter'} <= meta.keys():
            raise CheckpointError(
                f'{file} says neither epoch nor iteration, so no run goes on from it; '
                f'--cfg-options load_from={file} starts a new one from its weights'
            )
        _refuse_lost_average(runner, checkpoint)
        checkpoint.setdefault('message_hub', {key: {} for key in _HUB})
        rows = [('weights', 'checkpoint', file), _recount(runner, checkpoint)]
        rows.append(_settings(optimizer, checkpoint, file))
        rows += _schedule(runner, optimizer, checkpoint)
        _tell(runner, rows)

    def before_train(self, runner: Runner) -> None:
        """Say that a finished run has nothing left to do."""
        loop = runner.train_loop
        what = 'epochs' if hasattr(loop, 'run_epoch') else 'iters'
        done = loop.epoch if what == 'epochs' else loop.iter
        planned = getattr(loop, f'max_{what}')
        if done >= planned:
            runner.logger.info(
                f'nothing is left to do: {done} of {planned} {what} are done; '
                f'--cfg-options train_cfg.max_{what}=N with a larger N goes on'
            )


# Of a group of parameters, what any optimizer may have, by torch's release.
_COMMON = {
    *('params', 'param_names', 'lr', 'initial_lr', 'weight_decay', 'maximize'),
    *('foreach', 'capturable', 'differentiable', 'fused', 'decoupled_weight_decay'),
}
_HUB = ('log_scalars', 'runtime_info', 'resumed_keys')
Row = tuple[str, str, str]  # what, where it is from, and its value


def _recount(runner: Runner, checkpoint: dict) -> Row:
    """Count iterations by the epochs of this run, which may be of another length."""
    loop, meta = runner.train_loop, checkpoint['meta']
    if not hasattr(loop, 'run_epoch'):
        said = f'{meta["iter"]} of {loop.max_iters} iterations'
        return 'progress', 'checkpoint', said
    length = len(loop.dataloader)
    old = _epoch_length(checkpoint) or length
    said = f'{meta["epoch"]} of {loop.max_epochs} epochs'
    if old != length:
        meta['iter'] = round(meta['iter'] * length / old)
        said += f'; an epoch has {length} iterations, and had {old}'
    return 'progress', 'checkpoint', said


def _epoch_length(checkpoint: dict) -> int | None:
    info = checkpoint['message_hub'].get('runtime_info') or {}
    if info.get('max_iters') and info.get('max_epochs'):
        return info['max_iters'] // info['max_epochs']
    meta = checkpoint['meta']
    return meta['iter'] // meta['epoch'] if meta['epoch'] else None


def _settings(optimizer: Optimizer, checkpoint: dict, file: str) -> Row:
    """Give the checkpoint's optimizer the settings that the config's was built with."""
    saved = checkpoint.get('optimizer')
    if not saved:
        checkpoint.pop('optimizer', None)
        return 'optimizer', 'config', 'its averages start anew: the checkpoint has none'
    groups = [len(group['params']) for group in saved['param_groups']]
    own = [len(group['params']) for group in optimizer.param_groups]
    if groups != own:
        raise CheckpointError(
            f'{file} cannot be resumed: its optimizer has {sum(groups)} parameters in '
            f'{len(groups)} groups, and this run has {sum(own)} in {len(own)}; resume '
            'with the config of that run, or start anew from its weights with '
            f'--cfg-options load_from={file}'
        )
    _refuse_other_kind(optimizer, saved['param_groups'][0], file)
    changed: dict[str, str] = {}
    for group, ours in zip(saved['param_groups'], optimizer.param_groups, strict=True):
        before, now = _start(group), _start(ours)
        for key in (key for key in ours if key != 'params'):
            old, new = before.get(key, group.get(key)), now.get(key, ours[key])
            told = key in group and not key.startswith('initial_')
            if told and to_plain(old) != to_plain(new):
                changed.setdefault(key, f'{key} {new} (was {old})')
            if key not in _scheduled(ours):
                group[key] = new
    said = 'averages from the checkpoint'
    if changed:
        said += f'; settings from the config: {join_some(changed.values())}'
    return 'optimizer', 'both' if changed else 'checkpoint', said


def _refuse_other_kind(optimizer: Optimizer, saved: dict, file: str) -> None:
    """Averages of one kind of optimizer say nothing to another."""
    own = [key for key in optimizer.defaults if key not in _COMMON]
    missing = [key for key in own if key not in saved]
    if 2 * len(missing) > len(own):
        theirs = [key for key in saved if key not in {*_COMMON, *own}]
        raise CheckpointError(
            f'{file} cannot be resumed: its optimizer is of another kind, with '
            f'{join_some(theirs)}, and {type(optimizer).__name__} has {join_some(own)}'
            '; resume with the optimizer of that run, or start anew from its weights '
            f'with --cfg-options load_from={file}'
        )


def _refuse_lost_average(runner: Runner, checkpoint: dict) -> None:
    """With an EMAHook mmengine saves the average as the weights, those beside it."""
    averages = any(isinstance(hook, EMAHook) for hook in runner.hooks)
    if checkpoint.get('ema_state_dict') and not averages:
        file = runner._load_from
        raise CheckpointError(
            f'{file} cannot be resumed: it was trained with an EMAHook, so that its '
            'state_dict is the average, to which its optimizer does not belong. Resume '
            'with that hook (custom_hooks), or start anew from the average with '
            f'--cfg-options load_from={file}'
        )


def _scheduled(group: dict) -> set[str]:
    """What schedulers set in a group, and what they keep there."""
    kept = {key for key in group if key.startswith('initial_')}
    names = kept | {key.removeprefix('initial_') for key in kept}
    return names | ({'betas'} if 'momentum' in names else set())


def _plan(state: dict) -> dict:
    return to_plain({k: v for k, v in state.items() if k not in PROGRESS})


def _schedule(runner: Runner, optimizer: Optimizer, checkpoint: dict) -> list[Row]:
    """Put the rates where the config's schedule has them after the steps done."""
    own = runner.param_schedulers
    schedulers: list[Any] = own if isinstance(own, list) else []
    saved = checkpoint.get('param_schedulers') or []
    groups = (checkpoint.get('optimizer') or {}).get('param_groups')
    meta, loop = checkpoint['meta'], runner.train_loop
    if not schedulers:
        checkpoint.pop('param_schedulers', None)
        for group, ours in zip(groups or [], optimizer.param_groups, strict=False):
            _set_rates(group, _start(ours))
        return [('schedule', 'config', f'none, was {_words(saved)}')]
    plans = [_plan(scheduler.state_dict()) for scheduler in schedulers]
    steps = [meta['epoch'] if s.by_epoch else meta['iter'] for s in schedulers]
    same = (
        isinstance(saved, list)
        and [_plan(state) for state in saved] == plans
        and [state['base_values'] for state in saved]
        == [scheduler.base_values for scheduler in schedulers]
        and [state['_global_step'] for state in saved] == steps
    )
    if same:
        return [('schedule', 'checkpoint', 'as the config has it')]
    if any(getattr(scheduler, 'need_val_args', False) for scheduler in schedulers):
        raise BadInput(
            f'{runner._load_from} cannot be resumed with another schedule: it was '
            f'{_words(saved)} and is {_words(plans)}, whose rates depend on past '
            'metrics; keep it, or start anew with load_from'
        )
    length = len(loop.dataloader) if hasattr(loop, 'run_epoch') else 0
    replayed, rates = replay(
        optimizer, _builder(runner), meta['epoch'], meta['iter'], length
    )
    checkpoint['param_schedulers'] = replayed
    old = [group['lr'] for group in groups or ()]
    for group, ours in zip(groups or optimizer.param_groups, rates, strict=True):
        _set_rates(group, ours)
    now = f'{max(group["lr"] for group in rates):.4g}'
    was = f', was {max(old):.4g}' if old else ''
    row = ('schedule', 'config', f'{_words(plans)}, was {_words(saved)}')
    return [row, ('rate', 'config', f'{now} in the next step{was}')]


def _set_rates(group: dict, ours: dict) -> None:
    """Give a group the values of a schedule, and no others of an earlier one."""
    for key in [key for key in group if key.startswith('initial_')]:
        del group[key]
    group.update(ours)


def _builder(runner: Runner) -> Callable[[Optimizer], list]:
    """Builds the schedulers of the config on any optimizer."""
    configs = deepcopy(runner.cfg.get('param_scheduler'))
    return lambda optimizer: runner._build_param_scheduler(configs, optimizer)


def stand_in_for(optimizer: Optimizer) -> tuple[Any, list[int]]:
    """An optimizer on which schedulers can be tried, with a group of each kind.

    Returns:
        It, and for each group of ``optimizer`` the number of its kind.
    """
    kinds: dict[str, int] = {}
    groups: list[dict] = []
    place = []
    for group in optimizer.param_groups:
        start = _start(group)
        if repr(start) not in kinds:
            kinds[repr(start)] = len(groups)
            groups.append(start)
        place.append(kinds[repr(start)])
    stand_in: Any = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    stand_in.defaults = optimizer.defaults
    stand_in.param_groups = groups
    return stand_in, place


def replay(
    optimizer: Optimizer,
    build: Callable[[Optimizer], list],
    epochs: int,
    iterations: int,
    length: int,
) -> tuple[list[dict], list[dict]]:
    """Go through a schedule without training.

    Groups that start alike stay alike, so each kind of them is followed once.

    Args:
        optimizer: Its groups have the values with which a run starts.
        build: Builds schedulers on an optimizer.
        epochs: How many are done.
        iterations: How many are done.
        length: Iterations of an epoch; 0 for a run by iterations.

    Returns:
        The state of each scheduler, and the scheduled values of each group.
    """
    stand_in, place = stand_in_for(optimizer)
    schedulers = build(stand_in)
    stand_in._global_step = 0  # as if it had stepped: else each scheduler warns
    done = 0
    for step in range(1, iterations + 1):
        for scheduler in schedulers:
            if not scheduler.by_epoch:
                scheduler.step()
        if length and step % length == 0 and done < epochs:
            done += 1
            _step_epoch(schedulers)
    for _ in range(done, epochs if length else 0):
        _step_epoch(schedulers)
    states = []
    for scheduler in schedulers:
        state = dict(scheduler.state_dict())
        for key in 'base_values', '_last_value':
            state[key] = [state[key][index] for index in place]
        states.append(state)
    return states, [dict(stand_in.param_groups[index]) for index in place]


def _step_epoch(schedulers: Sequence[Any]) -> None:
    for scheduler in schedulers:
        if scheduler.by_epoch:
            scheduler.step()


def _start(group: dict) -> dict:
    """The values that a schedule can change, as they are before its first step."""
    start = {key: group[key] for key in ('lr', 'momentum', 'betas') if key in group}
    for key, value in group.items():
        name = key.removeprefix('initial_')
        if name != key:
            start |= {name: value, key: value}
    if (
        'initial_momentum' in start and 'betas' in start
    ):  # of Adam, it is the first beta
        start['betas'] = (start['momentum'], start['betas'][1])
    return start


def _words(plans: Sequence[dict]) -> str:
    """A schedule as the log says it, from its schedulers' states."""
    said = []
    for plan in plans:
        names = ('begin', 'end', 'T_max', 'milestones', 'step_size', 'total_iters')
        known = [f'{n}={_short(plan[n])}' for n in names if n in plan]
        unit = 'epochs' if plan.get('by_epoch') else 'iterations'
        said.append(f'{plan.get("param_name", "lr")} by {unit} ({", ".join(known)})')
    return ' + '.join(said) or 'none'


def _short(value: Any) -> str:
    return str(list(value)) if isinstance(value, dict) else str(value)


def _tell(runner: Runner, rows: Sequence[Row]) -> None:
    heads = ('what', 'from', '')
    widths = [max(len(row[i]) for row in [*rows, heads]) for i in (0, 1)]
    lines = [
        f'{a:{widths[0]}}  {b:{widths[1]}}  {c}'.rstrip() for a, b, c in (heads, *rows)
    ]
    runner.logger.info('the run goes on:\n' + '\n'.join(lines))
