#!/usr/bin/env python
"""mmcv's operators without a compiler: whose they are, and installing ours as a wheel.

    python -m mmmsmlp mmcv-ops            # status: which operators are whose
    python -m mmmsmlp mmcv-ops install    # torchvision's and torch's, as mmcv/_ext.py
    python -m mmmsmlp mmcv-ops remove     # takes them away again

``import mmmsmlp`` finds the same operators by itself; installed, they serve programs
that do not import it. A compiled mmcv always wins. Standard library only.
"""

import argparse
import ast
import base64
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import import_module, metadata, util
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from pathlib import Path
from types import ModuleType
from typing import NoReturn

DISTRIBUTION = 'mmmsmlp-mmcv-ops'
INSTALLED = '_mmmsmlp_ops'  # the folder in mmcv
MODULE = f'''"""mmcv's operators by torchvision and torch (of {DISTRIBUTION})."""

import sys

if 'mmmsmlp' in sys.modules:  # its own, which may be newer than the copy here
    from mmmsmlp.mmcv_ops.ext import *  # noqa: F403
    from mmmsmlp.mmcv_ops.ext import __getattr__  # noqa: F401
else:
    from .{INSTALLED}.ext import *  # noqa: F403
    from .{INSTALLED}.ext import __getattr__  # noqa: F401
'''


def stop(message: str) -> NoReturn:
    print(f'error: {message}', file=sys.stderr)
    sys.exit(2)


def our_operators() -> Path:
    """The folder of the operators: of the checkout, or of the installed package."""
    here = Path(__file__).resolve()
    places = [here.parents[1] / 'mmmsmlp' / 'mmcv_ops', here.parents[2] / 'mmcv_ops']
    for place in places:
        if (place / 'ext.py').is_file():
            return place
    stop(f'no operators at {" or ".join(map(str, places))}; install mmmsmlp anew')


def folder_of_mmcv() -> Path:
    spec = util.find_spec('mmcv')
    if spec is None or not spec.submodule_search_locations:
        stop(
            f'{sys.executable} has no mmcv; install one first (pip install onedl-mmcv, '
            'or for the upstream toolboxes mmcv-lite)'
        )
    return Path(spec.submodule_search_locations[0])


def extension_of(mmcv: Path) -> Path | None:
    """The file of ``mmcv._ext``, without the finder of mmmsmlp; None: there is none."""
    spec = PathFinder.find_spec('mmcv._ext', [str(mmcv)])
    return Path(spec.origin) if spec and spec.origin else None


def is_compiled(extension: Path | None) -> bool:
    return extension is not None and extension.name.endswith(tuple(EXTENSION_SUFFIXES))


def is_ours(extension: Path) -> bool:
    return extension.name == '_ext.py' and INSTALLED in extension.read_text('utf-8')


def check_beneath() -> None:
    for name in ('torch', 'torchvision'):
        if util.find_spec(name) is None:
            stop(
                f'{sys.executable} has no {name}, which the operators run on; pip '
                'install torch torchvision'
            )


def installed_version() -> str | None:
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return None


# --- status ----------------------------------------------------------------------


def names_in(mmcv: Path) -> list[str]:
    """The operators that mmcv's own files ask ``_ext`` for."""
    names: set[str] = set()
    for path in sorted((mmcv / 'ops').glob('*.py')):
        for node in ast.walk(ast.parse(path.read_text('utf-8'))):
            called = getattr(node, 'func', None)
            if isinstance(called, ast.Attribute) and called.attr == 'load_ext':
                names.update(ast.literal_eval(node.args[1]))
    return sorted(names)


def load_ours() -> ModuleType:
    """The module ``ext`` of the folder, by itself: mmmsmlp needs not be there."""
    folder, name = our_operators(), INSTALLED
    spec = util.spec_from_file_location(
        name, folder / '__init__.py', submodule_search_locations=[str(folder)]
    )
    sys.modules[name] = util.module_from_spec(spec)
    return import_module(f'{name}.ext')


def status(mmcv: Path) -> None:
    extension, names = extension_of(mmcv), names_in(mmcv)
    if is_compiled(extension):
        print(f'mmcv._ext: compiled, {extension}\nall {len(names)} operators: its own')
        return
    if extension is None:
        print(
            f'mmcv._ext: not in {mmcv}; after "import mmmsmlp" it is the following, '
            'and by "python -m mmmsmlp mmcv-ops install" always'
        )
    elif is_ours(extension):
        print(f'mmcv._ext: {extension}, of {DISTRIBUTION} {installed_version()}')
    else:
        stop(f"{extension} is neither compiled nor {DISTRIBUTION}'s; its owner knows")
    check_beneath()
    libraries = load_ours().LIBRARIES
    for library in ('torchvision', 'torch'):
        print_names(f'by {library}', [n for n in names if libraries.get(n) == library])
    absent = [n for n in names if n not in libraries and not n.startswith('get_comp')]
    print_names('not there, raise when called', absent)


