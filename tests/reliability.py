"""Try each fault of the page "What does it survive?" many times and write the counts to `reliability.json`.

    python tests/reliability.py faults                kills, full disks, flipped bits and the like; minutes
    python tests/reliability.py fuzz --cases 10000    so many cases of each kind of hostile input, see `hostile`

Each fault and each kind of input replaces its own row of the file. A try that ends otherwise than it should
stops the script, and its row is not written.
"""

import argparse
import itertools
import json
import sys
from collections import Counter

import torch

from stn_paper.paths import RELIABILITY, ROOT, replacing
from stn_paper.training import hardware

sys.path.insert(0, str(ROOT / "tests"))

import faults
import hostile

BATCH = 100  # cases of one seed


def fuzz(name, cases):
    """{"cases", "result", "sentence"} of at least so many cases of a kind of input."""
    ends = Counter()
    for start in itertools.count():
        if ends["cases"] >= cases:
            return dict(ends)
        ends.update(hostile.attempt(name, BATCH, start))


def tried(name):
    """{"how", "tries", "ends": {how it ended: number}} of a fault."""
    ends = faults.attempt(name)
    return {"how": faults.FAULTS[name].how, "tries": ends.total(), "ends": dict(ends)}


def store(part, name, row, commit):
    """Write a row of a part of the file; the other rows stay."""
    kept = json.loads(RELIABILITY.read_text(encoding="utf-8")) if RELIABILITY.exists() else {}
    rows = kept.get(part, {}).get("found", {}) | {name: row | {"commit": commit}}
    kept[part] = {"device": hardware.device_name(torch.device("cpu")), "found": rows}
    with replacing(RELIABILITY) as partial:
        partial.write_text(json.dumps(kept, indent=0) + "\n", encoding="utf-8")
    print(name, row, flush=True)


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
    commit = hardware.commit()  # before the file changes
    for name in options.only or (hostile.KINDS if options.part == "fuzz" else faults.FAULTS):
        row = fuzz(name, options.cases) if options.part == "fuzz" else tried(name)
        store(options.part, name, row, commit)


if __name__ == "__main__":
    main()
