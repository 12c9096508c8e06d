"""Several processes as one run: starting them, and joining them without CUDA too.

:func:`launch` starts torchrun, with the variables that OpenMMLab users know (NNODES,
NODE_RANK, MASTER_ADDR, PORT), a free port on one node, and an end without a traceback
where the processes themselves have said what was wrong.

With CUDA, joining is left to mmengine. Without it mmengine's launcher would call
``torch.cuda.set_device`` and wrap the model with ``device_ids``, so the process group
is set up here, on gloo, before the Runner looks for one.
"""

import atexit
import gc
import itertools
import json
import logging
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from multiprocessing import get_all_start_methods
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING

import torch
from mmengine.config import Config
from mmengine.device import get_device
from torch import distributed

from ..engine.fsdp import check_sharding
from ..errors import BadInput
from .config import find_config, tables_in
from .entry import EXIT_BAD_INPUT

if TYPE_CHECKING:
    from mmengine.runner import FlexibleRunner, Runner


def rendezvous_arguments(processes: int, env: Mapping[str, str]) -> list[str]:
    """Say to torchrun how many processes there are on this node and where they meet.

    Read from NNODES, NODE_RANK, MASTER_ADDR and PORT (or MASTER_PORT).

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


def launch(processes: str, script: str | Path, config: str, *rest: str) -> None:
    """Start the processes, wait, and end with the code of the one that failed.

    Args:
        processes: How many there are on this node, as it stands on the command line.
        script: Tool that each runs.
        config: The tool's first argument, with ``rest`` behind it.

    Raises:
        BadInput: No number of processes, no such config, or a variable that is wrong.
    """
    if not processes.isdecimal() or int(processes) < 1:
        raise BadInput(
            f'GPUS must be a number of processes, 1 or more, got {processes!r}'
        )
    find_config(config)  # one plain error before any process starts
    arguments = rendezvous_arguments(int(processes), os.environ)
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    if sys.platform == 'win32':
        os.environ.setdefault('USE_LIBUV', '0')  # torch is built without it there
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # Its loggers repeat at error level what the processes have printed already.
    logging.getLogger('torch.distributed.elastic').setLevel(logging.CRITICAL)
    try:
        tool = [str(script), config, *rest, '--launcher', 'pytorch']
        run.main([*arguments, *tool])
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


def set_up_processes(cfg: Config, launcher: str, local_rank: int = 0) -> list[str]:
    """Join the process group where mmengine cannot, and fit the config to it.

    Args:
        cfg: Config; ``launcher``, ``model_wrapper_cfg``, the norms' types and the
            evaluators' ``collect_device`` may change, and so may environment variables.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        local_rank: Taken where the launcher sets no ``LOCAL_RANK``.

    Returns:
        Lines for the log that say what was changed.

    Raises:
        BadInput: More processes than GPUs, no launcher in the environment, or FSDP
            in one process.
    """
    cfg.launcher = launcher
    on_cpu = get_device() == 'cpu'
    check_sharding(cfg, launcher)
    notices = [_spawn_where_forking_fails(cfg)]
    if launcher != 'none':
        if get_device() == 'mps':
            raise BadInput(
                f'--launcher {launcher} starts several processes, which cannot share '
                "a Mac's GPU (mps); start tools/train.py or tools/test.py by itself"
            )
        os.environ.setdefault('LOCAL_RANK', str(local_rank))
        _export_rank(launcher)
        if spans_nodes():
            collect_over_network(cfg)
        if on_cpu:
            _join_gloo(cfg)
        else:
            _check_gpu_count()
    if (on_cpu or launcher == 'none') and (replaced := replace_sync_bn(cfg)):
        why = 'it needs a GPU' if on_cpu else 'there is one process'
        notices.append(f'SyncBN became BN in {replaced} places: {why}')
    return [notice for notice in notices if notice]


def _spawn_where_forking_fails(cfg: Config) -> str | None:
    """Start data workers afresh on Windows, which cannot fork, and on macOS.

    There a forked process may crash in the system's libraries. mmengine forks unless
    the config says otherwise.
    """
    if sys.platform != 'darwin' and 'fork' in get_all_start_methods():
        return None
    env = cfg.get('env_cfg') or {}
    workers = env.get('mp_cfg') or {}
    if workers.get('mp_start_method', 'fork') != 'fork':
        return None
    cfg.env_cfg = dict(env, mp_cfg=dict(workers, mp_start_method='spawn'))
    return 'data workers are spawned, since this system does not fork them safely'


def one_for_all(launcher: str, work: Callable[[], dict]) -> dict:
    """What ``work`` gives in the first process, told to all others as JSON.

    They wait as long as it takes: the processes meet in a store, and no collective
    operation counts the time.

    Raises:
        BadInput: The first process ended without an answer.
    """
    if launcher == 'none':
        return work()
    wait = timedelta(days=1)
    store, rank, world = next(distributed.rendezvous('env://', timeout=wait))
    number = next(_QUESTIONS)
    answer, heard = f'mmmsmlp-answer-{number}', f'mmmsmlp-heard-{number}'
    if rank:
        text = store.get(answer).decode()
        store.add(heard, 1)
        if not text:
            raise BadInput('the first process ended while it worked for all of them')
        return json.loads(text)
    text = ''
    try:
        outcome = work()
        text = json.dumps(outcome)
        return outcome
    finally:
        store.set(answer, text)
        # The store may end with this process: let the others hear first.
        until = time.monotonic() + 30
        while store.add(heard, 0) < world - 1 and time.monotonic() < until:
            time.sleep(0.01)


_QUESTIONS = itertools.count()  # every process asks the same ones in turn


def replace_sync_bn(cfg: Config) -> int:
    """Make every SyncBN of the model a BN, which has the same weights; count them."""
    count = int(bool(cfg.pop('sync_bn', None)))
    for table in tables_in(cfg.get('model')):
        if table.get('type') in ('SyncBN', 'MMSyncBN', 'SyncBatchNorm'):
            table['type'] = 'BN'
            count += 1
    return count


def spans_nodes() -> bool:
    """Whether this run's processes are on several machines, by their variables."""
    env = os.environ
    if any(env.get(n, '1') != '1' for n in ('SLURM_NNODES', 'SLURM_JOB_NUM_NODES')):
        return True
    world = env.get('WORLD_SIZE', '1')
    local = ('LOCAL_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_SIZE')
    return next((env[name] for name in local if name in env), world) != world


