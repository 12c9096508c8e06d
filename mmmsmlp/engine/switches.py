"""What do the switches of tools/train.py change in a config?"""

from mmengine.config import Config
from mmengine.device import get_device

from ..checkpoints import read_checkpoint
from .cli import BadInput
from .run_files import latest_checkpoint


def use_amp(cfg: Config) -> None:
    """``--amp``: train in mixed precision.

    Raises:
        BadInput: The machine has no accelerator, or the optimizer wrapper is one
            that has no mixed-precision form.
    """
    if get_device() == 'cpu':
        raise BadInput(
            '--amp needs a GPU: its fp16 loss scaling does not run on a CPU. Leave '
            '--amp out here.'
        )
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise BadInput(
            f'--amp turns an OptimWrapper into an AmpOptimWrapper, but the config has '
            f'optim_wrapper.type={kind!r}'
        )
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def use_auto_scale_lr(cfg: Config) -> None:
    """``--auto-scale-lr``: scale the learning rate with the joint batch size.

    Raises:
        BadInput: The config does not say for which batch its rate was chosen.
    """
    if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
        raise BadInput(
            '--auto-scale-lr needs to know for which batch size the learning rate was '
            'chosen; set auto_scale_lr=dict(base_batch_size=16) in the config'
        )
    cfg.auto_scale_lr.enable = True


def use_resume(cfg: Config, source: str) -> str:
    """``--resume``: continue a run.

    Without a checkpoint to continue, ``load_from`` stays in force, which mmengine's
    own automatic resume would drop. The run's seed is set before anything is built:
    mmengine sets it after the sampler has drawn one of its own, which would change the
    order of the data.

    Args:
        cfg: Config with its ``work_dir``.
        source: 'auto' for the latest checkpoint of the run folder, or a file.

    Returns:
        One line for the log.

    Raises:
        CheckpointError: The file cannot be read, or is unsafe.
    """
    checkpoint = latest_checkpoint(cfg.work_dir) if source == 'auto' else source
    if checkpoint is None:
        cfg.resume = False
        return f'--resume: {cfg.work_dir} holds no checkpoint yet, training starts anew'
    cfg.resume = True
    cfg.load_from = checkpoint
    seed = (read_checkpoint(checkpoint).get('meta') or {}).get('seed')
    if seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
    return f'--resume: continuing from {checkpoint}'


def collate_for_scope(cfg: Config) -> None:
    """Give mmpretrain's data loaders the collate function that it counts on."""
    if cfg.get('default_scope') != 'mmpretrain':
        return
    for loop in ('train', 'val', 'test'):
        loader = cfg.get(f'{loop}_dataloader')
        if loader:
            loader.setdefault('collate_fn', dict(type='default_collate'))
