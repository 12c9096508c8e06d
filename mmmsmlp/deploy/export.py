"""Writing a model as one file that runs without this package, checked against it."""

import hashlib
import importlib.util
import os
import warnings
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from ..errors import BadInput
from ..ops.mixshift.dispatch import use_backend
from .compare import COARSE, HALF, Distance, Tolerance, distance
from .graph import Graph, graph_of
from .metadata import KEY, Metadata
from .pictures import find_images
from .pipeline import steps_of
from .reference import Reference
from .runtime import Deployed, load

SUFFIXES = dict(onnx='.onnx', openvino='.xml', torch='.pt2')
PACKAGES = dict(
    onnx=('onnx', 'onnxscript', 'onnxruntime'),
    openvino=('onnx', 'onnxscript', 'openvino'),
    torch=(),
)
OLDEST = (2, 6)  # PyTorch that exports open sizes
SAMPLE = (160, 192)  # the picture that is traced where sizes are open


def check_packages(kind: str, int8: bool = False) -> None:
    """Refuse a format whose packages are missing, or a PyTorch that is too old."""
    release = tuple(int(part) for part in torch.__version__.split('.')[:2])
    if release < OLDEST:
        raise BadInput(
            f'export needs PyTorch {".".join(map(str, OLDEST))} or newer, and this is '
            f'{torch.__version__}; a checkpoint of any stack can be exported on another'
        )
    needed = list(PACKAGES[kind])
    if int8 and 'onnxruntime' not in needed:
        needed.append('onnxruntime')  # which quantises
    missing = [name for name in needed if not importlib.util.find_spec(name)]
    if missing:
        raise BadInput(
            f'a {SUFFIXES[kind]} file needs {", ".join(missing)}: '
            f'pip install {" ".join(missing)}'
        )


def make_graph(
    model: Any, pipeline: list[dict[str, Any]], scope: str
) -> tuple[Graph, list[dict]]:
    """The graph of a model with its test pipeline, and the steps before it.

    Raises:
        BadInput: A head or a transform has no way into a graph; the message names it.
    """
    steps, pad = steps_of(pipeline)
    graph = graph_of(model, scope)
    graph.pixels.pad = pad
    return graph, steps


def check_windows(model: torch.nn.Module) -> None:
    """Refuse open sizes of a backbone that attends in windows."""
    backbone = getattr(model, 'backbone', model)
    layers = (type(module).__name__ for module in backbone.modules())
    kinds = ('WindowAttention', 'FocalAttention', 'WindowMSA')
    if any(layer in kinds for layer in layers):
        raise BadInput(
            f'{type(backbone).__name__} attends in windows, and with their number open '
            'PyTorch does not come to an end exporting them: give --shape HEIGHT '
            'WIDTH, to which every picture is then resized'
        )


def describe(
    graph: Graph,
    steps: list[dict],
    dataset: dict[str, Any],
    shape: tuple[int, int] | None,
    batch: int | None,
) -> Metadata:
    """The table that goes with a graph into its file.

    Args:
        dataset: ``dataset_meta`` of the checkpoint: classes, and often a palette.
    """
    classes = [str(name) for name in dataset.get('classes') or ()]
    palette = dataset.get('palette') or ()
    palette = [] if isinstance(palette, str) else [list(map(int, c)) for c in palette]
    return Metadata(
        task=graph.task,
        classes=classes,
        palette=palette,
        resize=steps,
        shape=list(shape) if shape else None,
        batch=batch,
        thresholds=list(graph.thresholds),
        limit=graph.limit,
        versions=_versions('torch', 'torchvision', 'onnx', 'onnxscript'),
    )


