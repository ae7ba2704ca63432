"""Faults of machines, files and users: each is tried many times, and a wrong end raises an error.

`FAULTS` has a row for each fault; `reliability` counts the ends. Processes are forked, so that they share the tiny
network and the folder of `hostile.own_folder`.
"""

import ctypes
import itertools
import json
import math
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import threading
import time
from collections import Counter
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import hostile
import torch
from hostile import NUMBERS_OF_A_RUN, own_folder, tiny_spec

from stn_paper import cli
from stn_paper.analysis import audit, frame, results_csv
from stn_paper.data import download, files
from stn_paper.data.datasets import Dataset
from stn_paper.errors import InputError
from stn_paper.paths import lock_file
from stn_paper.report import interactive, run_pages
from stn_paper.training import checkpoint, loop, records, spec

FORK = multiprocessing.get_context("fork")


class Fault(NamedTuple):
    how: str  # it is tried, in words
    tries: int
    attempt: callable  # (number of the try, a random.Random) -> how it ended, in words


def long_spec():
    """The tiny run with six epochs."""
    return tiny_spec(min_epochs=6, max_epochs=6)


def numbers(record):
    return {field: record[field] for field in NUMBERS_OF_A_RUN}


@cache
def undisturbed(which=long_spec):
    """The numbers of a run without a fault."""
    with own_folder():
        return numbers(loop.run(which(), "cpu"))


def started(call, *given):
    process = FORK.Process(target=call, args=given)
    process.start()
    return process


# --- kills and signals ----------------------------------------------------------------------------------


def doomed(number, step, delay, call, *given):
    """Call the function; `delay` seconds after the start of training step `step`, its process gets a signal."""
    step_of = loop.training_step

    def counted(*settings):
        one_step, steps = step_of(*settings), itertools.count(1)

        def stepped(*batch):
            if next(steps) == step:
                timer = threading.Timer(delay, os.kill, (os.getpid(), number))
                timer.daemon = True
                timer.start()
            return one_step(*batch)

        return stepped

    with patch.object(loop, "training_step", counted):
        call(*given)


def moment(draw):
    """A random one of the twelve training steps, and a random number of seconds after it."""
    return draw.randint(1, 12), draw.uniform(0, 0.05)


def killed(_, draw):
    """Kill a run at random moments and start it again until it ends: it has the numbers of a run without a fault."""
    expected, kills = undisturbed(), 0
    with own_folder():
        while records.find(long_spec()) is None:
            process = started(doomed, signal.SIGKILL, *moment(draw), loop.run, long_spec(), "cpu")
            process.join()
            kills += process.exitcode == -signal.SIGKILL
        assert numbers(records.find(long_spec())) == expected
    return "the same numbers" if kills else "ended before the signal"


def signalled(number, _, draw):
    """Stop the command at a random moment: it ends with one sentence and the usual status, and can be continued."""
    expected = undisturbed()
    words = ["run", "digits", "tiny", "stn", "smoke", "--device", "cpu"]
    with own_folder() as folder:
        long = long_spec()
        with patch.object(spec, "preset", lambda *_: long.protocol):
            process = started(doomed, number, *moment(draw), quietly, folder / "output", words)
            process.join()
            lines = (folder / "output").read_text(encoding="utf-8").splitlines()
            assert process.exitcode in (0, 128 + number) and len(lines) == 1, (process.exitcode, lines)
            again = started(quietly, folder / "again", words)
            again.join()
        assert again.exitcode == 0 and numbers(records.find(long)) == expected
    return "the same numbers" if process.exitcode else "ended before the signal"


class SlotOver(Exception):
    """The error that the signal handler of a user's program raises."""


def stopped_by_its_caller(_, draw):
    """A user's signal handler raises at a random moment of `run`: `run` raises this error, and can be continued."""
    expected, kind = undisturbed(), draw.choice([SlotOver, TimeoutError, KeyboardInterrupt])

    def program():
        def handler(*_):
            raise kind("the slot is over")

        signal.signal(signal.SIGALRM, handler)
        try:
            doomed(signal.SIGALRM, *moment(draw), loop.run, long_spec(), "cpu")
        except kind as error:
            raise SystemExit(9 if str(error) == "the slot is over" else 1) from None

    with own_folder():
        process = started(program)
        process.join()
        assert process.exitcode in (0, 9), process.exitcode
        assert numbers(loop.run(long_spec(), "cpu")) == expected
    return "the same numbers" if process.exitcode else "ended before the signal"


