#!/usr/bin/env python
"""One page on this environment: what is installed, what is wrong, and its cure.

    python -m mmmsmlp doctor             # or python tools/doctor.py
    python -m mmmsmlp doctor --json      # for a bug report

Exit code 0: no fault, and a tiny RetinaNet, UperNet and classifier trained a step and
predicted here; 1: not so. It needs no third party itself. What it tries (torch, OpenCV,
mmcv's operators, the nets) runs in processes of its own: one that crashes or hangs is a
line of the page.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path

import _doctor_machine as machine
import check_env
from check_env import Finding

HERE = Path(__file__).resolve().parent
MARK = '@doctor '  # of _doctor_probe.py
PATIENCE = 180  # seconds for one try
TRIES = ('torch', 'cv2', 'operators', 'backend', 'retinanet', 'upernet', 'classifier')
NETS = {'retinanet': 'mmdet', 'upernet': 'mmseg', 'classifier': 'mmpretrain'}
# What does without, by import name: the runs work, these do not.
EXTRAS = {
    'psutil': 'the MemoryProfilerHook of mmdet',
    'safetensors': 'checkpoints of that format',
    'tensorboard': 'curves in TensorBoard',
}
COLOURS = {'ok': '32', 'note': '33', 'fault': '31;1'}
WIDTH = 80
UNKNOWN = 'that of the faults above; if there are none, report this with doctor --json'


# --- one try -----------------------------------------------------


@dataclass(frozen=True)
class Try:
    """How one process of ``_doctor_probe.py`` ended.

    Args:
        stage: What it was at last.
        found: What it found; of the torch probe, also where it failed later.
        error: Empty where it came through.
    """

    stage: str = ''
    found: dict | None = None
    error: str = ''


def attempt(name: str) -> Try:
    """Run one probe."""
    variables = dict(os.environ)
    if (HERE.parent / 'mmmsmlp').is_dir():  # a checkout: its own package
        paths = [str(HERE.parent), variables.get('PYTHONPATH', '')]
        variables['PYTHONPATH'] = os.pathsep.join(filter(None, paths))
    if name != 'torch':  # which reports the number of threads
        variables.setdefault('OMP_NUM_THREADS', '1')
    variables['PYTHONIOENCODING'] = 'utf-8'
    command = [sys.executable, str(HERE / '_doctor_probe.py'), name]
    try:
        done = subprocess.run(command, capture_output=True, env=variables,
                              timeout=PATIENCE)  # fmt: skip
    except subprocess.TimeoutExpired as expired:
        last = read(expired.stdout or b'')
        return Try(last.stage, last.found, f'did not end within {PATIENCE} s')
    last = read(done.stdout)
    if done.returncode == 0 or last.error:
        return last
    words = done.stderr.decode(errors='replace').strip().splitlines()
    how = (
        f'the process was killed by signal {-done.returncode}'
        if done.returncode < 0
        else f'the process ended with exit code {done.returncode}'
    )
    return Try(last.stage, last.found, f'{how} {words[-1] if words else ""}'.strip())


def read(output: bytes) -> Try:
    """What the lines of a probe say in sum."""
    said: dict = {}
    for line in output.decode(errors='replace').splitlines():
        if line.startswith(MARK):
            said.update(json.loads(line.removeprefix(MARK)))
    found = said.get('result', said.get('found'))
    return Try(said.get('stage', ''), found, said.get('error', ''))


# --- what the tries mean -----------------------------------------------------


def cure_of(error: str) -> str:
    """The cure of an error that is known by its words, or ''."""
    cures = {
        r'libGL|libgthread|libglib|libSM|libXext': check_env.headless_opencv,
        r'pkg_resources': lambda: 'pip install "setuptools<82"',
        r'Numpy is not available|_ARRAY_API|numpy\.(dtype size|core\.multiarray)':
            lambda: 'pip install "numpy<2"',
        r"torchvision::|named 'torchvision": check_env.install_torchvision,
        r'no kernel image|CUDA driver':
            lambda: f'install a torch for this GPU and driver ({machine.WHEELS})',
        r"named '(cv2)": check_env.headless_opencv,
    }  # fmt: skip
    for pattern, cure in cures.items():
        if re.search(pattern, error):
            return cure()
    missing = re.search(r"No module named '(\w+)", error)
    if missing:
        name = {'PIL': 'pillow'}.get(missing[1], missing[1])
        known = name in check_env.RUN | check_env.TESTS
        return f'pip install {check_env.to_install(name) if known else name}'
    return ''


def failure(name: str, tried: Try) -> Finding:
    text = f'fails at: {tried.stage or "its start"}; {tried.error}'
    return Finding(name, 'fault', text, cure_of(tried.error) or UNKNOWN)


def judge_torch(tried: Try) -> Finding:
    if tried.error:
        return failure('torch works', tried)
    return Finding('torch works', 'ok', 'with numpy and the operators of torchvision')


def judge_cv2(tried: Try) -> Finding:
    if tried.error:
        return replace(failure('cv2', tried), cure=check_env.headless_opencv())
    return Finding('OpenCV', 'ok', tried.found['text'])


def judge_operators(tried: Try) -> Finding:
    """Whose operators mmcv has."""
    name = 'mmcv._ext'
    if tried.stage == 'import torch' and tried.error:
        return Finding(name, 'note', 'not tried: torch does not import')
    if tried.error:
        found = failure(name, tried)
        unlinked = re.search(
            'undefined symbol|cannot open shared|DLL load', tried.error
        )
        if unlinked and tried.stage == 'import mmcv._ext':
            text = f'{found.text}; it was compiled for another torch'
            return replace(found, text=text, cure=without_compiled_mmcv())
        return found
    kind, file = tried.found['kind'], tried.found['file']
    if kind == 'compiled':
        return Finding(name, 'ok', 'compiled')
    if kind == 'installed':
        version = check_env.installed(['mmmsmlp-mmcv-ops']).get('mmmsmlp-mmcv-ops')
        whose = f'mmmsmlp-mmcv-ops {version}' if version else file
        return Finding(name, 'ok', f'by torchvision and torch, installed ({whose})')
    text = (
        'by torchvision and torch, through "import mmmsmlp"; programs that do not '
        'import it have none'
    )
    return Finding(name, 'note', text, 'python -m mmmsmlp mmcv-ops install')


def without_compiled_mmcv() -> str:
    """Exchange a compiled mmcv for one without operators, which the stand-in serves."""
    there = ' '.join(check_env.installed(check_env.RUN['mmcv'][0]))
    wanted = check_env.to_install('mmcv')
    # A wheel in pip's cache may be the compiled one.
    return f'pip uninstall -y {there} && pip install --no-cache-dir --no-deps {wanted}'


def judge_backend(tried: Try) -> Finding:
    """Triton's kernels, or what runs in their place."""
    if tried.error:
        if tried.stage == 'import torch':
            return Finding('mix-shift', 'note', 'not tried: torch does not import')
        return failure('mix-shift', tried)
    backend, reason = tried.found['backend'], tried.found['reason']
    if not reason:
        return Finding('mix-shift', 'ok', f'backend {backend}')
    text = f'backend {backend}, which is slower; not triton: {reason}'
    missing = reason.startswith('Triton cannot be imported')
    return Finding('mix-shift', 'note', text, install_triton() if missing else '')


