"""Hooks of an evaluation: outputs that are no numbers, and metrics that never come."""

from collections.abc import Iterator
from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import CheckpointHook, EarlyStoppingHook, Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..errors import BadInput, join_some
from ..registry import HOOKS
from .divergence import images_of

SAMPLED = 4096  # values of an output that are looked at


@HOOKS.register_module()
class FiniteOutputHook(Hook):
    """Says which images' outputs, in evaluation, hold a NaN or an infinity."""

    def __init__(self) -> None:
        self.images: list[str] = []

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Look at some thousand values of each output."""
        for sample in outputs or ():
            if any(map(_spoilt, _predicted(sample))):
                self.images += images_of(sample)

    after_test_iter = after_val_iter

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Warn, and begin anew."""
        nan = [k for k, v in (metrics or {}).items() if v != v]
        images = [one for seen in all_gather_object(self.images) for one in seen]
        if images:
            runner.logger.warning(
                f'the outputs of {len(images)} images are not finite, though the '
                f'weights are: {join_some(images)}; their scores mean nothing'
            )
        elif nan:
            runner.logger.warning(
                f'the evaluation gives nan for {join_some(nan)}: there was nothing to '
                'measure, or an output is not finite'
            )
        self.images = []

    after_test_epoch = after_val_epoch


def _predicted(sample: Any, inside: bool = False) -> Iterator[Tensor]:
    if not isinstance(sample, BaseDataElement):
        return
    for name, value in sample.items():
        ours = inside or name.startswith('pred') or name == 'seg_logits'
        if ours and isinstance(value, Tensor) and value.is_floating_point():
            yield value
        elif ours:
            yield from _predicted(value, inside=True)


def _spoilt(tensor: Tensor) -> bool:
    values = tensor.flatten()
    return not values[:: max(1, len(values) // SAMPLED)].isfinite().all()


@HOOKS.register_module()
class ExpectedMetricsHook(Hook):
    """Refuses to go on where a metric that the config waits for never comes.

    mmengine ends in a KeyError for ``save_best``; early stopping waits for ever.
    """

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Look for the names that ``save_best`` and early stopping name.

        Raises:
            BadInput: One is not among the metrics.
        """
        for what, name in _expected(runner):
            if metrics and name != 'auto' and name not in metrics:
                raise BadInput(
                    f'{what}={name!r} is none of what this evaluation gives: '
                    f'{join_some(map(repr, metrics), 20)}'
                )

    def after_train(self, runner: Runner) -> None:
        """Leave out, of what shall be published, the best ones that never came."""
        for hook in runner.hooks:
            best = getattr(hook, 'best_ckpt_path_dict', None)
            if isinstance(hook, CheckpointHook) and best and hook.published_keys:
                never = [name for name, path in best.items() if not path]
                hook.best_ckpt_path_dict = {k: v for k, v in best.items() if v}
                if never:
                    runner.logger.warning(
                        f'nothing is published for the best {join_some(never)}: '
                        'no evaluation gave a value'
                    )


def _expected(runner: Runner) -> Iterator[tuple[str, str]]:
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook):
            for name in hook.save_best or ():
                yield 'default_hooks.checkpoint.save_best', name
        elif isinstance(hook, EarlyStoppingHook):
            yield 'monitor of EarlyStoppingHook', hook.monitor