def quietly(path, words):
    """Run the command in this process, with its output in a file."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a shell's foreground, not under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with path.open("w", encoding="utf-8") as file, patch.multiple("sys", stdout=file, stderr=file):
        cli.main(words)


def eight_at_once(_, __):
    """Eight processes ask for one run: it is trained once, and all get its record."""
    trained, train = FORK.Value("i", 0), loop._train

    def counted(*given):
        with trained.get_lock():
            trained.value += 1
        return train(*given)

    with own_folder(), patch.object(loop, "_train", counted):
        processes = [started(loop.run, tiny_spec(), "cpu") for _ in range(8)]
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * 8
        assert trained.value == 1 and records.find(tiny_spec())
    return "trained once"


def kept_busy(path, ready, may_end):
    """Hold the lock of `path` until the event is set."""
    with lock_file(path):
        ready.set()
        may_end.wait()


def locked_out(work, _, __):
    """Another process holds the lock of a run, of decoded images or of a download until this process gives up."""
    with own_folder() as folder:
        hostile.write_images(folder)
        hostile.loaded(folder)
        (cached,) = (folder / "cache/images").glob("*.npy")
        cached.unlink()
        paths = {"run": checkpoint.checkpoint_path(tiny_spec()), "images": cached}
        waits = {
            "run": lambda until: loop.run(tiny_spec(), "cpu", until=until),
            "images": lambda until: hostile.loaded(folder, until),
            "download": lambda until: download.fetch("mnist", folder, until),
        }
        ready, may_end = FORK.Event(), FORK.Event()
        path = paths.get(work, folder / "cache/downloads/mnist")
        process = started(kept_busy, path, ready, may_end)
        ready.wait()
        try:
            waits[work](time.time() + 0.2)
        except InputError as error:
            assert f"Process {process.pid} " in str(error)
            return "one sentence"
        finally:
            may_end.set()
            process.join()
    raise AssertionError("it did not give up")


# --- full disks -------------------------------------------------------------------------------------------


def on_a_full_disk(most, call):
    """Call the function in a process that can write no file of more than `most` bytes: it must end in one sentence."""

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        try:
            call()
        except InputError as error:
            raise SystemExit(0 if str(error).isprintable() else 2) from None
        raise SystemExit(1)

    process = started(limited)
    process.join()
    assert process.exitcode == 0, process.exitcode


def full_while_checkpointing(_, draw):
    content, _ = hostile._checkpoint(long_spec)
    expected = undisturbed()
    with own_folder():
        path = checkpoint.checkpoint_path(long_spec())
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        on_a_full_disk(draw.randrange(1, len(content) - 1000), lambda: loop.run(long_spec(), "cpu"))
        assert path.read_bytes() == content
        assert numbers(loop.run(long_spec(), "cpu")) == expected
    return "the same numbers"


def full_while_decoding(_, draw):
    with own_folder() as folder:
        hostile.write_images(folder)
        on_a_full_disk(draw.randrange(1, 200), lambda: hostile.loaded(folder))
        assert not list((folder / "cache/images").glob("*.np*[!k]"))
        assert torch.equal(hostile.loaded(folder), hostile._cached()[1])
    return "decoded later"


def full_while_recording(_, draw):
    expected = undisturbed(tiny_spec)
    with own_folder() as folder:
        on_a_full_disk(draw.randrange(1, 500), lambda: loop.run(tiny_spec(), "cpu", save_every=math.inf))
        assert not [p for p in (folder / "results").rglob("*") if p.is_file()]
        assert numbers(loop.run(tiny_spec(), "cpu")) == expected
    return "the same numbers"


def full_while_tabulating(_, draw):
    with own_folder() as folder:
        copy_records(folder)
        before = results_csv.write_results().read_bytes()
        on_a_full_disk(draw.randrange(1, len(before)), results_csv.write_results)
        assert (folder / "results/results.csv").read_bytes() == before
    return "the earlier table stays"


def mounted(folder):
    """Mount a disk of 4 MB that only this process sees; return whether the system allows it."""
    maps = {"setgroups": "deny", "uid_map": f"0 {os.getuid()} 1", "gid_map": f"0 {os.getgid()} 1"}
    if ctypes.CDLL(None).unshare(0x10000000 | 0x20000):  # CLONE_NEWUSER, CLONE_NEWNS
        return False
    for name, text in maps.items():
        Path("/proc/self", name).write_text(text)
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    return subprocess.run(command, capture_output=True).returncode == 0


def full_disk(_, draw):
    """Cache and results are on a disk with a few free pages: each part ends in one sentence, and later it works."""
    expected, (_, images) = undisturbed(), hostile._cached()

    def program(folder, disk):
        if not mounted(disk):
            raise SystemExit(9)
        copy_records(disk)
        parts = (  # a function, and the exclusive upper bound of its free pages
            (lambda: torch.equal(hostile.loaded(folder), images), 2),
            (lambda: numbers(loop.run(long_spec(), "cpu")) == expected, 60),
            (lambda: results_csv.write_results().stat().st_size > 0, 1),
        )
        ends = Counter()
        for part, pages in parts:
            state, ballast = os.statvfs(disk), disk / "ballast"
            with ballast.open("wb") as file:
                os.posix_fallocate(
                    file.fileno(), 0, state.f_frsize * (state.f_bavail - draw.randrange(pages))
                )
            ends[ended(part)] += 1
            assert not list(disk.rglob("*.part"))
            ballast.unlink()
        assert set(ends) <= {True, "sentence"} and all(part() is True for part, _ in parts)
        raise SystemExit(10 + ends["sentence"])

    with own_folder() as folder:
        hostile.write_images(folder)
        disk = folder / "disk"
        disk.mkdir()
        places = {f"STN_PAPER_{name}": str(disk / name.lower()) for name in ("RESULTS", "CACHE")}
        with patch.dict(os.environ, places):
            process = started(program, folder, disk)
            process.join()
    ends = {9: "no right to mount", 11: "one sentence", 12: "two sentences", 13: "three sentences"}
    return ends[process.exitcode]


def ended(part):
    try:
        return part()
    except InputError as error:
        assert str(error).isprintable()
        return "sentence"


# --- flipped bits -------------------------------------------------------------------------------------------


def flipped(content, draw):
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def flipped_checkpoint(_, draw):
    content, expected = hostile._checkpoint(tiny_spec)
    with own_folder():
        path = checkpoint.checkpoint_path(tiny_spec())
        path.parent.mkdir(parents=True)
        path.write_bytes(flipped(content, draw))
        try:
            assert numbers(loop.run(tiny_spec(), "cpu")) == expected
        except InputError:
            return "refused"
    return "the same numbers"


def flipped_cache(_, draw):
    kept, images = hostile._cached()
    suffix = draw.choice(sorted(kept))
    with own_folder() as folder:
        hostile.write_images(folder)
        hostile.loaded(folder)
        (path,) = (folder / "cache/images").glob(f"*{suffix}")
        path.write_bytes(flipped(kept[suffix], draw))
        assert torch.equal(hostile.loaded(folder), images)
    return "the same images"


def flipped_record(_, draw):
    """Change a digit of a record into another digit, which is JSON too: the record's digest shows it."""
    name = draw.choice(sorted(hostile.GOOD_RECORDS))
    content = hostile.GOOD_RECORDS[name].read_bytes()
    with own_folder() as folder:
        path = folder / f"{name}.json"
        path.write_bytes(flipped(content, draw))
        try:
            record = records.read_named_record(path)
        except InputError:
            return "refused"
    assert record == records.read_record(hostile.GOOD_RECORDS[name])
    return "the same record"


