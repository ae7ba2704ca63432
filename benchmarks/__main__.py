"""`python -m benchmarks --device cpu|cuda|auto --out FILE`: measure the parts that FILE lacks and write them to it."""

import argparse
import json
import re
import sys
import tempfile
import time
from pathlib import Path

from stn_paper.errors import InputError, check_choice
from stn_paper.paths import UNFINISHED, replace_file
from stn_paper.training.hardware import check_device

from . import data, everyday, limit, small, small_protocol, throughput, transformer
from .measuring import machine
from .sizes import SIZES, Setting

PARTS = {
    "throughput": throughput.run,
    "transformer": transformer.run,
    "data": data.run,
    "limit": limit.run,
    "small": small.run,
    "small_protocol": small_protocol.run,
    "everyday": everyday.run,
}
CONTINUED = ("throughput",)  # parts that resume after an interruption; the others start again
SAME = ("name", "cores", "threads", "torch", "timm")  # must be the same for all parts of a file


def main(arguments=None):
    """Parse the command line and measure; a wrong value ends the program with one sentence."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="JSON; its parts are kept")
    parser.add_argument("--parts", help=f"measure these parts again, comma-separated: {','.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="the smallest sizes: shows only that it runs")
    options = parser.parse_args(arguments)
    try:
        measure_parts(options.device, options.out, options.parts, options.quick)
    except InputError as error:
        sys.exit(str(error))


def measure_parts(device, out, parts=None, quick=False):
    """Measure `parts` (comma-separated names; None: the parts missing from the file) and write them to the file `out`.

    The file is written each time a part yields. An interrupted part of CONTINUED resumes if the commit is the same.
    Raises InputError for an unknown device or part, or a file of another machine or size, before anything is measured.
    """
    device = check_device(device)
    this_machine = machine(device)
    results = _read(out, this_machine, quick)
    ended = {name for name, part in results.items() if UNFINISHED not in part}
    chosen = [check_choice("part", part, PARTS) for part in parts.split(",")] if parts else set(PARTS) - ended
    sizes = SIZES["quick" if quick else device.type]
    with tempfile.TemporaryDirectory() as folder:  # of generated images, where there are none
        for part in [name for name in PARTS if name in chosen]:
            print(f"{part} on {this_machine['name']} ...", file=sys.stderr, flush=True)
            unfinished = results.get(part, {})
            if part in ended or part not in CONTINUED or unfinished.get("commit") != this_machine["commit"]:
                unfinished = {}
            start = time.perf_counter() - unfinished.get("took_seconds", 0)
            setting = Setting(device, sizes, Path(folder), quick, tuple(unfinished.get("rows", ())))
            for measured in PARTS[part](setting):
                seconds = round(time.perf_counter() - start)
                source = {"commit": this_machine["commit"], "took_seconds": seconds}
                results[part] = source | measured | {UNFINISHED: True}
                _write(out, device, quick, this_machine, results)
            del results[part][UNFINISHED]
            _write(out, device, quick, this_machine, results)


def _write(out, device, quick, this_machine, results):
    """Write JSON with a line for each field and for each list of numbers."""
    parts = {name: results[name] for name in PARTS if name in results}
    content = {"device": device.type, "quick": quick, "machine": this_machine, "parts": parts}
    text = json.dumps(content, indent=1)
    with replace_file(out) as file:
        file.write_text(
            re.sub(r"\[[^][{}]*\]", lambda match: " ".join(match[0].split()), text) + "\n", encoding="utf-8"
        )


def _read(out, this_machine, quick):
    """Return the parts in the file; InputError if they were measured on another machine or at another size."""
    if not out.exists():
        return {}
    try:
        content = json.loads(out.read_text(encoding="utf-8"))
        recorded = {key: content["machine"][key] for key in SAME}
        content["quick"], content["parts"]
    except (OSError, ValueError, TypeError, KeyError):
        raise InputError(f"File {out} was not written by `python -m benchmarks`: name another one.") from None
    differ = [
        f"{key} is {recorded[key]}, not {this_machine[key]}"
        for key in SAME
        if recorded[key] != this_machine[key]
    ]
    if content["quick"] != quick:
        differ.append("it is of the quick size" if content["quick"] else "it is not of the quick size")
    if differ:
        raise InputError(f"File {out} was measured elsewhere ({'; '.join(differ)}): name another one.")
    return content["parts"]


if __name__ == "__main__":
    main()
