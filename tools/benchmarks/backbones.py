"""Measurements of whole backbones: inference, training step, peak memory."""

from collections.abc import Callable, Iterator, Sequence
from statistics import median

import torch

from .memory import peak_bytes
from .models import BASELINES, Subject
from .settings import Settings
from .timing import speed_over

TRIALS = 2  # samples of each memory layout before the better one is kept


def inference_call(subject: Subject, settings: Settings) -> Callable[[], object]:
    """The forward pass in evaluation mode."""
    model, x = subject.model, settings.images(subject.layout)
    model.eval()  # not chained: a peer's returns None

    def call():
        with torch.inference_mode(), settings.autocast():
            return model(x)

    return call


def training_call(subject: Subject, settings: Settings) -> Callable[[], object]:
    """Forward pass, and backward from gradients as a head would send them.

    Every parameter gets its gradient, which is dropped before the next step.
    """
    model, x = subject.model, settings.images(subject.layout)
    model.train()
    with torch.no_grad(), settings.autocast():
        grads = [torch.randn_like(y) for y in model(x)]

    def call():
        with settings.autocast():
            outputs = model(x)
        torch.autograd.backward(outputs, grads)
        model.zero_grad(set_to_none=True)

    return call


CALLS = {'inference': inference_call, 'training': training_call}


def time_backbones(
    section: str, subjects: Sequence[Subject], settings: Settings
) -> Iterator[dict]:
    """Time a section of CALLS for every model, each in its better layout."""
    calls = {s: CALLS[section](s, settings) for s in subjects}
    kept = better_layouts(calls, settings)
    times = settings.time({s: calls[s] for s in kept})
    rivals = {s.key: s for s in kept if s.key in BASELINES}
    for subject in kept:
        seconds = median(times[subject])
        yield settings.row(
            section,
            subject.key,
            subject.label,
            subject.layout,
            ms=1e3 * seconds,
            images_per_s=settings.shape[0] / seconds,
            over={k: speed_over(times, subject, rival) for k, rival in rivals.items()},
        )


def better_layouts(calls: dict, settings: Settings) -> list[Subject]:
    """Of each model's layouts the one whose fastest trial was faster."""
    keys = [subject.key for subject in calls]
    tried = {s: call for s, call in calls.items() if keys.count(s.key) > 1}
    times = settings.time(tried, TRIALS)
    best = {}
    for subject in calls:
        fastest = min(times.get(subject, [0]))
        if subject.key not in best or fastest < best[subject.key][0]:
            best[subject.key] = fastest, subject
    return [subject for _, subject in best.values()]


def weigh_backbones(subjects: Sequence[Subject], settings: Settings) -> Iterator[dict]:
    """Peak of a training step above weights and input, in the better layout each."""
    best = {}
    for subject in subjects:
        call = training_call(subject, settings)
        call()  # what is made once and kept is not the step's
        peak = peak_bytes(call, settings.device)
        if subject.key not in best or peak < best[subject.key][0]:
            best[subject.key] = peak, subject
    for key, (peak, subject) in best.items():
        yield settings.row(
            'memory',
            key,
            subject.label,
            subject.layout,
            mb=peak / 1e6,
            of={k: peak / best[k][0] for k in BASELINES if k in best},
        )
