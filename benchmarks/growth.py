"""How the work on all records grows with their number: `python -m benchmarks.growth --out benchmarks/growth.csv`.

The repository's records are copied 1, 10 and 100 times into a temporary folder, with other seeds and other losses. Each
task is a process of its own. Its seconds are processor time with the start of Python, so that other programs on the
machine hardly matter.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from stn_paper.analysis import frame
from stn_paper.paths import ROOT, replace_file, results_dir
from stn_paper.training import records

TIMES = (1, 10, 100)
TASKS = {  # task -> arguments of Python
    "nothing but the imports": ("-c", "import stn_paper.report.run_pages, stn_paper.report.front_page"),
    "results check": ("-m", "stn_paper", "results", "check"),
    "results table": ("-m", "stn_paper", "results", "table"),
    "README": (
        "-c",
        "from stn_paper.report import front_page; front_page.lstn_answers(); front_page.findings()",
    ),
    "Tables 6 and 8": (
        "-c",
        "from stn_paper.report import accuracy_page, accuracy_verdicts\n"
        "for n in (6, 8): accuracy_page.accuracy_table(n), accuracy_verdicts.pattern_verdict(n)",
    ),
    "run pages": (
        "-c",
        "from stn_paper.analysis import frame; from stn_paper.report import run_pages\n"
        "groups = run_pages.related_runs(frame.records_by_name())\n"
        "for name in groups: run_pages.run_page(name, groups[name])",
    ),
}
COLUMNS = ("task", "records", "seconds", "mib")


def multiply(times, originals, folder):
    """Write each record of {name: record} `times` times into the folder, with other seeds; return their number."""
    for record in originals.values():
        spec, first = records.spec_of(record), record["epochs"][0]
        for i in range(times):
            copy = replace(spec, seed=spec.seed + 1000 * i)
            epochs = [first | {"train_loss": first["train_loss"] + 1e-6 * i}, *record["epochs"][1:]]
            path = Path(folder, spec.dataset, f"{copy.name}.json")
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(record | {"spec": asdict(copy), "epochs": epochs}), encoding="utf-8")
    return times * len(originals)


def measure(arguments, folder):
    """(seconds, MiB): processor time and peak memory of a process of Python with these arguments."""
    variables = os.environ | {"STN_PAPER_RESULTS": str(folder), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=variables, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"python {' '.join(arguments)} ended with {process.returncode}.")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="a CSV file")
    out, rows, originals = parser.parse_args().out, [], frame.records_by_name()
    for times in TIMES:
        with tempfile.TemporaryDirectory() as folder:
            for name in ("costs.csv", "copies"):
                Path(folder, name).symlink_to(results_dir() / name)
            count = multiply(times, originals, folder)
            for task, arguments in TASKS.items():
                seconds, mib = measure(arguments, folder)
                rows.append((task, count, round(seconds, 2), round(mib)))
                print(*rows[-1], flush=True)
                with replace_file(out) as part, part.open("w", newline="", encoding="utf-8") as file:
                    csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])  # kept if it is stopped


if __name__ == "__main__":
    main()