def _versions(*packages: str) -> dict[str, str]:
    from ..version import __version__

    found = {'mmmsmlp': __version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def sha256(file: str) -> str:
    """The digest of a file, of any size."""
    digest = hashlib.sha256()
    with open(file, 'rb') as source:
        while block := source.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def trace(
    graph: Graph, shape: tuple[int, int] | None, batch: int | None
) -> torch.export.ExportedProgram:
    """The graph as a program of PyTorch's.

    Args:
        shape: Height and width; None leaves them open.
        batch: Pictures at a time; None leaves that open.
    """
    height, width = shape or SAMPLE
    # A batch of one would be taken for one always.
    image = torch.randint(0, 256, (batch or 2, height, width, 3), dtype=torch.uint8)
    inputs = {'image': image}
    if graph.task != 'classification':
        inputs['size'] = torch.tensor([height + 8, width + 8])
    if graph.thresholds:
        inputs['score_threshold'] = torch.tensor(graph.thresholds[0])
    dynamic = torch.export.Dim.DYNAMIC
    axes = (() if batch else (0,)) + (() if shape else (1, 2))
    shapes: dict[str, Any] = dict.fromkeys(inputs)
    shapes['image'] = dict.fromkeys(axes, dynamic)
    # The operator's other backends are no operators of ONNX.
    with torch.no_grad(), use_backend('reference'), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return torch.export.export(
            graph, (), kwargs=inputs, dynamic_shapes=shapes, strict=False
        )


def converted(program: torch.export.ExportedProgram, kind: str, known: Metadata) -> Any:
    """A program as what files of a suffix hold: itself, or an ONNX model."""
    if kind == '.pt2':
        return program
    from . import onnx_file

    model = onnx_file.convert(program, known)
    if known.precision == 'float16':
        onnx_file.halve(model)
    return model


def write(model: Any, known: Metadata, file: str) -> None:
    """Write what :func:`converted` gave, with its metadata."""
    from . import onnx_file

    if Path(file).suffix == '.pt2':
        torch.export.save(model, file, extra_files={f'{KEY}.json': known.to_text()})
        return
    onnx_file.describe(model, known)
    if Path(file).suffix == '.onnx':
        onnx_file.save(model, file)
    else:
        onnx_file.save_openvino(model, known, file)


def verify(
    reference: Reference,
    deployed: Deployed,
    pictures: list[str],
    tolerance: Tolerance,
) -> dict[str, Any]:
    """Run both on pictures; gives what the metadata say of it.

    Raises:
        BadInput: They are farther apart than the tolerance.
    """
    total = compare(reference, deployed, pictures, tolerance)
    if not total.within(tolerance):
        raise BadInput(
            f'{deployed.runtime} is not equal to PyTorch on {len(pictures)} pictures: '
            f'{total.alike} of {total.count} results are alike '
            f'(at least {tolerance.alike:.0%} must be, to {asdict(tolerance)}); '
            'no file was written'
        )
    return dict(asdict(total), pictures=len(pictures), tolerance=asdict(tolerance))


def compare(
    reference: Reference, deployed: Deployed, pictures: list[str], tolerance: Tolerance
) -> Distance:
    """How far a deployed model is from PyTorch on pictures.

    Where it finds hardly anything, with no threshold: of weights that know nothing of
    these pictures, boxes of any score must be equal, too.
    """
    total = Distance()
    known = deployed.metadata
    detects = bool(known.thresholds)
    default = known.thresholds[0] if detects else None
    for threshold in [default, 0.0] if detects else [default]:
        for picture in pictures:
            expected = reference(picture, threshold)
            got = deployed(picture, threshold) if detects else deployed(picture)
            bounds = (threshold or 0.0, known.limit)
            total.add(distance(got, expected, tolerance, *bounds))
        if total.count >= 10:
            break
    if detects:
        reference.thresholds().score_thr = default
    return total


def export(
    model: Any,
    pipeline: list[dict[str, Any]],
    scope: str,
    file: str,
    pictures: list[str],
    dataset: dict[str, Any],
    origin: dict[str, str],
    shape: tuple[int, int] | None = None,
    batch: int | None = None,
    half: bool = False,
    int8: str | None = None,
) -> Metadata:
    """Export a model, run both, and leave a file only if they agree.

    Args:
        model: A detector, segmentor or classifier with its weights.
        pipeline: Of its tests.
        scope: mmdet, mmseg or mmpretrain.
        file: ``.onnx``, ``.xml`` (OpenVINO) or ``.pt2``.
        pictures: Files on which both must agree.
        dataset: ``dataset_meta``: the classes' names and colours.
        origin: What the file shall say of where it comes from.
        shape, batch: See :func:`trace`.
        half: Keep the weights as float16.
        int8: Pictures to quantise with, once the float model agrees; not with half.

    Raises:
        BadInput: It cannot be exported, or does not agree; no file is left.
    """
    if shape is None:
        check_windows(model)
    if int8:
        find_images(int8)  # refuses a folder without any before the work
    graph, steps = make_graph(model, pipeline, scope)
    known = describe(graph, steps, dataset, shape, batch)
    known.origin, known.precision = origin, 'float16' if half else 'float32'
    ready = converted(trace(graph, shape, batch), Path(file).suffix, known)
    part = str(Path(file).with_name(f'.part-{os.getpid()}-{Path(file).name}'))
    try:
        write(ready, known, part)
        tolerance = HALF if half else Tolerance()
        reference = Reference(model, pipeline, scope)
        known.verified = verify(reference, load(part), pictures, tolerance)
        if int8:
            from .quantise import quantise

            ready, known.precision = quantise(ready, known, int8), 'int8'
            write(ready, known, part)
            near = compare(reference, load(part), pictures, COARSE)
            known.verified['int8'] = asdict(near)
        write(ready, known, part)
        for piece in pieces(part):
            piece.replace(piece.with_name(piece.name.split('-', 2)[2]))
    finally:
        for piece in pieces(part):
            piece.unlink()
    return known


def pieces(file: str) -> list[Path]:
    """The files that a model is written as: OpenVINO has its weights beside it."""
    path = Path(file)
    both = [path, path.with_suffix('.bin')] if path.suffix == '.xml' else [path]
    return [piece for piece in both if piece.exists()]
