"""FSDP: weights, gradients and optimizer state in shards, one a process.

mmengine's strategy and runner, with what they get wrong on today's torch mended;
``configs/_base_/fsdp.py`` asks for it.
"""

from typing import Any

import torch
from mmengine._strategy import FSDPStrategy as _FSDPStrategy
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import FlexibleRunner
from mmengine.utils import apply_to
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel

from ..errors import BadInput
from ..models.msmlp import MSBlock
from ..models.windows import TransformerBlock
from ..registry import FUNCTIONS, RUNNERS, STRATEGIES


@FUNCTIONS.register_module()
def wrap_blocks(module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
    """Tell FSDP to gather the weights of a block when the block runs.

    A layer that FSDP wraps by itself is no plain layer any more: its block would then
    call it in place of the faster path.
    """
    return recurse or isinstance(module, (MSBlock, TransformerBlock))


@STRATEGIES.register_module()
class FSDPStrategy(_FSDPStrategy):
    """mmengine's FSDPStrategy, which saves whole models, resumes, and runs on gloo.

    Args:
        model_wrapper: As mmengine's, and needed; on a CPU its ``device_id`` is set.
        state_dict_cfg: 'full' alone: every checkpoint holds the whole model.
        **kwargs: As mmengine's.
    """

    def __init__(
        self, *, model_wrapper: dict, state_dict_cfg: str = 'full', **kwargs: object
    ):
        if state_dict_cfg != 'full':
            raise ValueError(
                f'state_dict_cfg={state_dict_cfg!r}: checkpoints of this strategy are '
                "whole; leave it out, or take mmengine's own FSDPStrategy"
            )
        on_cpu = get_device() == 'cpu'
        if on_cpu:
            # By default FSDP moves the shards to an accelerator ...
            model_wrapper = dict(model_wrapper, device_id='cpu')
        super().__init__(model_wrapper=model_wrapper, state_dict_cfg='full', **kwargs)
        if on_cpu:
            # ... and whole states back from it, which crashes where there is none.
            self.state_dict_config.offload_to_cpu = False
            self.optim_state_dict_config.offload_to_cpu = False

    def model_state_dict(self) -> dict:
        """The whole model on process 0, as tensors and nothing else."""
        return _plain(super().model_state_dict())

    def optim_state_dict(self) -> dict:
        """The whole optimizer on process 0, as tensors and nothing else."""
        return _plain(super().optim_state_dict())

    def load_optim_state_dict(self, state_dict: dict) -> None:
        """Shard a whole optimizer's state; torch 2.1 changed the arguments' order."""
        state = FullyShardedDataParallel.optim_state_dict_to_load(
            model=self.model,
            optim=self.optim_wrapper.optimizer,
            optim_state_dict=state_dict,
        )
        self.optim_wrapper.load_state_dict(state)


@RUNNERS.register_module()
class ShardedRunner(FlexibleRunner):
    """The runner that takes a strategy, counting epochs as the ordinary one does.

    mmengine saves an epoch's checkpoint again once it has chosen the best one, when the
    epoch is counted already; FlexibleRunner would count it twice, and a resumed run
    would skip one.
    """

    def save_checkpoint(
        self, *args: object, meta: dict | None = None, **kwargs: object
    ) -> None:
        """As mmengine's; ``epoch`` and ``iter`` of ``meta`` stay as given."""
        given = meta or {}
        self._counted = {key: given[key] for key in ('epoch', 'iter') if key in given}
        super().save_checkpoint(*args, meta=meta, **kwargs)

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """As mmengine's; before saving, the counts that were given are set again."""
        if fn_name == 'before_save_checkpoint':
            kwargs['checkpoint']['meta'].update(self._counted)
        super().call_hook(fn_name, **kwargs)


def _plain(state: dict) -> dict:
    """Tensors without the attributes that FSDP leaves on them and pickle would keep."""
    return apply_to(state, torch.is_tensor, torch.Tensor.detach)


def check_sharding(cfg: Config, launcher: str) -> None:
    """Refuse FSDP where it cannot run.

    Raises:
        BadInput: There is one process, or --amp's optimizer wrapper for a CPU, whose
            casts FSDP does not see.
    """
    if 'FSDPStrategy' not in (cfg.get('strategy') or {}).get('type', ''):
        return
    if launcher == 'none':
        raise BadInput(
            'FSDP shards a model over processes, and this is one; start it with '
            'tools/dist_train.sh or tools/slurm_train.sh'
        )
    if cfg.get('optim_wrapper', {}).get('type') == 'mmmsmlp.CPUAmpOptimWrapper':
        raise BadInput('--amp and FSDP do not go together on a CPU; leave one out')
