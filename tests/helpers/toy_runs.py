"""A run of milliseconds: one weight, whose losses a test writes down."""

from math import inf
from pathlib import Path

import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement


class Net(BaseModel):
    """One weight; in step k each term of the loss is its k-th factor of w^2."""

    def __init__(self, terms):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.register_buffer('mask', torch.tensor([-inf, 0.0]))  # infinite on purpose
        self.terms, self.step, self.output = terms, 0, 0.5

    def forward(self, inputs, data_samples=None, mode='tensor'):
        if mode == 'predict':
            score = torch.full((3,), self.output)
            return [
                BaseDataElement(metainfo=sample.metainfo, pred_score=score)
                for sample in data_samples
            ]
        step, self.step = self.step, self.step + 1
        square = self.weight.square().sum()
        return {k: f[step % len(f)] * square for k, f in self.terms.items()}


class Told(Net):
    """Its loss is told as ``said``, whatever it learns from."""

    def __init__(self, said):
        super().__init__(dict(loss=[1.0]))
        self.said = said

    def train_step(self, data, optim_wrapper):
        log = super().train_step(data, optim_wrapper)
        return dict(log, loss=torch.tensor(self.said[self.step - 1]))


class Score(BaseMetric):
    score = 4.0

    def process(self, data_batch, data_samples):
        self.results += data_samples

    def compute_metrics(self, results):
        return dict(score=self.score)


def collate(items):
    samples = [BaseDataElement(metainfo=dict(img_path=f'img/{i}.png')) for i in items]
    return dict(inputs=[torch.zeros(1)] * len(items), data_samples=samples)


def loader(count=8, batch=2):
    sampler = dict(type='DefaultSampler', shuffle=False)
    return dict(batch_size=batch, num_workers=0, sampler=sampler,
                dataset=list(range(count)), collate_fn=collate)  # fmt: skip


def runner(
    model,
    work_dir,
    guard=None,
    epochs=2,
    val=False,
    optimizer=None,
    cfg=None,
    saving=None,
    optim=None,
    **kwargs,
):
    optimizer = dict(type='SGD', lr=0.1) | (optimizer or {})
    evaluation = dict(
        val_dataloader=loader(4), val_cfg={}, val_evaluator=Evaluator(Score())
    )
    settings = dict(
        train_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=optimizer, **(optim or {})),
        default_hooks=dict(
            checkpoint=dict(
                type='CheckpointHook', interval=1, max_keep_ckpts=2, **(saving or {})
            ),
            divergence=dict(type='mmmsmlp.DivergenceHook', **(guard or {})),
        ),
        custom_hooks=[
            dict(type='mmmsmlp.FiniteOutputHook'),
            dict(type='mmmsmlp.ExpectedMetricsHook'),
        ],
        **(evaluation if val else {}),
    )
    return Runner(
        model=model,
        work_dir=str(work_dir),
        default_scope='mmengine',
        experiment_name=Path(work_dir).name,
        cfg=dict(
            train_dataloader=dict(batch_size=2),
            optim_wrapper=settings['optim_wrapper'],
            **(cfg or {}),
        ),
        **(settings | kwargs),
    )
