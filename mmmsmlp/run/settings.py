"""Settings of a config that would do nothing, or fail late and say little."""

from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner

from ..errors import BadInput, did_you_mean

# Those of mmengine, of the toolboxes and of ours.
USUAL_HOOKS = {
    *('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler'),
    *('checkpoint', 'visualization', 'divergence'),
}
# What DefaultOptimWrapperConstructor reads; anything else it passes over.
PARAMWISE = {
    *('custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult'),
    *('dwconv_decay_mult', 'flat_decay_mult', 'bypass_duplicate', 'dcn_offset_lr_mult'),
}


def check_settings(cfg: Config) -> None:
    """Check what can be told of a training's config before anything is built.

    Raises:
        BadInput: Names the setting, its value, and the cure.
    """
    check_lengths(cfg)
    check_hooks(cfg)
    check_preprocessing(cfg)
    check_wrapper(cfg)


def check_lengths(cfg: Config) -> None:
    """Check how long the config trains, and how often it validates.

    Raises:
        BadInput: A number is none, or not above 0.
    """
    for name in 'max_epochs', 'max_iters', 'val_interval':
        value = cfg.train_cfg.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise BadInput(
                f'train_cfg.{name}={value!r} must be a whole number > 0'
                + (
                    '; val_cfg=None val_dataloader=None val_evaluator=None trains '
                    'without validation'
                    if name == 'val_interval'
                    else ''
                )
            )
    seed = (cfg.get('randomness') or {}).get('seed')
    if seed is not None and type(seed) is not int:
        raise BadInput(f'randomness.seed={seed!r} must be a whole number, or None')


def check_hooks(cfg: Config) -> None:
    """Check that hooks are tables with a type.

    Raises:
        BadInput: One is none; or a default hook's name has a typo.
    """
    hooks = cfg.get('custom_hooks') or []
    if not isinstance(hooks, (list, tuple)) or not all(map(_is_table, hooks)):
        raise BadInput(
            f'custom_hooks={hooks!r} must be a list of tables, such as '
            "[dict(type='EMAHook')]; on the command line "
            "\"custom_hooks=[{'type': 'EMAHook'}]\""
        )
    for name, hook in list((cfg.get('default_hooks') or {}).items()):
        if hook is None and name == 'visualization':
            cfg.default_hooks.pop(name)  # mmengine lets its own six alone be None
        elif hook is None and name not in USUAL_HOOKS:
            raise BadInput(
                f'default_hooks.{name}=None: there is no such hook to leave out'
                + did_you_mean(name, USUAL_HOOKS)
            )
        elif hook is not None and not _is_table(hook) and name != 'divergence':
            raise BadInput(
                f'default_hooks.{name}={hook!r} has no type'
                + did_you_mean(name, USUAL_HOOKS - {name})
            )


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) and 'type' in value


def check_preprocessing(cfg: Config) -> None:
    """Check that no picture is divided by zero.

    Raises:
        BadInput: A number of ``std`` is 0.
    """
    for place in 'model.data_preprocessor', 'data_preprocessor':
        table = cfg.get('model', {}) if place.startswith('model') else cfg
        std = (table.get('data_preprocessor') or {}).get('std')
        if isinstance(std, (list, tuple)) and not all(std):
            raise BadInput(
                f'{place}.std={list(std)} divides by 0: every number of a picture '
                'would be none; give the deviation of each channel, 1 for none'
            )


def check_wrapper(cfg: Config) -> None:
    """Check how parameters are stepped.

    Raises:
        BadInput: Mixed precision that the device lacks; or an unknown key of
            ``paramwise_cfg``, which would do nothing.
    """
    wrapper = cfg.get('optim_wrapper') or {}
    if wrapper.get('type') == 'AmpOptimWrapper' and get_device() == 'cpu':
        raise BadInput(
            "optim_wrapper.type='AmpOptimWrapper' needs a GPU; on this CPU --amp bf16 "
            'does the like, or take OptimWrapper'
        )
    usual = wrapper.get('constructor', 'DefaultOptimWrapperConstructor')
    if usual != 'DefaultOptimWrapperConstructor':
        return
    for key in wrapper.get('paramwise_cfg') or {}:
        if key not in PARAMWISE:
            raise BadInput(
                f'optim_wrapper.paramwise_cfg.{key} is read by nothing'
                + did_you_mean(key, PARAMWISE)
            )


def unmatched_keys(runner: Runner) -> str | None:
    """A line on ``custom_keys`` that match no parameter, and nearly match some.

    A recipe for several backbones has keys that not each of them has.
    """
    wrapper = runner.cfg.get('optim_wrapper') or {}
    keys = (wrapper.get('paramwise_cfg') or {}).get('custom_keys') or {}
    names = [name for name, _ in runner.model.named_parameters()]
    parts = {part for name in names for part in name.split('.')}
    for key in keys:
        near = did_you_mean(key, parts, likeness=0.75)
        if near and not any(key in name for name in names):
            return (
                f'optim_wrapper.paramwise_cfg.custom_keys.{key} does nothing: no '
                f'parameter has that in its name{near}'
            )
    return None
