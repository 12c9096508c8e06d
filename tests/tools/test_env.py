"""Does tools/env.sh say what cannot work, and build once what can?

A stand-in for Python makes environments in no time: it records what pip was asked.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmmsmlp.__main__ import OF_THE_CHECKOUT

pytestmark = pytest.mark.full

REPO = Path(__file__).parents[2]
SYSTEM_TOOLS = [
    *('awk', 'bash', 'cat', 'cp', 'cut', 'dirname', 'flock', 'grep', 'mkdir', 'nproc'),
    *('rm', 'sed', 'sha256sum', 'sleep', 'tail', 'touch'),
]

FAKE_PYTHON = """\
#!/bin/bash
# Answers as Python {version} would, makes environments of itself, records pip.
echo "$@" >>{record}
case "$*" in
    *version_info*) echo {version} ;;
    '-m venv '*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
    *'-m pip'*{broken_step}*) echo 'the compiler broke'; exit 1 ;;
    *'-m pip'*) sleep {pip_seconds} ;;
esac
"""


@pytest.mark.parametrize(
    'tool',
    sorted(
        path.stem
        for path in (REPO / 'tools').glob('*.py')
        if '\nimport _checkout' in path.read_text(encoding='utf-8')
    ),
)
def test_a_tool_that_lacks_its_environment_says_so(tool):
    # Without site there are no packages but Python's own.
    for command in ([f'tools/{tool}.py'], ['-m', 'mmmsmlp', tool]):
        if tool in OF_THE_CHECKOUT and '-m' in command:
            continue
        result = subprocess.run(
            [sys.executable, '-S', *command],
            cwd=REPO,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 2 and not result.stdout
        assert 'has no torch, mmengine, mmcv; activate the env' in result.stderr
        assert result.stderr.count('\n') == 1


class Machine:
    """A machine of stand-ins: its PATH holds only what a test puts there."""

    def __init__(self, folder):
        self.bin, self.cache = folder / 'bin', folder / 'cache'
        self.record = folder / 'record'
        self.bin.mkdir()
        for name in SYSTEM_TOOLS:
            (self.bin / name).symlink_to(shutil.which(name))
        self.put('c++', 'cat >/dev/null')
        self.put('df', "printf 'header\\n- - - 99999999 - -\\n'")
        self.variables = {
            'PATH': str(self.bin),
            'HOME': str(folder),
            'PYENV_ROOT': str(folder / 'no-pyenv'),
            'MMMSMLP_ENV_ROOT': str(self.cache),
        }
        self.put_python('3.11')

    def put(self, name, script):
        (self.bin / name).write_text(f'#!/bin/bash\n{script}\n')
        (self.bin / name).chmod(0o755)

    def put_python(self, version, broken_step='no such step', pip_seconds=0):
        path = self.bin / f'python{version}'
        text = FAKE_PYTHON.format(
            version=version,
            record=self.record,
            broken_step=f"'{broken_step}'",
            pip_seconds=pip_seconds,
        )
        path.write_text(text)
        path.chmod(0o755)

    def popen(self, **variables):
        return subprocess.Popen(
            ['bash', str(REPO / 'tools' / 'env.sh'), 'tests'],
            env={**self.variables, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start(self, **variables):
        """Runs env.sh; returns its exit code, stdout and stderr."""
        process = self.popen(**variables)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def pip_calls(self):
        if not self.record.exists():
            return []
        lines = self.record.read_text().splitlines()
        return [line for line in lines if line.startswith('-m pip')]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def assert_refused(machine, message, **variables):
    """Asserts that nothing is built, and that the one error holds `message`."""
    code, out, err = machine.start(**variables)
    assert code == 2, err
    assert out == ''
    errors = [line for line in err.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1, err
    assert re.search(message, errors[0]), errors[0]
    assert not machine.cache.exists()
    assert machine.pip_calls() == []


def test_no_compiler_is_needed(machine):
    machine.put('c++', 'exit 1')
    code, out, err = machine.start()
    assert code == 0, err
    assert 'py3.11-maintained/bin/python' in out
    assert any(call.endswith('onedl-mmcv==2.3.6') for call in machine.pip_calls())
    assert 'tools/mmcv_ops.py install' in machine.record.read_text()


def test_operators_of_mmcv_are_compiled_on_request(machine):
    code, out, err = machine.start(MMMSMLP_COMPILE_MMCV='1')
    assert code == 0, err
    assert 'py3.11-maintained-compiled-cpu/bin/python' in out
    assert 'mmcv_ops' not in machine.record.read_text()
    (call,) = [call for call in machine.pip_calls() if 'onedl-mmcv==' in call]
    assert '--no-build-isolation' in call


def test_compiling_without_a_compiler(machine):
    machine.put('c++', 'exit 1')
    assert_refused(
        machine,
        r"no working C\+\+ compiler \('c\+\+'\).*apt-get install g\+\+.*or unset it",
        MMMSMLP_COMPILE_MMCV='1',
    )


def test_a_wheel_of_mmcv_is_taken(machine, tmp_path):
    wheels = tmp_path / 'wheels'
    wheels.mkdir()
    (wheels / 'onedl_mmcv-2.3.6-cp311-cp311-linux_x86_64.whl').touch()
    code, out, err = machine.start(PIP_FIND_LINKS=f'/nowhere {wheels}')
    assert code == 0, err
    assert 'maintained-wheel/bin/python' in out
    assert 'mmcv, from the wheel in PIP_FIND_LINKS' in err
    assert 'mmcv_ops' not in machine.record.read_text()


def test_upstream(machine, tmp_path):
    machine.put_python('3.10')
    activated = virtualenv_with(tmp_path, 'torch', '2.11.0')
    code, out, err = machine.start(MMMSMLP_STACK='upstream', VIRTUAL_ENV=activated)
    assert code == 0, err
    assert '-py3.10-upstream/bin/python' in out
    calls = ' '.join(machine.pip_calls())
    assert 'requirements/upstream/build.txt' in calls
    assert 'mmcv-lite==2.1.0' in calls and 'maintained' not in calls


def test_upstream_is_compiled_from_the_full_mmcv(machine):
    code, out, err = machine.start(MMMSMLP_STACK='upstream', MMMSMLP_COMPILE_MMCV='1')
    assert code == 0, err
    assert any(call.endswith(' mmcv==2.1.0') for call in machine.pip_calls())


def test_a_python_that_upstream_has_no_torch_for(machine):
    machine.put_python('3.13')
    (machine.bin / 'python3.11').unlink()
    assert_refused(
        machine, r'no usable Python 3\.10, 3\.11; found: \S+', MMMSMLP_STACK='upstream'
    )


def test_an_unknown_stack(machine):
    assert_refused(
        machine, "MMMSMLP_STACK is 'old'; set it to maintained", MMMSMLP_STACK='old'
    )


def test_python_outside_the_range(machine):
    (machine.bin / 'python3.11').unlink()
    machine.put('python3', 'echo 3.9')
    assert_refused(
        machine, r'no usable Python 3\.11, .* 3\.13; found: \S+/python3 \(3\.9\)\.'
    )


def test_a_named_python_outside_the_range(machine):
    machine.put_python('3.14')
    assert_refused(
        machine, r'found: \S+/python3\.14 \(3\.14\)', MMMSMLP_PYTHON='python3.14'
    )


def test_python_3_11_is_preferred(machine):
    for version in ('3.10', '3.12', '3.13'):
        machine.put_python(version)
    code, out, err = machine.start()
    assert code == 0, err
    assert '-py3.11-maintained/bin/python' in out


def test_too_little_disk(machine):
    machine.put('df', "printf 'header\\n- - - 3200000 - -\\n'")
    assert_refused(machine, r'has 3 GB free, and the environment takes 12 GB')


def test_less_disk_will_do_without_the_cache_of_pip(machine):
    machine.put('df', "printf 'header\\n- - - 9999999 - -\\n'")
    assert_refused(machine, r'has 9 GB free, .* PIP_NO_CACHE_DIR=1')
    code, _, err = machine.start(PIP_NO_CACHE_DIR='1')
    assert code == 0, err


def test_a_gpu_without_nvcc(machine):
    machine.put('nvidia-smi', 'exit 0')
    assert_refused(
        machine,
        r'nvcc is missing, and .* CUDA 13\.0\. Install',
        CUDA_HOME='/no',
        MMMSMLP_COMPILE_MMCV='1',
    )


def test_a_gpu_with_the_nvcc_of_another_cuda(machine):
    machine.put('nvidia-smi', 'exit 0')
    machine.put('nvcc', "echo 'Cuda compilation tools, release 12.4, V12.4.131'")
    assert_refused(
        machine,
        r'nvcc is 12\.4, and .* CUDA 13\.0\. Install .* CUDA_VISIBLE_DEV',
        MMMSMLP_COMPILE_MMCV='1',
    )


def test_a_gpu_with_the_matching_nvcc_builds_cuda_operators(machine):
    machine.put('nvidia-smi', 'exit 0')
    machine.put('nvcc', "echo 'Cuda compilation tools, release 13.0, V13.0.48'")
    code, out, err = machine.start(MMMSMLP_COMPILE_MMCV='1')
    assert code == 0, err
    assert '-cuda/bin/python' in out and 'mmcv with cuda operators' in err


def test_a_hidden_gpu_needs_no_nvcc(machine):
    machine.put('nvidia-smi', 'exit 0')
    code, out, err = machine.start(CUDA_VISIBLE_DEVICES='', MMMSMLP_COMPILE_MMCV='1')
    assert code == 0, err
    assert '-cpu/bin/python' in out


def test_every_problem_is_said_at_once(machine):
    machine.put('c++', 'exit 1')
    machine.put('df', "printf 'header\\n- - - 3200000 - -\\n'")
    code, _, err = machine.start(MMMSMLP_COMPILE_MMCV='1')
    assert code == 2
    assert err.count('error: ') == 2 and 'nothing was built' in err


def test_the_environment_is_made_once(machine):
    code, out, err = machine.start()
    assert code == 0, err
    python = Path(out.strip())
    assert python.is_file() and python.is_relative_to(machine.cache)
    calls = machine.pip_calls()
    assert any(call.endswith('onedl-mmcv==2.3.6') for call in calls)
    assert calls[-1].endswith('--no-deps opencv-python-headless==4.12.0.88')
    checkout = [word for call in calls for word in call.split() if word == str(REPO)]
    assert checkout == []
    assert sorted(path.suffix for path in machine.cache.iterdir()) == [
        '.11-maintained', '.lock', '.log'
    ]  # fmt: skip

    assert machine.start() == (0, out, f'env: using {python.parents[1]}\n')
    assert machine.pip_calls() == calls


def test_a_broken_build_fails_with_its_log_and_is_built_anew(machine):
    machine.put_python('3.11', broken_step='onedl-mmcv==')
    code, out, err = machine.start()
    assert code == 1 and out == ''
    assert 'the compiler broke' in err and 'failed at: 4/5 mmcv' in err
    (half_built,) = machine.cache.glob('env-*/bin')
    (half_built / 'left-over').touch()

    machine.put_python('3.11')
    code, out, err = machine.start()
    assert code == 0, err
    assert Path(out.strip()).is_file()
    assert not (half_built / 'left-over').exists()


def test_two_starts_at_once_build_once(machine):
    machine.put_python('3.11', pip_seconds=0.5)
    first = machine.popen()
    deadline = time.time() + 20
    while not machine.pip_calls() and time.time() < deadline:
        time.sleep(0.05)
    second = machine.popen()
    (out, _), (waited_out, waited_err) = first.communicate(60), second.communicate(60)
    assert (first.returncode, second.returncode) == (0, 0)
    assert out == waited_out
    assert 'another start is making' in waited_err
    assert sum('onedl-mmcv==' in call for call in machine.pip_calls()) == 1


def virtualenv_with(folder, name, version):
    """An activated environment that holds one (hollow) distribution."""
    prefix = folder / 'venv'
    command = [sys.executable, '-m', 'venv', '--without-pip', str(prefix)]
    subprocess.run(command, check=True)
    (site,) = prefix.glob('lib/python*/site-packages')
    info = site / f'{name}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Name: {name}\nVersion: {version}\n')
    return str(prefix)


def test_transformers_5_in_an_activated_environment(machine, tmp_path):
    prefix = virtualenv_with(tmp_path, 'transformers', '5.1.0')
    assert_refused(
        machine, r'transformers 5\.1\.0.*"transformers<5"', VIRTUAL_ENV=prefix
    )


def test_an_activated_environment_that_lacks_something_is_left_alone(machine, tmp_path):
    prefix = virtualenv_with(tmp_path, 'torch', '1.13.0')
    code, out, err = machine.start(VIRTUAL_ENV=prefix)
    assert code == 0, err
    assert 'mmdet is missing; 3.3 or newer is needed (pip install onedl-mm' in err
    assert 'does not satisfy' in err
    assert Path(out.strip()).is_relative_to(machine.cache)


def test_an_activated_environment_that_satisfies_is_used_as_it_is(machine):
    check = [sys.executable, str(REPO / 'tools' / 'check_env.py'), 'tests']
    if subprocess.run(check, capture_output=True).returncode:
        pytest.skip('the environment of this very test lacks something')
    paths = os.pathsep.join(path for path in sys.path if path)
    code, out, err = machine.start(VIRTUAL_ENV=sys.prefix, PYTHONPATH=paths)
    assert code == 0, err
    assert out.strip() == f'{sys.prefix}/bin/python'
    assert 'as it is' in err
    assert not machine.cache.exists()
