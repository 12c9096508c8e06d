"""What runs a file: ONNX Runtime, OpenVINO, or torch for a ``.pt2``.

A session is called with arrays by the names of the graph's inputs, from any number of
threads at once, and gives the outputs in their order.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BadInput
from .metadata import KEY

Run = Callable[[dict[str, np.ndarray]], list[np.ndarray]]

# The package of each runtime, and the files that it runs.
RUNTIMES = {
    'onnxruntime': ('.onnx',),
    'openvino': ('.onnx', '.xml'),
    'torch': ('.pt2',),
}
SUFFIXES = sorted({suffix for kinds in RUNTIMES.values() for suffix in kinds})


def is_exported(file: str) -> bool:
    """Whether a checkpoint's name is that of an exported model."""
    return Path(file).suffix in SUFFIXES


def open_session(file: str, runtime: str | None, threads: int) -> tuple[str, Run, str]:
    """Open a file.

    Args:
        runtime: A key of :data:`RUNTIMES`; the first one that is installed if None.
        threads: That compute one call; 0 for the runtime's own choice.

    Returns:
        The runtime, the session, and the text of the file's metadata.

    Raises:
        BadInput: There is no such file, nothing that runs it, or it is too new.
    """
    path = Path(file)
    fitting = [name for name in RUNTIMES if path.suffix in RUNTIMES[name]]
    if not fitting:
        raise BadInput(
            f'{file} is no exported model; one ends in {", ".join(SUFFIXES)}'
        )
    if not path.is_file():
        raise BadInput(f'{file} does not exist; tools/export.py writes such files')
    if runtime is not None and runtime not in fitting:
        raise BadInput(f'{runtime!r} does not run {file}; {" or ".join(fitting)} does')
    names = [runtime] if runtime else fitting
    for name in names:
        try:
            module = import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            continue
        run, text = OPENERS[name](module, path, threads)
        return name, run, text
    raise BadInput(f'{file} needs {" or ".join(names)}: pip install {names[0]}')


def _onnxruntime(module: Any, path: Path, threads: int) -> tuple[Run, str]:
    options = module.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # of warnings a user can do nothing about
    # Others, such as TensorRT's, compile for each size or compute in less precision.
    usual = ('CUDAExecutionProvider', 'CPUExecutionProvider')
    providers = [name for name in usual if name in module.get_available_providers()]
    try:
        session = module.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its own kinds, all derived from Exception alone
        raise BadInput(
            f'onnxruntime {module.__version__} cannot open {path} '
            f'({str(error).splitlines()[0]}); where it is too old for the opset: '
            'pip install -U onnxruntime'
        ) from error

    def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return session.run(None, inputs)

    return run, session.get_modelmeta().custom_metadata_map.get(KEY, '')


def _openvino(module: Any, path: Path, threads: int) -> tuple[Run, str]:
    core = module.Core()
    settings: dict[str, Any] = {}
    if threads:
        settings['INFERENCE_NUM_THREADS'] = threads
    # A CPU with bfloat16 would use it unasked, and give other boxes.
    settings['INFERENCE_PRECISION_HINT'] = 'f32'
    try:
        model = core.read_model(path)
        compiled = core.compile_model(model, 'CPU', settings)
    except RuntimeError as error:
        raise BadInput(
            f'openvino {module.__version__} cannot open {path} '
            f'({str(error).splitlines()[-1]}); pip install -U openvino'
        ) from error
    place = ['framework', KEY] if path.suffix == '.onnx' else [KEY]
    text = model.get_rt_info(place).value if model.has_rt_info(place) else ''

    def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        found = compiled.create_infer_request().infer(inputs)  # one a thread
        return [found[output].copy() for output in compiled.outputs]

    return run, text


def _torch(module: Any, path: Path, threads: int) -> tuple[Run, str]:
    extra = {f'{KEY}.json': ''}
    import_module('torchvision')  # whose operators a detector's program has
    try:
        program = module.export.load(path, extra_files=extra).module()
    except Exception as error:  # of many kinds: of zip, of JSON, of its own
        raise BadInput(
            f'torch {module.__version__} cannot open {path} ({error}); where it is '
            'older than the PyTorch that exported it: pip install -U torch'
        ) from error
    if threads:
        module.set_num_threads(threads)

    def run(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        tensors = {name: module.from_numpy(array) for name, array in inputs.items()}
        with module.no_grad():
            found = program(**tensors)
        return [x.numpy() for x in (found if isinstance(found, tuple) else (found,))]

    return run, extra[f'{KEY}.json']


OPENERS = dict(onnxruntime=_onnxruntime, openvino=_openvino, torch=_torch)
