"""The check of the packages that mmmsmlp and its tools need: what is wrong, and cures.

    python tools/check_env.py run|tests [--import]

Exit code 0: all is there; 1: no, each fault on a line of its own; 3: it would break.
Standard library only: it runs before anything is known about the environment, and is
a part of the doctor (tools/doctor.py).
"""

import importlib
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

# Import name: (distributions that provide it, oldest release that will do).
# The upstream and the maintained (onedl) distributions share their import names.
RUN = {
    'torch': (['torch'], '2.1'),
    'torchvision': (['torchvision'], '0.16'),
    'numpy': (['numpy'], '1.23'),
    'cv2': (['opencv-python-headless', 'opencv-python'], '4.5'),
    'pycocotools': (['pycocotools'], '2.0'),
    'mmengine': (['onedl-mmengine', 'mmengine', 'mmengine-lite'], '0.10'),
    'mmcv': (['onedl-mmcv', 'mmcv-lite', 'mmcv', 'mmcv-full'], '2.0'),
    'mmdet': (['onedl-mmdetection', 'mmdet'], '3.3'),
    'mmseg': (['onedl-mmsegmentation', 'mmsegmentation'], '1.2'),
    'mmpretrain': (['onedl-mmpretrain', 'mmpretrain'], '1.2'),
    'ftfy': (['ftfy'], '6.0'),
    'regex': (['regex'], '2021'),
}
TESTS = {
    'pytest': (['pytest'], '7.0'),
    'pytest_timeout': (['pytest-timeout'], '2.0'),
    'onnx': (['onnx'], '1.14'),
    'onnxruntime': (['onnxruntime', 'onnxruntime-gpu'], '1.15'),
    'onnxscript': (['onnxscript'], '0.1'),
    'psutil': (['psutil'], '5.0'),
    'safetensors': (['safetensors'], '0.4'),
    'tensorboard': (['tensorboard'], '2.0'),
    'yaml': (['PyYAML'], '5.0'),
}
TOOLBOXES = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain')
# Modules that a broken mixture of releases fails to import.
DEEP = ['mmcv.ops', 'mmdet.apis', 'mmseg.apis', 'mmpretrain.models']
PYTHONS = ((3, 10), (3, 13))
# Upstream's mmdet and mmseg refuse mmcv from here on; mmcv-lite needs no compiler.
UPSTREAM_MMCV = ('2.2', 'mmcv-lite==2.1.0')


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Args:
        name: What was looked at.
        mark: 'ok', 'note' (it works, but), or 'fault'.
        text: The value; where it will not do, what was allowed.
        cure: The command, or the one line, that mends it.
    """

    name: str
    mark: str
    text: str
    cure: str = ''


def release(version: str) -> tuple[int, ...]:
    """The numeric part of a version: '2.11.0+cu130' -> (2, 11, 0)."""
    return tuple(map(int, re.findall(r'\d+', version.split('+')[0])[:3]))


def installed(distributions: Iterable[str]) -> dict[str, str]:
    """Those of the distributions that are installed, with their versions."""
    found = {}
    for name in distributions:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if version:  # None: a dist-info that an interrupted pip left
            found[name] = version
    return found


def version_of(distribution: str) -> tuple[int, ...]:
    """The release of a distribution; () where it is not installed."""
    return release(installed([distribution]).get(distribution, ''))


# --- the two stacks -----------------------------------------------------


def is_upstream() -> bool:
    """Whether most of the toolboxes here are upstream's, not the maintained ones."""
    names = [name for box in TOOLBOXES for name in installed(RUN[box][0])]
    maintained = sum(name.startswith('onedl-') for name in names)
    return len(names) - maintained > maintained


def to_install(name: str) -> str:
    """What pip is asked for to have import name ``name``, in the stack that is here."""
    distributions, _ = (RUN | TESTS)[name]
    if name not in TOOLBOXES or not is_upstream():
        wanted = distributions[0]
    elif name == 'mmcv':
        return UPSTREAM_MMCV[1]
    else:
        wanted = distributions[1]
    version = installed([wanted]).get(wanted)
    return f'{wanted}=={version}' if version else wanted


