"""Reading a config, checking what a command line changes in it, building from it."""

import inspect
import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import Config, config, utils
from yapf.yapflib import yapf_api

from .. import configs
from ..errors import BadInput, did_you_mean, is_there_another, join_some, one_line

if TYPE_CHECKING:
    from mmengine.runner import FlexibleRunner, Runner


def find_config(name: str) -> Path:
    """Find a config: a file, one relative to the checkout, or a name of our own.

    Raises:
        BadInput: There is none; names near ones.
    """
    for path in (Path(name).expanduser(), configs.root() / name):
        if path.is_file():
            return path
    short = name.replace('\\', '/').removeprefix('configs/')
    try:
        return configs.config_path(short)
    except KeyError as error:
        raise BadInput(
            f'config {name} does not exist'
            + (is_there_another(name) or configs.advice(short))
        ) from error


def load_config(name: str, options: dict | None = None) -> Config:
    """Read a config and apply ``--cfg-options``.

    Raises:
        BadInput: The file does not exist, does not run, or an option does not fit.
    """
    path = find_config(name)
    if path.suffix not in ('.py', '.json', '.yaml', '.yml'):
        raise BadInput(
            f'{path} is no config: those end with .py. Perhaps two arguments have '
            'changed places'
        )
    keep_what_is_slow()
    try:
        cfg = Config.fromfile(str(path))
    except Exception as error:  # a config is a program: it can raise anything
        raise BadInput(
            f'config {path} cannot be read: {_missing_module(error) or one_line(error)}'
        ) from error
    _check_names(cfg, options or {})
    changes = _like_what_was(cfg, options or {})
    try:
        if changes:
            cfg.merge_from_dict(changes)
    except Exception as error:
        raise BadInput(
            f'--cfg-options {options} does not fit {path}: {one_line(error)}'
        ) from error
    return cfg


def keep_what_is_slow() -> None:
    """Let mmengine read a metafile, and format a config's text, once a process.

    It reads all of a toolbox's hundred for every base that is called ``mmdet::``, and
    formats the config for each log, copy and checkpoint that holds it.
    """
    if not hasattr(utils.load, 'cache_info'):
        utils.load = cache(utils.load)
        yapf_api.FormatCode = _keeping(yapf_api.FormatCode)
        if hasattr(config, 'FormatCode'):  # mmengine 0.10.7 has it by name
            config.FormatCode = yapf_api.FormatCode


def _keeping(format_code: Callable) -> Callable:
    known: dict[str, Any] = {}

    def kept(*args: Any, **options: Any) -> Any:
        key = repr((args, options))
        if key not in known:
            made = format_code(*args, **options)
            known.clear()  # of one run at a time
            known[key] = made
        return known[key]

    return kept


def _missing_module(error: Exception) -> str:
    """Of ``custom_imports`` that failed: what is missing, and the cure."""
    if not isinstance(error, ImportError) or 'custom modules' not in str(error):
        return ''
    cause: BaseException = error
    while inner := cause.__cause__ or cause.__context__:
        cause = inner
    return (
        f'custom_imports: {type(cause).__name__}: {cause}; give the folder in which it '
        'lies as PYTHONPATH=FOLDER before the command'
    )


def _like_what_was(cfg: Config, options: dict) -> dict:
    """A list that takes the place of a tuple becomes one, as ``scale=640,400``.

    Raises:
        BadInput: A text takes the place of a number and begins like one: ``lr=1e-3x``.
    """
    was = dict(_places({key: cfg[key] for key in cfg}))
    for key, value in options.items():
        number = type(was.get(key)) in (int, float)
        if number and isinstance(value, str) and re.match(r'[-+.]*\d', value):
            raise BadInput(
                f'--cfg-options {key}={value}: {value!r} is no number, and the config '
                f'has {was[key]}'
            )
    return {
        key: tuple(value)
        if isinstance(value, list) and isinstance(was.get(key), tuple)
        else value
        for key, value in options.items()
    }


# What a config may hold beside the Runner's arguments, though ours do not.
_READ_ELSEWHERE = {
    'activation_checkpointing', 'compile', 'custom_imports', 'efficient_conv_bn_eval',
    'find_unused_parameters', 'model_wrapper_cfg', 'runner_type', 'strategy',
    'sync_bn', 'tta_model', 'tta_pipeline',
}  # fmt: skip