# --- labels and pages -----------------------------------------------------------------------------------------


def renamed_classes(_, draw):
    """Name class folders of traffic signs with any number of leading zeros: the label is the number of the folder."""
    classes = 12
    with own_folder() as folder:
        for number in range(classes):
            place = folder / "gtsrb/GTSRB/Train" / f"{number:0{draw.randint(1, 5)}d}"
            place.mkdir(parents=True)
            (place / f"{draw.randrange(9):05d}_{number:05d}.ppm").write_bytes(hostile.GOOD[5])
        test = folder / "gtsrb/GTSRB/Test"
        test.mkdir()
        (test / "00000.ppm").write_bytes(hostile.GOOD[5])
        (folder / "gtsrb/GTSRB/Test.csv").write_text("ClassId,Path\n3,Test/00000.ppm\n", encoding="utf-8")
        sizes = {"train": classes - 1, "validation": 1, "test": 1}
        found = files.find_files("gtsrb", Dataset("Signs", classes, sizes), folder)
        assert all(label == int(path.parent.name) for path, label in zip(found.items[:-1], found.labels))
        assert found.labels[-1] == 3
    return "right labels"


HTML = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<svg/onload=alert(1)>",
    "</td><iframe src=x>",
)
TEXTS = (
    *(("environment", field) for field in ("device", "commit", "python", "torch", "started", "ended")),
    ("data", "fingerprint"),
)


