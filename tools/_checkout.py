"""Imported by a tool before the package: a checkout's tools run its own package.

Two clones side by side then never run each other's code, and nothing is installed.
"""

import os
import sys
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path

_root = Path(__file__).resolve().parents[1]
if (_root / 'mmmsmlp' / '__init__.py').is_file():
    sys.path.insert(0, str(_root))
    # Processes that a tool starts (data loader workers, tasks) need it too.
    _paths = [str(_root), os.environ.get('PYTHONPATH', '')]
    os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, _paths))

_missing = [name for name in ('torch', 'mmengine', 'mmcv') if find_spec(name) is None]
for _stream in sys.stdout, sys.stderr:
    if isinstance(_stream, TextIOWrapper):  # a name that the console lacks is no error
        _stream.reconfigure(errors='backslashreplace')

if _missing and not any(a.endswith(('.onnx', '.xml')) for a in sys.argv):
    print(
        f'error: {sys.executable} has no {", ".join(_missing)}; activate the '
        'environment that has them (bash tools/env.sh makes one and prints its python)',
        file=sys.stderr,
    )
    sys.exit(2)
