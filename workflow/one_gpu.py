"""Run a command on one free GPU of this machine: `python workflow/one_gpu.py <command>`.

CUDA_VISIBLE_DEVICES shows the command only this GPU. Each GPU has a lock file; the lock is freed when the command ends
in any way. Without a GPU, and in a job of SLURM with one GPU, the command runs unchanged. GPUs are those in
CUDA_VISIBLE_DEVICES if it is set, else all that nvidia-smi lists.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from filelock import FileLock, Timeout  # the package is not imported, because that takes seconds


def devices():
    """Names of the GPUs that may be used, in the form of CUDA_VISIBLE_DEVICES."""
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        names = [name.strip() for name in os.environ["CUDA_VISIBLE_DEVICES"].split(",")]
        return list(takewhile(lambda name: name not in ("", "-1"), names))  # CUDA ignores what follows, too
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return []


@contextmanager
def lock_free_gpu(names, wait=1.0):
    """Context: lock a free GPU and return its name; all GPUs are tried every `wait` seconds until one is free."""
    job = os.environ.get("SLURM_JOB_ID", "")  # two jobs may number their own GPUs alike
    folder = (
        Path(tempfile.gettempdir()) / f"stn_paper_gpus_{os.getuid()}_{job}"
    )  # not shared between machines
    folder.mkdir(exist_ok=True)
    locks = {name: FileLock(folder / f"{name}.lock") for name in names}
    while True:
        for name, lock in locks.items():
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield name
            finally:
                lock.release()
            return
        time.sleep(wait)


def main(command):
    names = devices()
    if len(names) <= ("SLURM_JOB_ID" in os.environ):
        return run(command, os.environ)
    with lock_free_gpu(names) as name:
        return run(command, os.environ | {"CUDA_VISIBLE_DEVICES": name})


def run(command, env):
    """Run the command and return its exit status; a signal that ends this process is sent to the command instead."""
    try:
        process = subprocess.Popen(command, env=env)
    except (OSError, IndexError) as error:
        print(f"Command {command} cannot be run: {error}.", file=sys.stderr)
        return 127
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: process.send_signal(number))
    return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
