"""Linux with the habits of Windows, for every process with this folder on PYTHONPATH.

Modules and functions of POSIX are gone, folders have no handles, a handle must be
writable to be flushed, a file that appears under a name in use is refused at first,
text is cp1252 unless an encoding is named, OpenCV finds no path beyond ASCII, and
processes are spawned. Text that our own code opens without an encoding is an error.
"""

import builtins
import fcntl
import functools
import io
import multiprocessing
import os
import platform
import shutil
import sys
import warnings
from multiprocessing import context

GONE = (
    'fcntl',
    'resource',
    'pwd',
    'grp',
    'termios',
    'tty',
    'pty',
    'syslog',
    'readline',
)
GONE_FROM_OS = (
    *('fork', 'forkpty'),
    *('sync', 'fdatasync', 'getloadavg', 'mkfifo', 'chown', 'O_DIRECTORY'),
)
OURS = r'(mmmsmlp\b.*|__main__|__mp_main__|_checkout|zoo\b.*|benchmarks\b.*)$'
real_open, real_os_open, real_fsync = open, os.open, os.fsync
real_replace, real_rename, real_system = os.replace, os.rename, platform.system
get_flags, name_of_flags = fcntl.fcntl, fcntl.F_GETFL
refused_once = set()


def open_cp1252(
    file, mode='r', buffering=-1, encoding=None, errors=None, newline=None, **more
):
    if encoding is None and 'b' not in mode:
        warnings.warn('no encoding is named', EncodingWarning, stacklevel=2)
    if encoding in (None, 'locale') and 'b' not in mode:
        encoding = 'cp1252'
    return real_open(file, mode, buffering, encoding, errors, newline, **more)


def open_file(path, *args, **kwargs):
    if not isinstance(path, int) and os.path.isdir(path):
        raise PermissionError(13, 'Permission denied', path)
    return real_os_open(path, *args, **kwargs)


def flush(handle):
    number = handle if isinstance(handle, int) else handle.fileno()
    if get_flags(number, name_of_flags) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(9, 'Bad file descriptor')
    real_fsync(number)


def replace(source, target, **kwargs):
    if os.path.exists(target) and str(target) not in refused_once:
        refused_once.add(str(target))
        raise PermissionError(13, 'Access is denied', source, 5, target)
    real_replace(source, target, **kwargs)


def rename(source, target, **kwargs):
    if os.path.exists(target):
        raise FileExistsError(17, 'it exists', source, 183, target)
    real_rename(source, target, **kwargs)


def system():
    caller = sys._getframe(1).f_globals.get('__name__', '')
    return 'Windows' if caller.startswith(('mm', '_')) else real_system()


def refuse_link(*args, **kwargs):
    raise OSError(1314, 'A required privilege is not held by the client')


def spawn_only():
    spawn = context._concrete_contexts['spawn']
    context._concrete_contexts.clear()
    context._concrete_contexts['spawn'] = spawn
    default = context._default_context
    default._default_context, default._actual_context = spawn, None
    context.DefaultContext.get_all_start_methods = lambda self: ['spawn']
    multiprocessing.get_all_start_methods = default.get_all_start_methods


def ascii_paths_only():
    import cv2

    read, write = cv2.imread, cv2.imwrite
    cv2.imread = lambda path, *a: read(path, *a) if path.isascii() else None
    cv2.imwrite = lambda path, *a: path.isascii() and write(path, *a)


sys.modules.update(dict.fromkeys(GONE))
for name in GONE_FROM_OS:
    delattr(os, name)
os.environ.setdefault('USERNAME', 'somebody')
shutil._use_fd_functions = False
# No function, which Python 3.10's pathlib would make a method of.
builtins.open = io.open = functools.partial(open_cp1252)
os.open, os.fsync, os.replace, os.rename = open_file, flush, replace, rename
os.symlink = refuse_link
platform.system = system
spawn_only()
ascii_paths_only()
warnings.filterwarnings('error', category=EncodingWarning, module=OURS)
