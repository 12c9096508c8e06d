"""The machine, the versions and the allocator that a table was measured with."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import torch

TUNED = {'MALLOC_MMAP_MAX_': '0', 'MALLOC_TRIM_THRESHOLD_': '68719476736'}
PACKAGES = (
    'torch', 'torchvision', 'triton', 'mmengine', 'onedl-mmengine', 'mmcv',
    'onedl-mmcv', 'mmdet', 'onedl-mmdetection', 'mmpretrain', 'onedl-mmpretrain',
)  # fmt: skip


def describe_machine(device: str) -> dict[str, str | int | dict]:
    """CPU, GPU, threads, versions and allocator, ready for JSON."""
    machine = dict(
        cpu=cpu_name(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        allocator=allocator(),
        python=platform.python_version(),
        versions=versions(),
    )
    if device == 'cuda':
        machine['gpu'] = torch.cuda.get_device_name()
    return machine


def cpu_name() -> str:
    """The CPU's model name and its widest vector instructions."""
    try:
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                name = line.partition(':')[2].strip()
                break
        else:
            name = platform.machine()
    except OSError:
        name = platform.processor() or platform.machine()
    return f'{name} ({torch.backends.cpu.get_cpu_capability()})'


def versions() -> dict[str, str]:
    """Installed versions of what takes part."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def allocator() -> str:
    """'tuned' as in TUNED, 'default', or what else the environment sets."""
    custom = {
        name: value
        for name, value in os.environ.items()
        if name.startswith('MALLOC_') or name in ('LD_PRELOAD', 'GLIBC_TUNABLES')
    }
    if custom == TUNED:
        return 'tuned'
    if not custom:
        return 'default'
    return ' '.join(f'{name}={value}' for name, value in sorted(custom.items()))


def use_allocator(wanted: str | None) -> None:
    """Start this process again where its allocator is not the wanted one.

    The C library reads its settings once, when a process starts.
    """
    if wanted is None or wanted == allocator():
        return
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith('MALLOC_')
        and name not in ('LD_PRELOAD', 'GLIBC_TUNABLES')
    }
    if wanted == 'tuned':
        environment.update(TUNED)
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)
