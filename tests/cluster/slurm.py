"""A small SLURM on this machine: one controller and two nodes on the loopback address, in one folder.

    python tests/cluster/slurm.py up /some/folder      prints what a shell must export to use it
    python tests/cluster/slurm.py down /some/folder

It needs Debian's slurm-wlm and munge, and no administrator rights. It writes only to the folder and has its own munge
key, so that it does not disturb another SLURM on this machine.
"""

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
NODES = ("one", "two")
CONFIG = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SlurmdTimeout=10
ReturnToService=2
KillWait=5
MinJobAge=600
"""
NODE = "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=64000\n"
PARTITION = "PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP\n"


def lacking():
    """Programs that the cluster needs and this machine does not have."""
    return [name for name in PROGRAMS if not _which(name)]


def _which(name):
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def wait_for(event, condition, limit=120, every=0.5):
    """The condition's value as soon as it is true; TimeoutError after `limit` seconds."""
    end = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{event} did not come about in {limit} s")
        time.sleep(every)
    return value


def environment(folder):
    """Environment variables by which SLURM's commands, also in jobs, use the folder's cluster."""
    return {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}/bin:{os.environ['PATH']}"}


def call(folder, *command):
    """The output of a SLURM command on the folder's cluster."""
    variables = os.environ | environment(folder)
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def configure(folder):
    """Write slurm.conf and a munge key into the folder, which must be the user's own."""
    for name in ("bin", "state", *(f"spool-{node}" for node in NODES)):
        (folder / name).mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    host, (port, *ports) = socket.gethostname(), _free_ports(1 + len(NODES))
    text = CONFIG.format(folder=folder, user=getpass.getuser(), host=host, controller_port=port)
    text += "".join(NODE.format(name=n, host=host, port=p) for n, p in zip(NODES, ports))
    (folder / "slurm.conf").write_text(text + PARTITION)
    srun = folder / "bin/srun"  # Snakemake's plugin calls srun in jobs without SLURM_CONF
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {_which("srun")} "$@"\n')
    srun.chmod(0o755)
    key = folder / "munge.key"
    key.unlink(missing_ok=True)
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)


def start_node(folder, node):
    """Start a node's daemon."""
    _start(folder, "slurmd", "-N", node, "-f", str(folder / "slurm.conf"))


def _start(folder, name, *options):
    variables = os.environ | environment(folder)
    subprocess.run([_which(name), *options], env=variables, check=True, stdin=subprocess.DEVNULL)


def up(folder):
    """Start munge, the controller and the nodes; returns when all nodes are idle."""
    configure(folder)
    places = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid"}
    places |= {"log-file": "munged.log", "seed-file": "munge.seed"}
    _start(folder, "munged", *(f"--{option}={folder / name}" for option, name in places.items()))
    _start(folder, "slurmctld", "-c", "-f", str(folder / "slurm.conf"))
    for node in NODES:
        start_node(folder, node)
    wait_for("two idle nodes", lambda: states(folder) == dict.fromkeys(NODES, "idle"))


def states(folder):
    """{node: state} by the controller; empty while it does not answer."""
    with suppress(subprocess.CalledProcessError):
        lines = call(folder, "sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
        return dict(line.split() for line in lines)
    return {}


def processes(folder, *words, job=None):
    """Ids of the processes of this cluster, or of one job, whose command has these words."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            variables = (place / "environ").read_bytes().split(b"\0")
            command = (place / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            settings = [f"SLURM_CONF={folder}/slurm.conf", *([f"SLURM_JOB_ID={job}"] if job else [])]
            if all(w.encode() in variables for w in settings) and all(w in command for w in words):
                found.append(int(place.name))
    return found


def cut_off(folder, node):
    """Kill a node as a power cut does: its daemon and all its processes, at once."""
    jobs = jobs_on(folder, node)
    doomed = [p for job in jobs for p in processes(folder, f"slurmstepd: [{job}.")]
    doomed += [p for job in jobs for p in processes(folder, job=job)]
    for pid in [int((folder / f"slurmd-{node}.pid").read_text()), *doomed]:
        kill(pid)


def jobs_on(folder, node):
    """Ids of the jobs that run on a node."""
    return call(folder, "squeue", "--noheader", "--states=R", f"--nodelist={node}", "--format=%i").split()


def job_of(pid):
    """Id of the job that a process belongs to."""
    variables = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return next(v.partition("=")[2] for v in variables if v.startswith("SLURM_JOB_ID="))


def kill(pid, how=signal.SIGKILL):
    with suppress(ProcessLookupError):
        os.kill(pid, how)


def down(folder):
    """Cancel all jobs of the folder's cluster, and end all its daemons and their processes."""
    with suppress(subprocess.CalledProcessError, OSError):
        for job in call(folder, "squeue", "--noheader", "--format=%i").split():
            call(folder, "scancel", "--full", job)
        wait_for("an empty queue", lambda: not call(folder, "squeue", "--noheader").strip(), 60)
    names = [*(f"slurmd-{node}.pid" for node in NODES), "slurmctld.pid", "munged.pid"]
    pids = [int((folder / name).read_text()) for name in names if (folder / name).exists()]
    for pid in pids:
        kill(pid, signal.SIGTERM)
    with suppress(TimeoutError):
        wait_for("the daemons' end", lambda: not any(Path(f"/proc/{p}").exists() for p in pids), 30)
    for pid in {*pids, *processes(folder, "slurmstepd")}:
        kill(pid)


@contextmanager
def cluster(folder):
    """Context: a running cluster in the folder; it is ended when the block ends in any way."""
    try:
        up(folder)
        yield folder
    finally:
        down(folder)


if __name__ == "__main__":
    actions = {"up": up, "down": down}
    if len(sys.argv) != 3 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    if missing := lacking():
        sys.exit(f"SLURM is not installed here: {', '.join(missing)} are missing (Debian: slurm-wlm, munge).")
    place = Path(sys.argv[2]).resolve()
    actions[sys.argv[1]](place)
    if sys.argv[1] == "up":
        print(*(f"export {name}={value}" for name, value in environment(place).items()), sep="\n")
