"""Try each fault of the page "What does it survive?" many times and write the counts to `reliability.json`.

    python tests/reliability.py faults             kills, full disks, flipped bits and the like; minutes
    python tests/reliability.py fuzz --minutes 25  hostile input of all kinds, see `hostile`

Each part replaces what the file holds of it. A try that ends otherwise than it should stops the script, and
nothing is written.
"""

import argparse
import json
import sys
import time
from collections import Counter

import torch

from stn_paper.paths import RELIABILITY, ROOT, replacing
from stn_paper.training import hardware

sys.path.insert(0, str(ROOT / "tests"))

import faults
import hostile

BATCH = 100  # cases between two looks at the clock


def fuzz(minutes, kinds):
    """{kind: {"cases", "result", "sentence"}}: each kind gets the same share of the time."""
    found = {}
    for name in kinds:
        start, end, ends = 0, time.time() + 60 * minutes / len(kinds), Counter()
        while time.time() < end:
            ends.update(hostile.attempt(name, BATCH, start))
            start += 1
        found[name] = dict(ends)
        print(name, found[name], flush=True)
    return found


def tried(names):
    """{fault: {"how", "tries", "ends": {how it ended: number}}}"""
    found = {}
    for name in names:
        ends = faults.attempt(name)
        found[name] = {"how": faults.FAULTS[name].how, "tries": ends.total(), "ends": dict(ends)}
        print(name, found[name], flush=True)
    return found


def store(part, found):
    kept = json.loads(RELIABILITY.read_text(encoding="utf-8")) if RELIABILITY.exists() else {}
    device = hardware.device_name(torch.device("cpu"))
    rows = {name: row | {"commit": hardware.commit()} for name, row in found.items()}
    kept[part] = {"device": device, "found": kept.get(part, {}).get("found", {}) | rows}
    with replacing(RELIABILITY) as partial:
        partial.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["faults", "fuzz"])
    parser.add_argument("--minutes", type=float, default=25, help="of hostile input")
    parser.add_argument(
        "--only", action="append", help="a fault or kind of input; the others keep their counts"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.part == "fuzz":
        store("fuzz", fuzz(options.minutes, options.only or hostile.KINDS))
    else:
        store("faults", tried(options.only or faults.FAULTS))


if __name__ == "__main__":
    main()
