"""The machine, the versions and the allocator that a table was measured with."""

import os
import platform
import re
import sys
from pathlib import Path

import torch

from mmmsmlp.engine.hooks import versions_of
from mmmsmlp.ops import mlp
from mmmsmlp.ops.mixshift.eager import depthwise, runs
from mmmsmlp.ops.torch_private import ONEDNN_LINEAR, onednn_is_on

TUNED = {'MALLOC_MMAP_MAX_': '0', 'MALLOC_TRIM_THRESHOLD_': '68719476736'}
PACKAGES = (
    'torch', 'torchvision', 'triton', 'mmengine', 'onedl-mmengine', 'mmcv',
    'onedl-mmcv', 'mmdet', 'onedl-mmdetection', 'mmpretrain', 'onedl-mmpretrain',
    'onnxruntime', 'onnxruntime-gpu', 'openvino',
)  # fmt: skip


def describe_machine(device: str) -> dict[str, str | int | dict]:
    """CPU, GPU, threads, versions and allocator, ready for JSON."""
    machine = dict(
        cpu=cpu_name(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        allocator=allocator(),
        chosen=choices(),
        python=platform.python_version(),
        versions=versions_of(PACKAGES),
    )
    if device == 'cuda':
        machine['gpu'] = torch.cuda.get_device_name()
    return machine


def cpu_name() -> str:
    """The CPU's model name and its widest vector instructions."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8')
    except OSError:
        lines = ''
    found = re.search('^model name[^:]*:(.*)', lines, re.M)
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return f'{name} ({torch.backends.cpu.get_cpu_capability()})'


def choices() -> str:
    """What our own paths on a CPU are set to; docs/notes/limit_and_constants.md."""
    by_onednn = ONEDNN_LINEAR is not None and onednn_is_on()
    return (
        f'linear layers by {"oneDNN" if by_onednn else "PyTorch"}, '
        f'MLPs in chunks of {mlp.ROWS:,} tokens or more, '
        f'maps of up to {runs.SMALL:,} numbers gathered, '
        f"filters' gradients in strips of {depthwise.STRIP} columns"
    )


def custom_allocation() -> dict[str, str]:
    """What the environment tells the C library about memory."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith('MALLOC_') or name in ('LD_PRELOAD', 'GLIBC_TUNABLES')
    }


def allocator() -> str:
    """'tuned' as in TUNED, 'default', or what else the environment sets."""
    custom = custom_allocation()
    if custom == TUNED:
        return 'tuned'
    return ' '.join(f'{name}={value}' for name, value in custom.items()) or 'default'


def use_allocator(wanted: str | None) -> None:
    """Start this process again where its allocator is not the wanted one.

    The C library reads its settings once, when a process starts.
    """
    if wanted is None or wanted == allocator():
        return
    custom = custom_allocation()
    kept = {name: value for name, value in os.environ.items() if name not in custom}
    environment = kept | (TUNED if wanted == 'tuned' else {})
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)
