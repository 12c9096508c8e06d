"""``python -m mmmsmlp train CONFIG ...``: the tools, where there is no checkout.

Every file of ``tools`` is a command: train, test, dist_train, slurm_test and so on,
but those that make a checkout's own environment.
"""

import os
import runpy
import sys

from .configs import root

OF_THE_CHECKOUT = ('check_env', 'env', 'lint', 'model_zoo', 'quickstart', 'run_tests')


def main() -> None:
    folder = root() / 'tools'
    tools = {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.suffix in ('.py', '.sh')
        and not path.name.startswith('_')
        and path.stem not in OF_THE_CHECKOUT
    }
    name = sys.argv[1] if len(sys.argv) > 1 else '--help'
    if not name.startswith('-'):
        name = name.replace('-', '_')  # mmcv-ops is the file mmcv_ops.py
    if name in ('-h', '--help'):
        print(f'usage: python -m mmmsmlp TOOL ...\n\ntools: {", ".join(tools)}')
        return
    if name not in tools:
        print(
            f'error: there is no tool {name!r}; choose one of {", ".join(tools)}',
            file=sys.stderr,
        )
        sys.exit(2)
    tool, arguments = str(tools[name]), sys.argv[2:]
    if tool.endswith('.sh'):
        os.environ.setdefault('PYTHON', sys.executable)
        os.execvp('bash', ['bash', tool, *arguments])
    sys.argv = [tool, *arguments]
    sys.path.insert(0, str(folder))  # where a tool finds its neighbours
    runpy.run_path(tool, run_name='__main__')


if __name__ == '__main__':
    main()
