"""The check that this Python's environment satisfies what mmmsmlp and its tools need.

Exit code 0: yes; 1: no, each lack on a line of its own; 3: it would break.
Standard library only: it runs before anything is known about the environment.
"""

import importlib
import re
import sys
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
    'mmengine': (['onedl-mmengine', 'mmengine'], '0.10'),
    'mmcv': (['onedl-mmcv', 'mmcv', 'mmcv-lite'], '2.0'),
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
# Modules that a broken mixture of releases fails to import.
DEEP = ['mmcv.ops', 'mmdet.apis', 'mmseg.apis', 'mmpretrain.models']


def release(version):
    """The numeric part of a version as a tuple: '2.11.0+cu130' -> (2, 11, 0)."""
    return tuple(map(int, re.findall(r'\d+', version.split('+')[0])[:3]))


def installed_version(distributions):
    """Version of the first of these distributions that is installed, or None."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def lacks(name, distributions, oldest):
    """Why import name `name` will not do, or None."""
    version = installed_version(distributions)
    if version is None or util.find_spec(name) is None:
        return f'{name} is missing (pip install {distributions[0]})'
    if release(version) < release(oldest):
        return f'{name} is {version}; {oldest} or newer is needed'
    return None


def lacks_compiled_mmcv():
    """mmcv-lite and a failed build leave mmcv without its operators."""
    spec = util.find_spec('mmcv')
    if spec is None or any(Path(spec.origin).parent.glob('_ext*')):
        return None
    return 'mmcv has no compiled operators (mmcv._ext); install the full mmcv'


def breaks():
    """transformers >= 5 makes `import mmpretrain.models` raise, or None."""
    version = installed_version(['transformers'])
    if version is None or release(version) < (5,):
        return None
    return (
        f'error: this environment has transformers {version}, and with 5 or newer '
        "mmpretrain (so mmdet's and mmseg's models too) fails to import. Run pip "
        'install "transformers<5" in it, or deactivate it and start again: the '
        'scripts then make an environment of their own.'
    )


def main(arguments):
    wanted = {**RUN, **(TESTS if 'tests' in arguments else {})}
    broken = breaks()
    if broken:
        print(broken)
        return 3
    found = [lacks(name, *needs) for name, needs in wanted.items()]
    found.append(lacks_compiled_mmcv())
    found = [lack for lack in found if lack]
    if not (3, 10) <= sys.version_info[:2] <= (3, 13):
        version = '.'.join(map(str, sys.version_info[:2]))
        found.insert(0, f'Python is {version}; 3.10 to 3.13 is needed')
    if not found and '--import' in arguments:
        for name in [*wanted, *DEEP]:
            importlib.import_module(name)
    for lack in found:
        print('  ' + lack)
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
