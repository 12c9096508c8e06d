"""``python -m mmmsmlp.run.torchrun PROCESSES SCRIPT CONFIG ...``: start torchrun.

It adds to ``torchrun`` the variables that OpenMMLab users know (NNODES, NODE_RANK,
MASTER_ADDR, PORT), a free port on one node, and an end without a traceback where the
processes themselves have said what was wrong.
"""

import logging
import os
import sys
from collections.abc import Mapping

from ..errors import BadInput
from .config import find_config
from .entry import EXIT_BAD_INPUT, run_tool


def rendezvous_arguments(processes: int, env: Mapping[str, str]) -> list[str]:
    """Say to torchrun how many processes there are and where they meet.

    Args:
        processes: Processes on this node.
        env: Variables NNODES, NODE_RANK, MASTER_ADDR and PORT (or MASTER_PORT).

    Raises:
        BadInput: A variable is no number or is missing.
    """
    nodes = _number(env, 'NNODES', 1)
    port = 'PORT' if 'PORT' in env else 'MASTER_PORT'
    arguments = [f'--nproc-per-node={processes}']
    if nodes == 1 and port not in env:
        # The local address: a machine's own name need not resolve.
        return [*arguments, '--standalone', '--local-addr=127.0.0.1']
    if nodes > 1 and ('NODE_RANK' not in env or 'MASTER_ADDR' not in env):
        raise BadInput(
            f'NNODES={nodes} needs NODE_RANK (0 to {nodes - 1}, one a node) and '
            'MASTER_ADDR (the address of node 0, the same on every node)'
        )
    return [
        *arguments,
        f'--nnodes={nodes}',
        f'--node-rank={_number(env, "NODE_RANK", 0)}',
        f'--master-addr={env.get("MASTER_ADDR", "127.0.0.1")}',
        f'--master-port={_number(env, port, 29500)}',
    ]


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    value = env.get(name, str(default))
    if not value.isdecimal():
        raise BadInput(f'{name} must be a whole number, got {value!r}')
    return int(value)


def main() -> None:
    """Start the processes, wait, and end with the code of the one that failed."""
    processes, script, config, *rest = sys.argv[1:]
    find_config(config)  # one plain error before any process starts
    arguments = rendezvous_arguments(int(processes), os.environ)
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # Its loggers repeat at error level what the processes have printed already.
    logging.getLogger('torch.distributed.elastic').setLevel(logging.CRITICAL)
    try:
        run.main([*arguments, script, config, *rest, '--launcher', 'pytorch'])
    except SignalException as stopped:
        sys.exit(128 + stopped.sigval)  # the shell's code for a signal
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = failure.exitcode
        if code != EXIT_BAD_INPUT:
            how = f'signal {-code}' if code < 0 else f'exit code {code}'
            print(
                f'error: process {rank} ended first, with {how}; its own messages are '
                'above, and the others were stopped',
                file=sys.stderr,
            )
        sys.exit(code if code > 0 else 1)


if __name__ == '__main__':
    run_tool(main)
