"""Is the package light, layered as the design says, and packed with its configs?"""

import ast
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from mmmsmlp.version import __version__

REPO = Path(__file__).parents[1]
PACKAGE = REPO / 'mmmsmlp'

TOOLBOXES = {'mmdet', 'mmseg', 'mmpretrain', 'timm', 'torchvision'}


def run_python(code):
    """Runs code in a fresh interpreter that sees this checkout first."""
    script = f'import sys; sys.path.insert(0, {str(REPO)!r})\n{code}'
    return subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, timeout=120
    )


def imported_modules(path, at_once=False):
    """Absolute dotted names of every module that a source file names in imports.

    ``at_once`` leaves out those that stand in functions, and so are imported later.
    """
    package = list(path.relative_to(REPO).parts[:-1])
    tree = ast.parse(path.read_text())
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    later = {n for function in functions for n in ast.walk(function)}
    names = set()
    for node in ast.walk(tree):
        if at_once and node in later:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = '.'.join([*base, *([node.module] if node.module else [])])
            names.update(f'{base}.{alias.name}' for alias in node.names)
    return names


def offenders(folder, forbidden):
    """'file imports module' for every import under folder that is forbidden."""
    return [
        f'{path.relative_to(REPO)} imports {name}'
        for path in sorted(folder.rglob('*.py'))
        for name in sorted(imported_modules(path))
        if any(name == module or name.startswith(module + '.') for module in forbidden)
    ]


def test_mmcv_ops_import_torch_and_torchvision_only():
    for path in sorted((PACKAGE / 'mmcv_ops').glob('*.py')):
        tree = ast.walk(ast.parse(path.read_text()))
        absolute = [n for n in tree if isinstance(n, ast.ImportFrom) and not n.level]
        names = {n.module.split('.')[0] for n in absolute} | {
            name.split('.')[0] for name in imported_modules(path)
        }
        theirs = names - sys.stdlib_module_names - {'mmmsmlp'}
        assert theirs <= {'torch', 'torchvision', 'numpy'}, path.name
        assert 'mmmsmlp' not in {n.module.split('.')[0] for n in absolute}, path.name