def _check_names(cfg: Config, options: dict) -> None:
    """Refuse an option whose first name nothing would read.

    That is ``trian_cfg.max_epochs=1``, and ``data_root=DIR`` where ``data_root`` is a
    variable of the config's file: what was made from it stays as it was. One of which
    nothing is seen to be made is warned of alone: a hook may look it up.
    """
    from mmengine.runner import Runner

    read = {*inspect.signature(Runner).parameters, *_READ_ELSEWHERE}
    for option in options:
        name = option.split('.')[0]
        if name in read:
            continue
        if name not in cfg:
            raise BadInput(
                f'--cfg-options {option}: neither {cfg.filename} nor the Runner knows '
                f'{name!r}' + did_you_mean(name, {*cfg, *read})
            )
        kept = {key: cfg[key] for key in cfg if key in read}
        is_variable = f'--cfg-options {option}: {name} is a variable of {cfg.filename}'
        same = [path for path, value in _places(kept) if value == cfg[name]]
        made = [path for path, _ in _places(kept) if path.endswith(f'.{name}')]
        if made or (same and isinstance(cfg[name], (dict, list, tuple)) and cfg[name]):
            raise BadInput(
                f'{is_variable}, which nothing reads any more; change what was made '
                f'from it: {", ".join(made or same)}'
            )
        warnings.warn(
            f'{is_variable}; what was made from it stays as it was'
            + (f'. What it held is also at {join_some(same)}' if same else ''),
            stacklevel=2,
        )


def _places(node: object, prefix: str = '') -> Iterator[tuple[str, object]]:
    """Every place of a config, as ``--cfg-options`` names it, and what it holds."""
    if isinstance(node, (list, tuple)):
        node = dict(enumerate(node))
    if isinstance(node, dict):
        for key, value in node.items():
            yield f'{prefix}{key}', value
            yield from _places(value, f'{prefix}{key}.')


def check_is_experiment(cfg: Config, *needed: str) -> None:
    """Refuse a config that is only a part of one, such as those of ``_base_``.

    Raises:
        BadInput: An entry that the tool needs is missing; names them all.
    """
    missing = [key for key in needed if cfg.get(key) is None]
    if missing:
        raise BadInput(
            f'config {cfg.filename} has no {", no ".join(missing)}: it is a part that '
            'others build on; give one that names a whole experiment'
        )


def tables_in(node: object) -> Iterator[dict]:
    """Every dict of a config's entry, itself and whatever it nests."""
    for _, value in [('', node), *_places(node)]:
        if isinstance(value, dict):
            yield value


def values_in(node: object) -> Iterator[object]:
    """Every value of a config's entry, however deep."""
    for _, value in _places(node):
        yield value


def build_runner(cfg: Config, *loops: str) -> 'Runner | FlexibleRunner':
    """Build the Runner, its model, and the data and metrics of loops such as 'train'.

    A Runner that takes a strategy prepares its model first, and builds them itself.

    Raises:
        BadInput: The config describes something that cannot be built.
    """
    from mmengine.registry import RUNNERS
    from mmengine.runner import Runner

    with building(cfg.filename):
        if 'runner_type' in cfg:
            return RUNNERS.build(cfg)
        runner = Runner.from_cfg(cfg)
        for loop in loops:
            getattr(runner, f'{loop}_loop')
        if 'train' in loops:
            _build_optimizer(runner)
        return runner


def _build_optimizer(runner: 'Runner') -> None:
    """Build the optimizer, and try the schedule on another one like it."""
    from mmengine.registry import OPTIMIZERS

    from ..engine.resume import stand_in_for

    kind = (runner.optim_wrapper.get('optimizer') or {}).get('type')
    with OPTIMIZERS.switch_scope_and_registry(None) as registry:
        if isinstance(kind, str) and registry.get(kind) is None:
            raise BadInput(
                f'optim_wrapper.optimizer.type={kind!r} names no optimizer'
                + did_you_mean(kind, {*OPTIMIZERS.module_dict, *registry.module_dict})
            )
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
    if runner.param_schedulers and optimizer:
        runner._build_param_scheduler(
            runner.param_schedulers, stand_in_for(optimizer)[0]
        )


@contextmanager
def building(name: str) -> Iterator[None]:
    """Turn what a constructor raises about its arguments into :class:`BadInput`."""
    try:
        yield
    except (AssertionError, ImportError, KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f'{name} cannot be built: {one_line(error)}{_near_argument(error)} '
            '(MMMSMLP_TRACEBACK=1 shows where)'
        ) from error


def _near_argument(error: Exception) -> str:
    """Which argument one that a class of a config does not know may have meant."""
    wrong = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    if not wrong:
        return ''
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    kinds = [f.f_locals['obj_cls'] for f in frames if 'obj_cls' in f.f_locals]
    if (name := str(error).partition('.')[0]) in frames[-1].f_globals:
        kinds.append(frames[-1].f_globals[name])
    bases = {base for kind in kinds[-1:] for base in getattr(kind, '__mro__', [kind])}
    known = {
        name
        for base in bases - {object}
        for name in inspect.signature(getattr(base, '__init__', base)).parameters
    }
    return did_you_mean(wrong[1], known - {'self', 'args', 'kwargs'})