def check_stacks() -> list[Finding]:
    """Two distributions of one import name, and toolboxes that refuse this mmcv."""
    found = {box: installed(RUN[box][0]) for box in TOOLBOXES}
    doubled = [box for box in TOOLBOXES if len(found[box]) > 1]
    names = [name for box in TOOLBOXES for name in found[box]]
    newest = max((release(version) for version in found['mmcv'].values()), default=())
    refusing = [name for name in ('mmdet', 'mmsegmentation') if name in names]
    too_new = bool(refusing) and newest >= release(UPSTREAM_MMCV[0])
    is_mixed = 0 < sum(name.startswith('onedl-') for name in names) < len(names)
    if not doubled and not too_new:
        if not is_mixed:
            return []
        text = f'mixed, which is not tested: {", ".join(names)}'
        return [Finding('the stack', 'note', text)]
    upstream = is_upstream()
    of_the_other = [
        box
        for box in TOOLBOXES
        if any(name.startswith('onedl-') == upstream for name in found[box])
    ]
    moving = [box for box in TOOLBOXES if box in {*doubled, *of_the_other}]
    if too_new and upstream and 'mmcv' not in moving:
        moving.append('mmcv')
    leaving = [name for box in moving for name in found[box]]
    cure = f'pip uninstall -y {" ".join(leaving)} && pip install ' + ' '.join(
        map(to_install, moving)
    )
    if doubled:
        pairs = '; '.join(' and '.join(found[box]) for box in doubled)
        text = f'mixed: {pairs} share folders, and whose files lie there is chance'
    else:
        text = (
            f"mixed: upstream's {' and '.join(refusing)} want mmcv below "
            f'{UPSTREAM_MMCV[0]}, and it is {".".join(map(str, newest))}'
        )
    return [Finding('the stack', 'fault', text, cure)]


# --- packages that do not fit each other --------------------------------------------


def check_transformers() -> list[Finding]:
    version = installed(['transformers']).get('transformers')
    if version is None or release(version) < (5,):
        return []
    text = (
        f'{version}: with 5 or newer mmpretrain (so the models of mmdet and mmseg too) '
        'fails to import'
    )
    return [Finding('transformers', 'fault', text, 'pip install "transformers<5"')]


def check_pkg_resources() -> list[Finding]:
    """mmengine up to 0.10.7 reads installed packages through pkg_resources."""
    spec = util.find_spec('mmengine')
    if spec is None or not spec.origin or util.find_spec('pkg_resources'):
        return []
    source = Path(spec.origin).parent / 'utils' / 'package_utils.py'
    if not source.is_file() or 'import pkg_resources' not in source.read_text('utf-8'):
        return []
    version = installed(['setuptools']).get('setuptools', 'missing')
    text = f'{version}; this mmengine imports pkg_resources, which 82 dropped'
    return [Finding('setuptools', 'fault', text, 'pip install "setuptools<82"')]


def check_numpy() -> list[Finding]:
    torch, numpy = version_of('torch'), version_of('numpy')
    if not torch or torch >= (2, 3) or numpy < (2,):
        return []
    text = (
        f'{metadata.version("numpy")}; torch {metadata.version("torch")} is built for '
        'numpy 1 (torch 2.3 is the first for 2)'
    )
    return [Finding('numpy', 'fault', text, 'pip install "numpy<2"')]


def check_torch_of_maintained() -> list[Finding]:
    """The maintained mmcv imports torch.amp.GradScaler, which came with torch 2.3."""
    torch = version_of('torch')
    if not torch or torch >= (2, 3) or not version_of('onedl-mmcv'):
        return []
    text = f'{metadata.version("torch")}; onedl-mmcv needs 2.3 or newer'
    cure = 'pip install -U torch torchvision (or take the upstream toolboxes)'
    return [Finding('torch', 'fault', text, cure)]


def check_torchvision() -> list[Finding]:
    """torchvision 0.(15 + m) is made for torch 2.m; its operators load in no other."""
    torch, vision = version_of('torch'), version_of('torchvision')
    if torch[:1] != (2,) or vision[:1] != (0,) or vision[1] == torch[1] + 15:
        return []
    text = f'{metadata.version("torchvision")}; torch {metadata.version("torch")} wants'
    text += f' 0.{torch[1] + 15}'
    return [Finding('torchvision', 'fault', text, install_torchvision())]