@pytest.mark.parametrize('use', ['', 'mmmsmlp.MSMLP', 'import mmmsmlp.ops'])
def test_import_loads_nothing_heavy(use):
    heavy = sorted({*TOOLBOXES, 'triton', 'mmcv.ops'})
    result = run_python(
        f'import mmmsmlp\n{use}\n'
        f'print([name for name in {heavy} if name in sys.modules])'
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == '[]'


def test_import_runs_the_code_of_this_checkout():
    result = run_python('import mmmsmlp; print(mmmsmlp.__file__, mmmsmlp.__version__)')
    assert result.stdout.split() == [str(PACKAGE / '__init__.py'), '0.1.0']


def test_the_citation_and_the_changelog_name_the_version():
    citation = (REPO / 'CITATION.cff').read_text().splitlines()
    assert f'version: {__version__}' in citation
    changelog = (REPO / 'CHANGELOG.md').read_text().splitlines()
    assert any(line.startswith(f'## {__version__} - ') for line in changelog)


# Who may import whom, from the ground up: a room, and the rooms that it may use.
ROOMS = {
    'version': set(),
    'errors': set(),
    'registry': set(),
    'configs': {'errors'},
    'demo': set(),
    'ops': set(),
    'mmcv_ops': set(),
    'data': {'errors'},
    'geometry': {'errors'},
    'checkpoints': {'errors', 'geometry'},
    'models': {'errors', 'registry', 'geometry', 'ops', 'checkpoints'},
    'engine': {'errors', 'registry', 'geometry', 'models', 'checkpoints', 'configs'},
}
ROOMS['explain'] = {'errors', 'models'}
ROOMS['swap'] = {'errors', 'registry'}
ROOMS['report'] = {'errors', 'data'}
ROOMS['deploy'] = {'errors', 'registry', 'version', 'ops'}
ROOMS['run'] = set(ROOMS)
ROOMS['__init__'] = {'registry', 'version', 'mmcv_ops'}  # the others: on first use
ROOMS['__main__'] = {'configs'}


def room_of(name):
    """The room of a module or of a name in one, such as 'mmmsmlp.ops.flops'."""
    found = name.removeprefix('mmmsmlp').strip('.').partition('.')[0]
    return found if found in ROOMS else '__init__'


def sources():
    """Every module of the package by its dotted name."""
    return {
        '.'.join(path.relative_to(REPO).with_suffix('').parts): path
        for path in sorted(PACKAGE.rglob('*.py'))
    }


@pytest.mark.parametrize('room', ROOMS)
def test_who_imports_whom(room):
    found = {
        f'{module} imports {name}'
        for module, path in sources().items()
        if room_of(module) == room
        for name in imported_modules(path)
        if name.split('.')[0] == 'mmmsmlp'
        and room_of(name) not in ROOMS[room] | {room, '__init__'}
    }
    assert found == set()


def test_the_package_has_no_other_rooms():
    rooms = {path.relative_to(PACKAGE).parts[0] for path in sources().values()}
    assert {room.removesuffix('.py') for room in rooms} == ROOMS.keys()


def test_nothing_but_tools_imports_run():
    tests = [*(REPO / 'tests').rglob('*.py')]
    users = {path for path in [*sources().values()] if 'run' not in path.parts}
    assert len(tests) > 50 and len(users) > 40
    assert not [path for path in users if 'mmmsmlp.run' in path.read_text()]


def test_no_module_imports_itself_in_a_circle():
    """Imports inside functions come later, and may go round."""
    modules = sources()

    def defined_in(name):
        parent = name.rpartition('.')[0]
        places = (name, f'{name}.__init__', parent, f'{parent}.__init__')
        return next((place for place in places if place in modules), None)

    uses = {
        module: {defined_in(name) for name in imported_modules(path, at_once=True)}
        - {None, module}
        for module, path in modules.items()
    }

    def walk(module, way):
        assert module not in way, f'a circle: {" -> ".join([*way, module])}'
        if module not in done:
            for other in sorted(uses[module]):
                walk(other, [*way, module])
            done.add(module)

    done = set()
    for module in modules:
        walk(module, [])


def test_a_newcomer_reads_any_file_in_one_sitting():
    """At most 86 files beside the rooms counted by themselves; none over 450 lines; no
    function over 60 but a kernel.
    """
    paths = [*sources().values(), *(REPO / 'tools').rglob('*.py')]
    counts = Counter(path.relative_to(PACKAGE).parts[0] for path in sources().values())
    assert counts.pop('mmcv_ops') <= 13 and counts.pop('data') <= 25
    assert counts.pop('swap') <= 8 and counts.pop('deploy') <= 22
    assert counts.pop('report') <= 13
    assert counts.pop('explain') <= 3
    assert counts.total() <= 86
    long = [path.name for path in paths if len(path.read_text().splitlines()) > 450]
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > 60:
                    long.append(node.name)
    assert long == ['correlate_region']


def test_ops_import_torch_only():
    assert offenders(PACKAGE / 'ops', ['mmengine', 'mmcv']) == []


def test_no_model_imports_a_toolbox():
    for folder in ('models', 'ops', 'checkpoints'):
        assert offenders(PACKAGE / folder, sorted(TOOLBOXES)) == []


def test_the_backbones_import_without_any_toolbox():
    result = run_python(
        f'sys.modules.update(dict.fromkeys({sorted(TOOLBOXES)}))\n'
        'import mmmsmlp.models, mmmsmlp.engine.hooks\n'
        'print(mmmsmlp.MSMLP.__name__)'
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == 'MSMLP'


def test_imported_modules_resolves_relative_imports(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], 'REPO', tmp_path)
    source = tmp_path / 'pkg' / 'sub' / 'file.py'
    source.parent.mkdir(parents=True)
    source.write_text('from ..models import net\nfrom . import near\nimport mmdet.x\n')
    assert imported_modules(source) == {'pkg.models.net', 'pkg.sub.near', 'mmdet.x'}
    assert offenders(source.parent, ['mmdet', 'pkg.models']) == [
        'pkg/sub/file.py imports mmdet.x',
        'pkg/sub/file.py imports pkg.models.net',
    ]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The names in a wheel built from a copy: building writes beside the sources."""
    pytest.importorskip('wheel')
    copy = tmp_path_factory.mktemp('checkout')
    sources = ['setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE', 'mmmsmlp',
               'configs', 'tools']  # fmt: skip
    for name in [*sources, 'README.md', 'model-index.yml']:
        if (REPO / name).is_dir():
            shutil.copytree(REPO / name, copy / name)
        elif (REPO / name).exists():
            shutil.copy(REPO / name, copy)
    out = tmp_path_factory.mktemp('wheel')
    command = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-index',
               '--no-build-isolation', '-w', out, copy]  # fmt: skip
    subprocess.run(command, check=True, timeout=120)
    (built,) = out.glob('mmmsmlp-0.1.0-*.whl')
    return zipfile.ZipFile(built)


def test_wheel_holds_the_package_and_its_configs(wheel):
    names = set(wheel.namelist())
    modules = {str(path.relative_to(REPO)) for path in PACKAGE.rglob('*.py')}
    assert modules | {'mmmsmlp/py.typed'} <= names
    for folder in ('configs', 'tools'):
        expected = {
            f'mmmsmlp/.mim/{path.relative_to(REPO)}'
            for path in (REPO / folder).rglob('*.py')
        }
        assert expected and expected <= names


def test_wheel_requires_no_toolbox_and_no_torch(wheel):
    """An exported model runs without torch; the backbones' extras have it."""
    metadata = wheel.read('mmmsmlp-0.1.0.dist-info/METADATA').decode()
    required = [
        line.split(':', 1)[1].strip()
        for line in metadata.splitlines()
        if line.startswith('Requires-Dist:') and 'extra ==' not in line
    ]
    assert required == ['numpy']
    for extra in ('det', 'seg', 'cls'):
        assert f"Requires-Dist: torch>=2.1; extra == '{extra}'" in metadata.replace(
            '"', "'"
        )
    assert "onnxruntime>=1.17; extra == 'deploy'" in metadata.replace('"', "'")
    assert 'Requires-Python: >=3.10' in metadata
