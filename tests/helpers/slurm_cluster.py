"""A real one-node Slurm for the tests: started without systemd, gone afterwards."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'srun', 'sinfo', 'scancel')
CONFIG = """
ClusterName=mmmsmlp
SlurmctldHost={host}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def reason_not_to_run() -> str | None:
    """Why no Slurm can run here, or None."""
    path = os.pathsep.join([os.environ['PATH'], '/usr/sbin', '/sbin'])
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f'apt-get install slurm-wlm munge: there is no {", ".join(missing)}'
    return None


@contextmanager
def running_slurm(folder: Path):
    """Start munge, a controller and a node; yield the environment of their users."""
    for name in ('state', 'spool', 'munge'):
        (folder / name).mkdir(parents=True)
    shutil.chown(folder / 'munge', 'munge', 'munge')
    closed = _open_to_munge(folder)
    host = socket.gethostname().split('.')[0]
    config = folder / 'slurm.conf'
    config.write_text(
        CONFIG.format(
            host=host, ports=_free_ports(2), folder=folder, cpus=os.cpu_count()
        )
    )
    env = dict(os.environ, SLURM_CONF=str(config))
    env['PATH'] += os.pathsep + '/usr/sbin'
    key = folder / 'munge' / 'munge.key'
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    shutil.chown(key, 'munge', 'munge')
    munged = [
        'runuser', '-u', 'munge', '--', '/usr/sbin/munged', '--foreground',
        f'--key-file={key}', f'--socket={folder}/munge.socket',
        f'--pid-file={folder}/munge/munged.pid', f'--seed-file={folder}/munge/seed',
        f'--log-file={folder}/munge/munged.log',
    ]  # fmt: skip
    started = []
    try:
        # munged makes its socket in a folder that it owns.
        for command in (munged, ['slurmctld', '-D'], ['slurmd', '-D']):
            with open(folder / f'{Path(command[0]).name}.out', 'w') as out:
                started.append(
                    subprocess.Popen(command, env=env, stdout=out, stderr=out)
                )
            time.sleep(1)
        _wait_for_idle(env, folder)
        yield env
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=30)
        for parent, mode in closed.items():
            parent.chmod(mode)


def _open_to_munge(folder: Path) -> dict[Path, int]:
    """Let munged, which is another user, pass to its folder; return the old modes."""
    shutil.chown(folder, 'munge', 'munge')
    closed = {}
    for parent in (folder, *folder.parents):
        mode = parent.stat().st_mode
        if mode & 0o011 != 0o011:
            closed[parent] = mode
            parent.chmod(mode | 0o011)
    return closed


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(('127.0.0.1', 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _wait_for_idle(env: dict, folder: Path) -> None:
    """Raises: RuntimeError: The node does not come up; with the daemons' logs."""
    for _ in range(60):
        done = subprocess.run(
            ['sinfo', '--noheader', '--format=%t'], env=env, text=True,
            capture_output=True,
        )  # fmt: skip
        if done.stdout.strip() == 'idle':
            return
        time.sleep(0.5)
    logs = '\n'.join(
        f'{path.name}: {path.read_text()[-2000:]}'
        for path in (*folder.glob('*.log'), *folder.glob('*.out'))
    )
    raise RuntimeError(f'no idle Slurm node: {done.stdout} {done.stderr}\n{logs}')
