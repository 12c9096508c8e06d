"""8-bit weights and activations, by ONNX Runtime's static quantisation."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .metadata import Metadata
from .pictures import find_images
from .resize import prepare, read_picture

# Pictures whose ranges are looked at; more of them change little.
MOST = 64


class Pictures:
    """Pictures as ONNX Runtime's calibration wants them, one a call of ``get_next``."""

    def __init__(self, files: list[str], known: Metadata) -> None:
        self.files, self.known = iter(files), known

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The graph's inputs for the next picture; None after the last."""
        file = next(self.files, None)
        if file is None:
            return None
        picture = read_picture(file)
        ready = prepare(picture, self.known.resize)
        batch = np.repeat(ready[None], self.known.batch or 1, 0)
        inputs: dict[str, Any] = {'image': batch}
        if self.known.task != 'classification':
            inputs['size'] = np.array(picture.shape[:2], np.int64)
        for name, value in zip(
            ('score_threshold', 'nms_threshold'), self.known.thresholds, strict=False
        ):
            inputs[name] = np.array(value, np.float32)
        return inputs


def layers(model: Any) -> list[str]:
    """The nodes that multiply with weights: layers, and no post-processing."""
    weights = {tensor.name for tensor in model.graph.initializer}
    kinds = ('Conv', 'Gemm', 'MatMul')
    return [
        node.name
        for node in model.graph.node
        if node.op_type in kinds and node.input[1] in weights
    ]


def quantise(model: Any, known: Metadata, source: str) -> Any:
    """An ONNX model whose layers compute with 8 bits.

    Args:
        source: A folder of pictures like those to come; ranges are theirs.

    Raises:
        BadInput: There is no picture in it, or one cannot be read.
    """
    import onnx
    from onnxruntime import quantization

    files = find_images(source)[:MOST]
    with TemporaryDirectory() as folder:
        before, after = Path(folder, 'float.onnx'), Path(folder, 'int8.onnx')
        onnx.save(model, before)
        quantization.quantize_static(
            before,
            after,
            Pictures(files, known),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            # Of 8 bits times 8, CPUs without VNNI add pairs in 16, which 7 fit.
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_quantize=layers(model),
        )
        return onnx.load(after)
