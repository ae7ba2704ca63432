"""Start each notebook's kernel by a fork of one process, which has done the imports; `conftest` installs `launch`.

The imports take four seconds in a new kernel. Every notebook still has a process and a namespace of its own.
Run as a script, this file is the process that forks. It reads a line of JSON for each kernel, forks, and prints the
process id of the new process.
"""

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache

import jupyter_client.launcher

LAUNCHER = "ipykernel_launcher"  # the module that jupyter_client starts; the kernel's arguments follow it


def launch(cmd, *arguments, env=None, cwd=None, **options):
    """As `jupyter_client.launch_kernel`, but by a fork where the system and the kernel's paths allow it."""
    env = dict(os.environ if env is None else env)
    if not hasattr(os, "fork") or LAUNCHER not in cmd or cmd[0] != sys.executable or "PYTHONPATH" in env:
        return jupyter_client.launcher.launch_kernel(cmd, *arguments, env=env, cwd=cwd, **options)
    forked = _forked_process()
    request = {"argv": cmd[cmd.index(LAUNCHER) + 1 :], "env": env, "cwd": str(cwd or os.getcwd())}
    forked.stdin.write(json.dumps(request) + "\n")
    forked.stdin.flush()
    return Kernel(int(forked.stdout.readline()))


@cache
def _forked_process():
    env = {name: value for name, value in os.environ.items() if not name.startswith("STN_PAPER_")}
    env["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # read when matplotlib is imported
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, __file__], env=env, **pipes)


class Kernel:
    """The process of a kernel, with the methods of `subprocess.Popen` that jupyter_client calls.

    The kernel is a child of the process that forks, not of this one.
    """

    stdin = stdout = stderr = None

    def __init__(self, pid):
        self.pid = pid

    def poll(self):
        try:
            return os.kill(self.pid, 0)  # None: it is there
        except ProcessLookupError:
            return 0

    def wait(self):
        while self.poll() is None:
            time.sleep(0.02)
        return 0

    def send_signal(self, signum):
        os.kill(self.pid, signum)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        self.send_signal(signal.SIGTERM)


def serve():
    """Fork a kernel for each line of the standard input, until it ends."""
    import importlib
    import pkgutil

    import ipykernel.kernelapp
    import pandas

    import stn_paper.report

    pandas.set_option("display.max_columns", 20)  # pandas's own choice, if a kernel imports it

    for module in pkgutil.walk_packages(stn_paper.report.__path__, "stn_paper.report."):
        importlib.import_module(module.name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # an ended kernel leaves no trace
    answers = os.dup(1)
    for line in sys.stdin:
        request = json.loads(line)
        if os.fork():
            continue
        os.setsid()  # before the number is told: jupyter_client stops the whole group
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.write(answers, f"{os.getpid()}\n".encode())
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2, answers):
            os.dup2(null, number)
        os.environ.clear()
        os.environ.update(request["env"])
        os.chdir(request["cwd"])
        sys.path[0] = ""
        ipykernel.kernelapp.launch_new_instance(argv=request["argv"])
        os._exit(0)


if __name__ == "__main__":
    serve()
