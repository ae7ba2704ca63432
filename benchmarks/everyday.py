"""Wall time of the everyday commands, with the GPUs hidden."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from stn_paper.paths import ROOT

from .measuring import significant

BIN = Path(sys.executable).parent
IMPORT = (
    "import time, torch, torchvision, timm; start = time.perf_counter(); import stn_paper; stn_paper.build_model; "
    "print(time.perf_counter() - start)"
)


class Command(NamedTuple):
    arguments: list  # "{}" is replaced by a temporary folder
    repeated: bool = True
    quick: bool = False  # part of --quick
    untrained: bool = False  # runs without records and checkpoints
    busy_loops: int = 0  # number of endless loops that run at the same time


PAPERMILL = [BIN / "papermill", "notebooks/table6.ipynb", "{}/out.ipynb", "-p", "backbone", "effb5"]
COMMANDS = {
    "papermill": Command(PAPERMILL, untrained=True),
    "papermill beside two busy loops": Command(PAPERMILL, untrained=True, busy_loops=2),
    "jb build book": Command([BIN / "jb", "build", "book", "--path-output", "{}"]),
    "import": Command([sys.executable, "-c", IMPORT], quick=True),
    "--help": Command([sys.executable, "-m", "stn_paper", "--help"], quick=True),
    "tests": Command([BIN / "pytest", "--nbval", "-q", "-p", "no:cacheprovider"], repeated=False),
}


def run(setting):
    """Yield `rows`: median seconds of each command, and whether it ended well.

    papermill gets new folders for results and cache each time, so that it trains. GPUs are hidden, because on a GPU it
    would train for days. The command `import` imports stn_paper and its networks after torch, torchvision and timm.
    This command prints the seconds of its import; the other commands are timed from outside.
    """
    rows = []
    for title, command in COMMANDS.items():
        if command.quick or not setting.quick:
            rounds = setting.sizes.commands if command.repeated else 1
            seconds, codes = zip(*(_timed(command) for _ in range(rounds)))
            row = {"program": title, "seconds": significant(statistics.median(seconds))}
            rows.append(row | {"rounds": rounds, "ended_well": not any(codes)})
    yield {"rows": rows}


def _timed(command):
    """Run a command in the repository's root: (seconds, exit status); `import` prints its seconds itself."""
    with tempfile.TemporaryDirectory() as folder:
        hidden = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
        if command.untrained:
            results = Path(folder) / "results"
            results.mkdir()
            shutil.copy(ROOT / "results/costs.csv", results)
            hidden |= {"STN_PAPER_RESULTS": str(results), "STN_PAPER_CACHE": f"{folder}/cache"}
        typed = [str(argument).replace("{}", folder) for argument in command.arguments]
        loops = [
            subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(command.busy_loops)
        ]
        try:
            start = time.perf_counter()
            done = subprocess.run(typed, cwd=ROOT, env=hidden, capture_output=True, text=True)
            seconds = time.perf_counter() - start
        finally:
            for loop in loops:
                loop.kill()
                loop.wait()
    return float(done.stdout) if IMPORT in typed and not done.returncode else seconds, done.returncode
