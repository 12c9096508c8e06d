"""ONNX files: conversion, the threshold of suppression, half weights, metadata."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import BadInput
from .metadata import KEY, OUTPUTS, Metadata

# A weight of fewer numbers stays as it is: a mean, a scale, a shape.
SMALL = 256


def convert(program: torch.export.ExportedProgram, known: Metadata) -> Any:
    """A program as an ONNX model (``onnx.ModelProto``) of default operators.

    Raises:
        BadInput: An operator has no ONNX form; the message names it.
    """
    chatter = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(chatter),
            warnings.catch_warnings(),
            torch.no_grad(),
        ):
            warnings.simplefilter('ignore')
            converted = torch.onnx.export(
                program, dynamo=True, output_names=list(OUTPUTS[known.task])
            )
    except torch.onnx.OnnxExporterError as error:
        reason: BaseException = error
        while reason.__cause__ is not None:
            reason = reason.__cause__
        raise BadInput(
            f'torch.onnx cannot convert it: {str(reason).splitlines()[0][:300]}'
        ) from error
    assert converted is not None
    model = converted.model_proto
    foreign = {node.op_type for node in model.graph.node if node.domain}
    if foreign:
        raise BadInput(f'it has operators that are not ONNX: {", ".join(foreign)}')
    if known.thresholds:
        open_threshold(model)
    for node in model.graph.node:  # where each came from, with paths of this machine
        del node.metadata_props[:]
    return model


def open_threshold(model: Any) -> None:
    """Make the overlap of the last suppression an input, ``nms_threshold``.

    PyTorch's operator takes a number there, which no program leaves open.
    """
    import onnx

    last = [node for node in model.graph.node if node.op_type == 'NonMaxSuppression'][
        -1
    ]
    last.input[3] = 'nms_threshold'
    kind = onnx.TensorProto.FLOAT
    model.graph.input.append(
        onnx.helper.make_tensor_value_info('nms_threshold', kind, [])
    )


def halve(model: Any) -> None:
    """Keep weights as float16; a Cast gives them back, which runtimes fold away.

    Raises:
        BadInput: A weight is too large for float16.
    """
    import onnx
    from onnx import numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < SMALL:
            continue
        if np.abs(values).max() > np.finfo(np.float16).max:
            raise BadInput(f'{tensor.name} has weights beyond 65504; leave --half out')
        name = tensor.name
        halved = numpy_helper.from_array(values.astype(np.float16), f'{name}.half')
        tensor.CopyFrom(halved)
        casts.append(
            onnx.helper.make_node(
                'Cast', [f'{name}.half'], [name], to=onnx.TensorProto.FLOAT
            )
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def describe(model: Any, known: Metadata) -> None:
    """Write the metadata into a model, in place of what it had."""
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, known.to_text()


def save(model: Any, file: str) -> None:
    """Write a model, checked by ONNX's own rules."""
    import onnx

    onnx.checker.check_model(model)
    onnx.save(model, file)


def save_openvino(model: Any, known: Metadata, file: str) -> None:
    """Write a model as OpenVINO's ``.xml`` and ``.bin``."""
    import openvino

    source = Path(file).with_suffix('.onnx')
    try:
        save(model, str(source))
        converted = openvino.convert_model(source)
        converted.set_rt_info(known.to_text(), [KEY])
        openvino.save_model(
            converted, file, compress_to_fp16=known.precision == 'float16'
        )
    finally:
        source.unlink(missing_ok=True)