def install_torchvision() -> str:
    """The command that installs the torchvision of this torch."""
    version = installed(['torch']).get('torch', '')
    torch, _, build = version.partition('+')
    if release(torch)[:1] != (2,):
        return 'pip install torch torchvision'
    _, minor, patch = (*release(torch), 0)[:3]
    index = f' --index-url https://download.pytorch.org/whl/{build}' if build else ''
    return f'pip install --no-deps torchvision==0.{minor + 15}.{patch}{index}'


def headless_opencv() -> str:
    """The command that leaves one OpenCV, the one that needs no libGL."""
    builds = RUN['cv2'][0]
    version = next(iter(installed(builds).values()), None)
    wanted = builds[0] + (f'=={version}' if version else '')
    return f'pip uninstall -y {" ".join(builds)} && pip install --no-deps {wanted}'


def check_opencv() -> list[Finding]:
    """Both builds in one folder: harmless as long as cv2 imports (toolboxes want both).

    The doctor's probe says whether it does.
    """
    found = installed(RUN['cv2'][0])
    if len(found) < 2:
        return []
    both = ' and '.join(f'{name} {version}' for name, version in found.items())
    text = f'{both} share one folder; harmless while cv2 imports'
    return [Finding('opencv', 'note', text)]


# --- all of them -----------------------------------------------------


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Finding:
    text = '.'.join(map(str, version))
    if PYTHONS[0] <= version[:2] <= PYTHONS[1]:
        return Finding('Python', 'ok', text)
    text += '; 3.10 to 3.13 is needed'
    return Finding('Python', 'fault', text, 'python3.11 -m venv ENVIRONMENT')


def check_package(name: str) -> Finding:
    """Is import name ``name`` there, and new enough?"""
    distributions, oldest = (RUN | TESTS)[name]
    found = installed(distributions)
    if not found or util.find_spec(name) is None:
        text = f'missing; {oldest} or newer is needed'
        if name == 'torchvision':
            return Finding(name, 'fault', text, install_torchvision())
        cure = f'pip install {to_install(name)}'
        if found:  # pip believes that it is there
            cure = f'pip install --force-reinstall --no-deps {to_install(name)}'
        return Finding(name, 'fault', text, cure)
    distribution, version = next(iter(found.items()))
    if release(version) < release(oldest):
        text = f'{version}; {oldest} or newer is needed'
        cure = f'pip install "{distribution}>={oldest}"'
        if distribution == 'mmcv-full':  # the name ended with mmcv 1
            cure = f'pip uninstall -y mmcv-full && pip install {to_install(name)}'
        return Finding(name, 'fault', text, cure)
    return Finding(name, 'ok', version if distribution == name else
                   f'{version} ({distribution})')  # fmt: skip


def check_packages(names: Iterable[str]) -> list[Finding]:
    """One finding a package, and one for each set that does not fit together."""
    misfits = [
        *check_stacks(),
        *check_torch_of_maintained(),
        *check_torchvision(),
        *check_numpy(),
        *check_transformers(),
        *check_pkg_resources(),
        *check_opencv(),
    ]
    wrong = {finding.name for finding in misfits}
    alone = map(check_package, names)
    return [one for one in alone if one.mark != 'ok' or one.name not in wrong] + misfits


def main(arguments: list[str]) -> int:
    wanted = [*RUN, *(TESTS if 'tests' in arguments else [])]
    for broken in check_transformers():
        print(
            f'error: this environment has {broken.name} {broken.text}. Run '
            f'{broken.cure} in it, or deactivate it and start again: the scripts then '
            'make an environment of their own.'
        )
        return 3
    findings = [check_python(), *check_packages(wanted)]
    faults = [finding for finding in findings if finding.mark == 'fault']
    for fault in faults:
        print(f'  {fault.name} is {fault.text} ({fault.cure})')
    if faults:
        return 1
    if '--import' in arguments:
        for name in [*wanted, *DEEP]:
            importlib.import_module(name)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