def collect_over_network(cfg: Config) -> None:
    """Send each process's results to process 0 instead of writing them to a folder.

    mmengine writes them to ``.dist_test`` under the working directory, which the
    nodes of a cluster need not share: process 0 would wait for files in vain.
    """
    for loop in ('val', 'test'):
        evaluator = cfg.get(f'{loop}_evaluator') or []
        for metric in evaluator if isinstance(evaluator, list) else [evaluator]:
            metric.setdefault('collect_device', 'gpu')  # mmengine's word for network


def _export_rank(launcher: str) -> None:
    """Write the launcher's variables under the names that torch reads."""
    env = os.environ
    try:
        if launcher == 'slurm':
            env['RANK'] = env['SLURM_PROCID']
            env['WORLD_SIZE'] = env['SLURM_NTASKS']
            env['LOCAL_RANK'] = env['SLURM_LOCALID']
            if 'MASTER_ADDR' not in env:
                env['MASTER_ADDR'] = _first_slurm_host(env['SLURM_NODELIST'])
            # Two jobs on one node must not meet: the port comes from the job.
            job = int(env.get('SLURM_JOB_ID', 0)) + int(env.get('SLURM_STEP_ID', 0))
            env.setdefault('MASTER_PORT', str(20000 + job % 20000))
        elif launcher == 'mpi':
            env['RANK'] = env['OMPI_COMM_WORLD_RANK']
            env['WORLD_SIZE'] = env['OMPI_COMM_WORLD_SIZE']
            env['LOCAL_RANK'] = env['OMPI_COMM_WORLD_LOCAL_RANK']
            if not spans_nodes():
                env.setdefault('MASTER_ADDR', '127.0.0.1')
            env.setdefault('MASTER_PORT', '29500')
        for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
            env[name]
    except KeyError as error:
        raise BadInput(
            f'--launcher {launcher} needs the variable {error} that its launcher '
            'sets; start through tools/dist_*.sh or tools/slurm_*.sh, or leave '
            '--launcher out'
        ) from error


