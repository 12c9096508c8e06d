"""``python -m mmmsmlp train CONFIG ...``: the tools, where there is no checkout.

Every file of ``tools`` is a command: train, test, dist_train, slurm_test and so on,
but those that make a checkout's own environment.
"""

import os
import runpy
import shutil
import sys

from .configs import root

OF_THE_CHECKOUT = (
    'check_env',
    'docs',
    'env',
    'lint',
    'model_zoo',
    'plugin_matrix',
    'run_tests',
)


def main() -> None:
    folder = root() / 'tools'
    tools = {
        path.stem: path
        for path in sorted(folder.iterdir(), reverse=True)  # .py after .sh, and wins
        if path.suffix in ('.py', '.sh')
        and not path.name.startswith('_')
        and path.stem not in OF_THE_CHECKOUT
    }
    name = sys.argv[1] if len(sys.argv) > 1 else '--help'
    if not name.startswith('-'):
        name = name.replace('-', '_')  # mmcv-ops is the file mmcv_ops.py
    if name in ('-h', '--help'):
        print(f'usage: python -m mmmsmlp TOOL ...\n\ntools: {", ".join(sorted(tools))}')
        return
    if name not in tools:
        _refuse(f'there is no tool {name!r}; choose one of {", ".join(sorted(tools))}')
    tool, arguments = str(tools[name]), sys.argv[2:]
    if tool.endswith('.sh'):
        if shutil.which('bash') is None:
            _refuse(f'{name} is a bash script, and there is no bash on the PATH')
        os.environ.setdefault('PYTHON', sys.executable)
        os.execvp('bash', ['bash', tool, *arguments])
    sys.argv = [tool, *arguments]
    sys.path.insert(0, str(folder))  # where a tool finds its neighbours
    runpy.run_path(tool, run_name='__main__')


def _refuse(why: str) -> None:
    print(f'error: {why}', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
    main()
