"""Try each fault of the page "Which faults do runs and pages survive?" many times; write the counts to a JSON file.

    python tests/reliability.py faults                kills, full disks, flipped bits and the like; minutes
    python tests/reliability.py fuzz --cases 10000    so many cases of each kind of hostile input, see `hostile`

The file is `reliability.json`; each fault and each kind of input has its own row in it. A try with a wrong end stops
the script. Hostile cases are drawn from numbered seeds: the same command continues where it was stopped, and a row
names the commits of all its tries. To start anew, delete the row.
"""

import argparse
import json
import sys
from collections import Counter

import torch

from stn_paper.paths import RELIABILITY, ROOT, replace_file
from stn_paper.training import hardware

sys.path.insert(0, str(ROOT / "tests"))

import faults
import hostile

BATCH = 100  # cases of one seed


def fuzz(name, cases, commit):
    """Try a kind of input until its row has this number of cases; the row is updated after each batch."""
    row = {"cases": 0} | kept().get("fuzz", {}).get("found", {}).get(name, {})
    commit = ", ".join(sorted({*filter(None, row.pop("commit", "").split(", ")), commit}))
    while row["cases"] < cases:
        row = Counter(row) + Counter(hostile.attempt(name, BATCH, start=row["cases"] // BATCH))
        store("fuzz", name, dict(row), commit)
    print(name, dict(row), flush=True)


def tried(name, commit):
    """Try a fault; its row is {"how", "tries", "ends": {how it ended: number}, "commit"}."""
    ends = faults.attempt(name)
    row = {"how": faults.FAULTS[name].how, "tries": ends.total(), "ends": dict(ends)}
    store("faults", name, row, commit)
    print(name, row, flush=True)


def kept():
    return json.loads(RELIABILITY.read_text(encoding="utf-8")) if RELIABILITY.exists() else {}


def store(part, name, row, commit):
    """Write a row of a part of the file; the other rows stay."""
    found = kept()
    rows = found.get(part, {}).get("found", {}) | {name: row | {"commit": commit}}
    found[part] = {"device": hardware.device_name(torch.device("cpu")), "found": rows}
    with replace_file(RELIABILITY) as partial:
        partial.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["faults", "fuzz"])
    parser.add_argument("--cases", type=int, default=10_000, help="of each kind of hostile input")
    parser.add_argument(
        "--only", action="append", help="a fault or kind of input; the others keep their counts"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    commit = hardware.current_commit()  # before the file changes
    for name in options.only or (hostile.KINDS if options.part == "fuzz" else faults.FAULTS):
        if options.part == "fuzz":
            fuzz(name, options.cases, commit)
        else:
            tried(name, commit)


if __name__ == "__main__":
    main()