def install_triton() -> str:
    """The command that installs the one Triton that this torch asks for."""
    wanted = ' '.join(metadata.requires('torch') or [])
    pin = re.search(r'\btriton(?: \()?(==[\d.]+)', wanted)
    return f'pip install --no-deps triton{pin[1] if pin else ""}'


def title_of(net: str) -> str:
    return f'{net} ({NETS[net]})'


def judge_net(name: str, tried: Try) -> Finding:
    title = title_of(name)
    if not tried.error:
        return Finding(title, 'ok', tried.found['text'])
    if tried.stage == 'import torch':
        return Finding(title, 'note', 'not tried: torch does not import')
    return failure(title, tried)


def check_extras() -> list[Finding]:
    """Packages that only something of its own needs."""
    found = [(check_env.check_package(name), use) for name, use in EXTRAS.items()]
    return [
        Finding(one.name, 'note', f'{one.text} for {use}', one.cure)
        for one, use in found
        if one.mark != 'ok'
    ]


# --- the page -----------------------------------------------------


def examine() -> Iterator[tuple[str, Finding]]:
    """(section, finding), as they come; the tries run meanwhile, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        tries: dict[str, Future[Try]] = {
            name: pool.submit(attempt, name) for name in TRIES
        }
        yield 'machine', check_env.check_python()
        for finding in machine.check_machine():
            yield 'machine', finding
        torch = tries['torch'].result()
        yield 'machine', machine.check_device(torch.found, machine.find_driver())
        for finding in check_env.check_packages(check_env.RUN):
            yield 'packages', finding
        for finding in check_extras():
            yield 'packages', finding
        judges = {'torch': judge_torch, 'cv2': judge_cv2, 'operators': judge_operators,
                  'backend': judge_backend}  # fmt: skip
        for name, judge in judges.items():
            yield 'what they rest on', judge(tries[name].result())
        for name in NETS:
            yield 'nets: a step and a prediction', judge_net(name, tries[name].result())


class Page:
    """Writes findings below each other, a heading where a section begins."""

    def __init__(self, colours: bool):
        self.colours = colours
        self.section = ''
        self.cures: list[str] = []

    def add(self, section: str, finding: Finding) -> None:
        if section != self.section:
            print(f'\n{section}')
            self.section = section
        head = f'  {finding.mark:5}  {finding.name:23} '
        text = textwrap.wrap(finding.text, WIDTH - len(head), break_on_hyphens=False)
        rest = textwrap.indent('\n'.join(text), ' ' * len(head)).lstrip()
        mark = self.paint(f'{finding.mark:5}', COLOURS[finding.mark])
        print(f'  {mark}  {finding.name:23} {rest}')
        if finding.cure:  # a command is not broken into lines: it is there to be copied
            known = finding.cure in self.cures
            print(' ' * 9 + 'cure: ' + ('as above' if known else finding.cure))
            self.cures.append(finding.cure)
        sys.stdout.flush()

    def paint(self, text: str, colour: str) -> str:
        return f'\033[{colour}m{text}\033[0m' if self.colours else text


def summary(findings: list[Finding]) -> str:
    counts = {mark: sum(f.mark == mark for f in findings) for mark in COLOURS}
    said = ', '.join(
        f'{counts[mark]} {mark}{"s" * (counts[mark] != 1)}'
        for mark in ('fault', 'note')
    )
    if is_well(findings):
        return f'{said}: mmmsmlp trains and predicts here'
    if not find_spec('torch') and any(map(find_spec, ('onnxruntime', 'openvino'))):
        said = f'without torch exported models alone run here (docs/deploy.md); {said}'
    return f'{said}: apply the first cure, then start the doctor again'


def is_well(findings: list[Finding]) -> bool:
    """No fault, and every net tried: one that was not is a note, and no proof."""
    well = {finding.name for finding in findings if finding.mark == 'ok'}
    faults = any(finding.mark == 'fault' for finding in findings)
    return well.issuperset(map(title_of, NETS)) and not faults


def our_version() -> str:
    places = (HERE.parent / 'mmmsmlp', HERE.parents[1])  # a checkout; installed: .mim
    path = next(p for p in (place / 'version.py' for place in places) if p.is_file())
    return run_path(str(path))['__version__']


def report(findings: list[tuple[str, Finding]]) -> dict:
    """What a bug report needs, for JSON."""
    packages = {d.metadata['Name']: d.version for d in metadata.distributions()}
    named = ('CUDA_VISIBLE_DEVICES', 'OMP_', 'MKL_', 'MMMSMLP_', 'TORCH', 'PYTORCH')
    return {
        'mmmsmlp': our_version(),
        'well': is_well([finding for _, finding in findings]),
        'python': sys.version,
        'findings': [dict(section=s, **asdict(finding)) for s, finding in findings],
        'packages': {str(k): packages[k] for k in sorted(packages, key=str)},
        'variables': {
            k: v for k, v in sorted(os.environ.items()) if k.startswith(named)
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog='doctor', description=__doc__.splitlines()[0])
    parser.add_argument('--json', action='store_true', help='for a bug report')
    asked = parser.parse_args()
    sys.stdout.reconfigure(errors='backslashreplace')  # a path the terminal cannot show
    if asked.json:
        findings = [*examine()]
        print(json.dumps(report(findings), indent=1))
        return 0 if is_well([finding for _, finding in findings]) else 1
    dumb = os.environ.get('TERM', 'dumb') == 'dumb' or 'NO_COLOR' in os.environ
    page, seen = Page(sys.stdout.isatty() and not dumb), []
    print(f'mmmsmlp {our_version()} doctor, {sys.executable}')
    for section, finding in examine():
        page.add(section, finding)
        seen.append(finding)
    print(f'\n{summary(seen)}')
    return 0 if is_well(seen) else 1


if __name__ == '__main__':
    sys.exit(main())