def html_in_a_record(_, draw):
    """Put HTML into a text field of a record: every page shows it as text."""
    payload, (part, field) = draw.choice(HTML), draw.choice(TEXTS)
    with own_folder() as folder:
        copy_records(folder)
        path = draw.choice(sorted((folder / "results").rglob("*_seed*.json")))
        record = json.loads(path.read_text(encoding="utf-8"))
        record[part][field] = payload
        del record["digest"]
        path.write_text(json.dumps(record), encoding="utf-8")
        found = frame.records_by_name()
        shown = run_pages.run_page(path.stem, found) + interactive.show_all_runs().data
        assert payload not in shown and "alert" not in shown.replace("&gt;alert(1)", "").replace(
            "=alert(1)", ""
        )
    return "shown as text"


def copied_record(_, draw):
    """Copy a record under another name: everything that counts runs refuses it."""
    with own_folder() as folder:
        copy_records(folder)
        path = draw.choice(sorted((folder / "results").rglob("*_seed*.json")))
        seed = f"seed{draw.randrange(1, 99)}_"
        name = draw.choice([f"{path.stem} (1)", f"{path.stem}_copy", path.stem.replace("seed0_", seed)])
        path.with_name(f"{name}.json").write_bytes(path.read_bytes())
        assert audit.check()[0]
        try:
            frame.records_by_name()
        except InputError:
            return "refused"
    raise AssertionError("it counts as a run")


def copy_records(folder):
    for name, path in hostile.GOOD_RECORDS.items():
        place = folder / "results" / path.parent.name / f"{name}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())


FAULTS = {
    "SIGKILL during a training": Fault("at a random moment, again and again until the run ends", 15, killed),
    **{
        f"{number.name} during a training": Fault(
            "sent to the command at a random moment; the same command follows", 10, partial(signalled, number)
        )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    },
    "A signal that the caller of `run` handles": Fault(
        "its handler raises an error of its own at a random moment", 20, stopped_by_its_caller
    ),
    "Eight processes ask for one run": Fault("all at once", 10, eight_at_once),
    **{
        f"Another process {does}": Fault("the command's own time ends first", 20, partial(locked_out, work))
        for work, does in {
            "run": "trains the run",
            "images": "decodes the images",
            "download": "downloads the images",
        }.items()
    },
    "Full disk: checkpoint": Fault("no file can be larger than a random size", 10, full_while_checkpointing),
    "Full disk: decoded images": Fault("no file can be larger than a random size", 40, full_while_decoding),
    "Full disk: record": Fault("no file can be larger than a random size", 20, full_while_recording),
    "Full disk: results.csv": Fault("no file can be larger than a random size", 40, full_while_tabulating),
    "Full disk: all of these": Fault("a disk with a random few free pages", 20, full_disk),
    "Flipped bit: checkpoint": Fault("one random bit of the file", 100, flipped_checkpoint),
    "Flipped bit: decoded images": Fault("one random bit of the array or its note", 300, flipped_cache),
    "Flipped bit: record": Fault("one random bit of the file", 1000, flipped_record),
    "Shifted labels": Fault("class folders with any number of leading zeros", 300, renamed_classes),
    "Copy of a record": Fault("beside the record, under another name", 100, copied_record),
    "HTML in a record": Fault("in a random field of text", 100, html_in_a_record),
}


def attempt(name, tries=None):
    """Try a fault: {how it ended: number of tries}; AssertionError for a wrong end."""
    fault = FAULTS[name]
    return Counter(fault.attempt(i, random.Random(f"{name} {i}")) for i in range(tries or fault.tries))
