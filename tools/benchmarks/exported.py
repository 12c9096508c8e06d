"""Whole models, exported or not: the time of a picture by each runtime."""

import warnings
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import torch
from mmengine.registry import MODELS, init_default_scope

from mmmsmlp.deploy import load
from mmmsmlp.deploy.graph import graph_of
from mmmsmlp.deploy.sessions import RUNTIMES, is_exported
from mmmsmlp.run.config import building, load_config
from mmmsmlp.run.launch import replace_sync_bn

from .machine import describe_machine
from .timing import interleave

Call = Callable[[], object]
SHAPE = (1, 480, 640)


def measure_exported(args: Namespace) -> dict:
    """Time configs (eager, compiled) and exported files (each runtime installed).

    Every model computes the whole graph, from 8-bit pictures to boxes or maps; rounds
    are interleaved. A config's weights are random, which changes how many boxes its
    head keeps: time files of one another, or backbones under one head.

    Args:
        args: Of ``tools/benchmark.py``: ``exported``, ``shapes``, ``rounds``.

    Returns:
        The machine and a row per model, runtime and shape, ready for JSON.
    """
    rows = []
    for shape in args.shapes or [SHAPE]:
        calls: dict[tuple[str, str], Call] = {}
        for name, called in names_of(args.exported).items():
            if is_exported(name):
                made = of_file(name, shape)
            else:
                made = of_config(name, shape, args.compiled)
            for runtime, call in made.items():
                calls[called, runtime] = call
        times = interleave(calls, args.rounds or 5, 'cpu', warmups=2)
        for key, samples in times.items():
            seconds = median(samples)
            rows.append(
                dict(
                    model=key[0],
                    runtime=key[1],
                    shape='x'.join(map(str, shape)),
                    ms=1000 * seconds,
                    images_per_s=shape[0] / seconds,
                )
            )
    return dict(machine=describe_machine('cpu'), exported=rows)


def names_of(models: Sequence[str]) -> dict[str, str]:
    """What each is called in the table: its file, or all of it where two share that."""
    files = Counter(Path(model).name for model in dict.fromkeys(models))
    names = {model: Path(model).name for model in models}
    return {model: name if files[name] == 1 else model for model, name in names.items()}


def pictures(shape: tuple[int, int, int]) -> np.ndarray:
    """Noise (N, H, W, 3), uint8."""
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def of_file(file: str, shape: tuple[int, int, int]) -> dict[str, Call]:
    """A call of an exported file for each runtime that is installed."""
    images, calls = pictures(shape), {}
    for runtime, suffixes in RUNTIMES.items():
        if Path(file).suffix in suffixes and find_spec(runtime):
            model = load(file, runtime, torch.get_num_threads())
            calls[runtime] = lambda model=model: model.run(images, shape[1:])
    return calls


def of_config(
    name: str, shape: tuple[int, int, int], compiled: bool
) -> dict[str, Call]:
    """The same graph by PyTorch: as it is, and by ``torch.compile``."""
    cfg = load_config(name)
    replace_sync_bn(cfg)
    init_default_scope(cfg.default_scope)
    with building(cfg.filename):
        model = MODELS.build(cfg.model)
    graph = graph_of(model, cfg.default_scope)
    inputs = {'image': torch.from_numpy(pictures(shape))}
    if graph.task != 'classification':
        inputs['size'] = torch.tensor(shape[1:])
    if graph.thresholds:
        inputs['score_threshold'] = torch.tensor(graph.thresholds[0])

    def call(graph: torch.nn.Module) -> Call:
        def run() -> object:
            with torch.inference_mode(), warnings.catch_warnings():
                warnings.simplefilter('ignore')
                return graph(**inputs)

        return run

    calls = {'eager': call(graph)}
    if compiled:
        calls['torch.compile'] = call(torch.compile(graph_of(model, cfg.default_scope)))
    return calls


def table(rows: list[dict]) -> list[list[str]]:
    """The rows as cells, the heading first."""
    cells = [['model', 'runtime', 'shape', 'ms', 'images/s']]
    for row in rows:
        speed = f'{row["images_per_s"]:.2f}'
        cells.append(
            [row['model'], row['runtime'], row['shape'], f'{row["ms"]:.0f}', speed]
        )
    return cells
