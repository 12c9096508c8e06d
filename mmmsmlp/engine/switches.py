"""What do the switches of tools/train.py change in a config?"""

from mmengine.config import Config
from mmengine.device import get_device

from ..checkpoints import read_checkpoint
from ..errors import BadInput
from .run_files import latest_checkpoint


def use_amp(cfg: Config, dtype: str) -> None:
    """``--amp``: train in mixed precision.

    Args:
        cfg: Config; its optimizer wrapper changes type.
        dtype: 'fp16', 'bf16' or 'auto': on a GPU what the config's wrapper names, else
            fp16; on a CPU bf16.

    Raises:
        BadInput: fp16 on a CPU, or an optimizer wrapper that has no mixed-precision
            form.
    """
    on_cpu = get_device() == 'cpu'
    if on_cpu and dtype == 'fp16':
        raise BadInput(
            '--amp fp16 needs a GPU: its loss scaling does not run on a CPU. Take '
            '--amp bf16 here.'
        )
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper'):
        raise BadInput(
            f'--amp turns an OptimWrapper into an AmpOptimWrapper, but the config has '
            f'optim_wrapper.type={kind!r}'
        )
    if on_cpu:
        cfg.optim_wrapper.type = 'mmmsmlp.CPUAmpOptimWrapper'
        for key in ('loss_scale', 'dtype'):
            cfg.optim_wrapper.pop(key, None)
        return
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
    if dtype != 'auto':
        cfg.optim_wrapper.dtype = dict(fp16='float16', bf16='bfloat16')[dtype]


def use_auto_scale_lr(cfg: Config) -> str | None:
    """``--auto-scale-lr``: scale the learning rate with the joint batch size.

    With gradient accumulation a step of the optimizer sees that many batches, which
    mmengine does not count.

    Returns:
        One line for the log, where gradients are accumulated.

    Raises:
        BadInput: The config does not say for which batch its rate was chosen.
    """
    if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
        raise BadInput(
            '--auto-scale-lr needs to know for which batch size the learning rate was '
            'chosen; set auto_scale_lr=dict(base_batch_size=16) in the config'
        )
    cfg.auto_scale_lr.enable = True
    batches = cfg.optim_wrapper.get('accumulative_counts', 1)
    if batches == 1:
        return None
    cfg.auto_scale_lr.base_batch_size /= batches
    return f'--auto-scale-lr: {batches} batches are accumulated and count as one'


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
