"""The doctor's look at the machine: memory, folders, disk, encoding, GPU and driver."""

import locale
import os
import platform
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from check_env import Finding, release

SHM = Path('/dev/shm')
# Two workers of batch size 2 hold some 50 MB of images of 800x1333; Docker gives 64.
SMALL_SHM_MB, ENOUGH_SHM_MB = 128, 1024
LITTLE_DISK_GB, ENOUGH_DISK_GB = 0.5, 5.0
WHEELS = 'https://pytorch.org/get-started/previous-versions'


def check_machine() -> list[Finding]:
    """Everything about this machine but the device, which only torch knows."""
    return [
        check_system(),
        *check_encoding(),
        *check_shared_memory(),
        *check_folders(),
    ]


def check_system() -> Finding:
    text = f'{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs'
    return Finding('system', 'ok', text)


def check_encoding() -> list[Finding]:
    encoding = locale.getpreferredencoding(False)
    if encoding.lower().replace('-', '') in ('utf8', 'cp65001'):
        return []
    text = f'{encoding}: paths and class names of other scripts may fail; use UTF-8'
    cure = 'set PYTHONUTF8=1' if os.name == 'nt' else 'export PYTHONUTF8=1'
    return [Finding('encoding', 'note', text, cure)]


def check_shared_memory(folder: Path = SHM) -> list[Finding]:
    """Data loading workers hand images over in /dev/shm (Linux)."""
    if not folder.is_dir():
        return []
    free = shutil.disk_usage(folder).free // 2**20
    cure = (
        f'docker run --shm-size=8g ... (or mount -o remount,size=8g {folder}; or train '
        'with num_workers=0, persistent_workers=False)'
    )
    if free < SMALL_SHM_MB:
        text = f'{free} MB free; loading workers need {SMALL_SHM_MB} MB or more'
        return [Finding(str(folder), 'fault', text, cure)]
    if free < ENOUGH_SHM_MB:
        text = f'{free} MB free: enough for small batches and few workers only'
        return [Finding(str(folder), 'note', text, cure)]
    return [Finding(str(folder), 'ok', f'{free / 1024:.1f} GB free')]


# --- folders -----------------------------------------------------


def folders() -> dict[str, tuple[Path | None, str]]:
    """What is written where: {name: (folder, how to have another)}."""
    cache = Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser()
    torch_home = Path(os.environ.get('TORCH_HOME') or cache / 'torch').expanduser()
    ours = Path(os.environ.get('MMMSMLP_ENV_ROOT') or cache / 'mmmsmlp').expanduser()
    try:
        temporary: Path | None = Path(tempfile.gettempdir())
    except FileNotFoundError:
        temporary = None
    return {
        'temporary': (temporary, 'TMPDIR'),
        'downloads': (torch_home / 'hub', 'TORCH_HOME'),
        'environments': (ours, 'MMMSMLP_ENV_ROOT'),
        'work folder': (Path('work_dirs').absolute(), ''),
    }


def check_folders() -> list[Finding]:
    return [check_folder(name, *where) for name, where in folders().items()]


def check_folder(name: str, folder: Path | None, variable: str) -> Finding:
    """Can it be written to, or made, and is there room?"""
    shell = 'set' if os.name == 'nt' else 'export'
    elsewhere = (
        f'{shell} {variable}=FOLDER, one that you may write to'
        if variable
        else 'start in a folder that you may write to, or give --work-dir FOLDER'
    )
    if folder is None:
        text = 'none that can be written to of TMPDIR, TEMP, TMP, /tmp'
        return Finding(name, 'fault', text, elsewhere)
    there = folder
    while not there.is_dir() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):  # root may all, but for a mount of ro
            pass
    except OSError as error:
        text = f'{folder} cannot be written to ({error.strerror})'
        return Finding(name, 'fault', text, elsewhere)
    free = shutil.disk_usage(there).free / 2**30
    text = f'{folder}, {free:.1f} GB free'
    if free >= ENOUGH_DISK_GB:
        return Finding(name, 'ok', text)
    mark = 'note' if free >= LITTLE_DISK_GB else 'fault'
    text += f'; a training run wants {ENOUGH_DISK_GB:g} GB'
    return Finding(name, mark, text, f'free some disk, or {elsewhere}')


# --- the GPU and its driver --------------------------------------------------------


@dataclass(frozen=True)
class Driver:
    """What nvidia-smi says: how many GPUs, and the newest CUDA that it serves."""

    gpus: int
    cuda: str


def find_driver() -> Driver | None:
    """None where there is no nvidia-smi, or it does not work."""
    try:
        listed, page = (
            subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
            for command in (['nvidia-smi', '-L'], ['nvidia-smi'])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    cuda = re.search(r'CUDA Version:\s*(\d+\.\d+)', page)
    gpus = len(re.findall(r'^GPU \d+', listed, re.MULTILINE))
    return Driver(gpus, cuda[1] if cuda else '') if gpus else None


def check_device(torch: dict | None, driver: Driver | None) -> Finding:
    """Which device a run takes, and why not the GPU that is there.

    Args:
        torch: What the probe of torch found (``_doctor_probe.py``), or None.
        driver: What nvidia-smi says, or None.
    """
    if torch is None:
        return Finding('device', 'note', 'not known: torch does not work, see below')
    if torch['device'] == 'cuda':
        text = f'cuda: {torch["gpu"]}, compute capability {torch["capability"]}'
        count = torch['gpus']
        return Finding('device', 'ok', text + (f', {count} GPUs' * (count > 1)))
    if torch['device'] == 'mps':
        return Finding('device', 'ok', 'mps (Apple GPU)')
    text = f'cpu, {torch["threads"]} threads'
    hidden = os.environ.get('CUDA_VISIBLE_DEVICES', 'all') in ('', '-1')
    if driver is None or hidden:
        return Finding('device', 'ok', text + ', the GPU is hidden' * hidden)
    cuda, served = torch['cuda'], driver.cuda
    text += f', although nvidia-smi lists {driver.gpus} GPU'
    if cuda is None:
        text += ': this torch is a build for CPUs'
        return Finding('device', 'note', text, f'install a torch for CUDA ({WHEELS})')
    if served and release(cuda)[0] > release(served)[0]:
        text += f': torch is for CUDA {cuda}, and its driver serves {served} at most'
        cure = f'update the NVIDIA driver, or install a torch for CUDA {served} or'
        return Finding('device', 'fault', text, f'{cure} older ({WHEELS})')
    text += f': {torch["cuda_error"] or "torch cannot use it"}'
    cure = 'restart the machine or container (docker run --gpus all); on purpose: '
    return Finding('device', 'fault', text, cure + 'export CUDA_VISIBLE_DEVICES=')
