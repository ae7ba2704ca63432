"""The everyday commands: wall time of what a reader types, on the processor alone."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from stn_paper.paths import ROOT

from .measuring import significant

BIN = Path(sys.executable).parent
IMPORT = "import time, torch; t = time.perf_counter(); import stn_paper; print(time.perf_counter() - t)"
PAPERMILL = "papermill"
COMMANDS = {  # title: (arguments, "{}" for a folder that goes; whether it is repeated, part of --quick)
    PAPERMILL: (
        [BIN / "papermill", "notebooks/table6.ipynb", "{}/out.ipynb", "-p", "backbone", "effb5"],
        True,
        False,
    ),
    "jb build book": ([BIN / "jb", "build", "book", "--path-output", "{}"], True, False),
    "import": ([sys.executable, "-c", IMPORT], True, True),
    "tests": ([BIN / "pytest", "--nbval", "-q", "-p", "no:cacheprovider"], False, False),
}


def run(setting):
    """`rows`: median seconds of each command, and whether it ended well.

    papermill has new folders for results and cache each time, so that it trains; nothing sees a GPU, where
    it would train for days. `import` is of stn_paper after torch, in seconds that its process takes itself.
    """
    rows = []
    for title, (arguments, repeated, quick) in COMMANDS.items():
        if quick or not setting.quick:
            rounds = setting.sizes.commands if repeated else 1
            seconds, codes = zip(*(_timed(arguments, title == PAPERMILL) for _ in range(rounds)))
            row = {"program": title, "seconds": significant(statistics.median(seconds))}
            rows.append(row | {"rounds": rounds, "ended_well": not any(codes)})
    yield {"rows": rows}


def _timed(arguments, untrained):
    """(seconds, exit status) of a command at the repository's root; the seconds are what it prints, if so.

    `untrained` lets it see no record and no checkpoint.
    """
    with tempfile.TemporaryDirectory() as folder:
        hidden = os.environ | {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
        if untrained:
            results = Path(folder) / "results"
            results.mkdir()
            shutil.copy(ROOT / "results/costs.csv", results)
            hidden |= {"STN_PAPER_RESULTS": str(results), "STN_PAPER_CACHE": f"{folder}/cache"}
        command = [str(argument).replace("{}", folder) for argument in arguments]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, env=hidden, capture_output=True, text=True)
        seconds = time.perf_counter() - start
    return float(done.stdout) if IMPORT in command else seconds, done.returncode