def print_names(title: str, names: list[str]) -> None:
    print(f'\n{title} ({len(names)}):')
    print('\n'.join(f'  {name}' for name in names))


# --- install and remove ------------------------------------------------------------


def files_of_wheel(version: str) -> Iterator[tuple[str, str]]:
    """Name and text of every file but RECORD; a compiled module beside it wins."""
    yield 'mmcv/_ext.py', MODULE
    for path in sorted(our_operators().glob('*.py')):
        if path.name != 'finder.py':
            yield f'mmcv/{INSTALLED}/{path.name}', path.read_text('utf-8')
    info = f'{DISTRIBUTION.replace("-", "_")}-{version}.dist-info'
    yield (
        f'{info}/METADATA',
        f'Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version}\n'
        "Summary: mmcv's compiled operators by torchvision and torch\n"
        'License: Apache-2.0\n',
    )
    yield (
        f'{info}/WHEEL',
        'Wheel-Version: 1.0\nGenerator: mmmsmlp\nRoot-Is-Purelib: true\n'
        'Tag: py3-none-any\n',
    )


def write_wheel(folder: Path) -> Path:
    text = (our_operators().parent / 'version.py').read_text('utf-8')
    (version,) = re.findall("__version__ = '(.+)'", text)
    name = f'{DISTRIBUTION.replace("-", "_")}-{version}'
    record = ''
    with zipfile.ZipFile(folder / f'{name}-py3-none-any.whl', 'w') as wheel:
        for path, content in files_of_wheel(version):
            data = content.encode()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest())
            record += f'{path},sha256={digest.decode().rstrip("=")},{len(data)}\n'
            wheel.writestr(path, data)
        path = f'{name}.dist-info/RECORD'
        wheel.writestr(path, f'{record}{path},,\n')
    return Path(wheel.filename)


def pip(*arguments: str) -> None:
    """Run pip of this Python; its complaint is the error."""
    if util.find_spec('pip') is None:
        stop(f'{sys.executable} has no pip; run {sys.executable} -m ensurepip first')
    command = [sys.executable, '-m', 'pip', '--disable-pip-version-check', *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        stop(f'{" ".join(command)} failed:\n{result.stderr.strip()}')


def check_place(mmcv: Path) -> list[str]:
    """How pip reaches the folder that holds mmcv; an error where it cannot."""
    import site
    import sysconfig

    place = mmcv.resolve().parent
    if not all(os.access(folder, os.W_OK) for folder in (place, mmcv)):
        stop(
            f'{mmcv} is not writable; run this as the owner of that Python, or make an '
            'environment of your own (python -m venv) with mmcv in it'
        )
    if place in {Path(sysconfig.get_path(p)).resolve() for p in ('purelib', 'platlib')}:
        return []
    if place == Path(site.getusersitepackages()).resolve():
        return ['--user']
    stop(
        f'mmcv is at {mmcv}, outside of the packages of {sys.executable}, and pip '
        'writes only there; install mmcv into this Python, or leave it: "import '
        'mmmsmlp" finds the operators without installing'
    )


def install(mmcv: Path) -> None:
    extension = extension_of(mmcv)
    if is_compiled(extension):
        print(f'mmcv._ext is compiled ({extension}): it stays, nothing to install')
        return
    if extension is not None and not is_ours(extension):
        stop(f"{extension} is not {DISTRIBUTION}'s; move it away, or leave it as it is")
    check_beneath()
    where = check_place(mmcv)
    with tempfile.TemporaryDirectory() as folder:
        wheel = str(write_wheel(Path(folder)))
        options = ['--no-deps', '--no-index', '--force-reinstall', '--quiet', *where]
        pip('install', *options, wheel)
    print(f'mmcv._ext is {mmcv / "_ext.py"} now ({DISTRIBUTION} {installed_version()})')


def remove(mmcv: Path) -> None:
    if not (mmcv / INSTALLED).is_dir():
        print(f'{DISTRIBUTION} is not in {mmcv}: nothing to remove')
        return
    pip('uninstall', '--yes', '--quiet', DISTRIBUTION)
    print(f'{DISTRIBUTION} is gone')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = {'status': status, 'install': install, 'remove': remove}
    parser.add_argument('action', nargs='?', default='status', choices=actions)
    args = parser.parse_args()
    actions[args.action](folder_of_mmcv())


if __name__ == '__main__':
    main()