def _first_slurm_host(nodes: str) -> str:
    """Name the first of Slurm's nodes, written like ``node[3-5,8]``."""
    if which('scontrol') is None:
        raise BadInput(
            'scontrol is not on the PATH; set MASTER_ADDR to the first node of the job'
        )
    command = ['scontrol', 'show', 'hostnames', nodes]
    found = subprocess.run(command, capture_output=True).stdout.decode().split()
    if not found:
        raise BadInput(f'scontrol knows no node of {nodes}; set MASTER_ADDR to one')
    return found[0]


def _join_gloo(cfg: Config) -> None:
    if not distributed.is_initialized():
        linux = sys.platform == 'linux'  # elsewhere gloo finds its own way
        if linux and spans_nodes() and 'GLOO_SOCKET_IFNAME' not in os.environ:
            os.environ['GLOO_SOCKET_IFNAME'] = interface_to(os.environ['MASTER_ADDR'])
        dist_cfg = cfg.get('env_cfg', {}).get('dist_cfg', {})
        timeout = timedelta(seconds=dist_cfg.get('timeout', 1800))
        distributed.init_process_group('gloo', timeout=timeout)
        atexit.register(leave_gloo)
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    # An explicit None keeps the Runner from filling in [LOCAL_RANK].
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)


def stop_workers(runner: 'Runner | FlexibleRunner') -> None:
    """Let the data workers of a run that has ended go.

    Garbage collection breaks their queues before it tells them to stop: each loader
    would be waited for, 5 s, until its workers look up.
    """
    for name in ('_train_loop', '_val_loop', '_test_loop'):
        loop = getattr(runner, name, None)
        for place in ('dataloader', 'dataloader_iterator'):
            if holder := getattr(loop, place, None):
                holder._iterator = None


def leave_gloo() -> None:
    """Join gloo's threads while Python still runs, and without its lock.

    A thread that lets go of the last collective's tensors during the interpreter's end
    would abort a run that has finished. To let go it takes Python's lock, which a group
    keeps while it joins its threads (torch 2.1); their backend, freed last, does not.
    """
    group = distributed.group.WORLD
    if group is None:
        return  # the run has left by itself
    backend = group._get_backend(torch.device('cpu'))
    distributed.destroy_process_group()
    del group
    gc.collect()  # models refer to the group
    del backend


def interface_to(address: str) -> str:
    """Name the network interface that reaches ``address``.

    Left alone, gloo listens where this machine's own name points, which is often the
    loopback interface, and the other nodes cannot reach it there.

    Raises:
        BadInput: No interface reaches it.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 1))  # sends nothing: it only looks up the route
            own = probe.getsockname()[0]
            for _, name in socket.if_nameindex():
                if _address_of(probe, name) == own:
                    return name
    except OSError as error:
        raise BadInput(
            f'MASTER_ADDR={address} cannot be reached from this machine: {error}. '
            'Give the address of node 0, the same on every node.'
        ) from error
    raise BadInput(
        f'no network interface has the address {own} that reaches MASTER_ADDR='
        f'{address}; name the interface in GLOO_SOCKET_IFNAME'
    )


def _address_of(probe: socket.socket, interface: str) -> str | None:
    """The IPv4 address of an interface, if it has one."""
    import fcntl  # on Linux; nothing else comes here

    siocgifaddr = 0x8915
    request = struct.pack('256s', interface.encode()[:15])
    try:
        answer = fcntl.ioctl(probe.fileno(), siocgifaddr, request)
    except OSError:
        return None
    return socket.inet_ntoa(answer[20:24])


def _check_gpu_count() -> None:
    if not torch.cuda.is_available():
        return  # another accelerator: mmengine knows
    env, count = os.environ, torch.cuda.device_count()
    # By the number of processes, so that each of them knows, the one that speaks too.
    processes = int(env.get('LOCAL_WORLD_SIZE', int(env['LOCAL_RANK']) + 1))
    if processes > count:
        raise BadInput(
            f'{processes} processes on this machine need a GPU each, and {count} are '
            f'visible. Start at most {count}, or set CUDA_VISIBLE_DEVICES=-1 to run on '
            'the CPU.'
        )
