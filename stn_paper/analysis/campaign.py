"""A campaign: train the most valuable missing runs of a table within a time slot, several at once on a device.

`python -m stn_paper campaign table6 --minutes 9` starts each run as a process of its own, in the order of
`PLANS`, and packs the new records into one archive. An unfinished run stays at its checkpoint and continues in
the next slot on the same machine.
"""

import gzip
import io
import multiprocessing
import os
import tarfile
import time
import zlib
from itertools import product
from multiprocessing.connection import wait
from pathlib import Path
from typing import NamedTuple

import torch

from ..data.download import ensure_dataset
from ..errors import InputError, check_choice, check_whole_number
from ..models import ORIGINAL, VARIANTS
from ..models.localization import CONSTANT
from ..paths import remove_partials, replace_file, results_dir
from ..training import records
from ..training.checkpoint import checkpoint_path, epochs_done
from ..training.hardware import check_device, device_name
from ..training.loop import run
from ..training.networks import check_networks
from ..training.presets import PROTOCOLS
from ..training.spec import RunSpec, with_precision
from . import frame
from .effects import ARMS, BYPASSED
from .estimates import estimate_hours, measurements
from .paper import table

TOGETHER = 4  # runs that share a GPU, which the paper's batches of 20 leave mostly idle
LONGEST_WAIT = 86_400  # seconds; the system cannot wait for weeks in one call
GRACE = 30  # seconds after the slot's end in which an epoch may still end
SPAWN = multiprocessing.get_context("spawn")  # CUDA does not survive a fork


class Step(NamedTuple):
    """Runs that are equally valuable: every variant of every backbone, seed by seed."""

    backbones: tuple
    variants: tuple = tuple(VARIANTS)
    seeds: tuple = (0,)
    protocol: str = ""  # "" is the protocol of the campaign


PLANS = {  # table: datasets and steps, the most valuable first
    "table6": (
        ("caltech101",),
        (
            Step(("resnet50", "effb0"), ARMS, (0, 1, 2)),
            Step(("effb1", "effb2", "effb3")),
            Step(("effb4", "effb5")),
            Step(("effb1", "effb2", "effb3", "effb4", "effb5"), seeds=(1, 2)),
            Step(("resnet50", "effb0"), protocol="paper"),
        ),
    ),
    "table8": (
        ("cifar10",),
        (
            Step(("resnet18", "effb0"), ARMS, (0, 1, 2)),
            Step(("effb1", "effb2", "effb3", "resnet50", "resnet152", "densenet121")),
            Step(("effb1", "effb2", "effb3", "resnet50", "resnet152", "densenet121"), seeds=(1, 2)),
            Step(("resnet18", "effb0"), protocol="paper"),
        ),
    ),
    "table4": (("tsrd", "tsrd-distinct"), (Step(tuple(table(4)["backbone"]), ("original",), (0, 1, 2)),)),
}
CONTROLS = Step(("resnet18", "effb0"), (CONSTANT, *BYPASSED))


def campaign_specs(name, protocol="equal"):
    """The runs of a campaign, the most valuable first; InputError for an unknown table or protocol."""
    datasets, steps = PLANS[check_choice("campaign", name, PLANS)]
    if check_choice("protocol", protocol, PROTOCOLS) == "small":
        steps = _small_steps(int(name.removeprefix("table")))
    return [
        RunSpec(dataset, backbone, variant, step.protocol or protocol, seed)
        for step in steps
        for seed, backbone, variant, dataset in product(step.seeds, step.backbones, step.variants, datasets)
    ]


def _small_steps(number):
    """One seed of every cell of the table, then the controls, then two more seeds."""
    cells = table(number)
    backbones = tuple(dict.fromkeys(cells["backbone"]))
    variants = tuple(VARIANTS) if "variant" in cells else (ORIGINAL,)
    controls = (CONTROLS,) if "variant" in cells else ()
    return Step(backbones, variants), *controls, Step(backbones, variants, (1, 2))


def missing_runs(specs):
    """The runs of `specs` that have no record yet."""
    return [spec for spec in specs if records.find(spec) is None]


def train_missing(
    name,
    minutes,
    protocol="equal",
    device="auto",
    data_dir=None,
    together=None,
    archive=None,
    precision=None,
    compiled=False,
):
    """Train missing runs of a table until the slot ends; return the paths of the new records.

    `choose_next` picks each run; a run that still trains 30 seconds after the end of the slot is killed.

    - `minutes`: length of the slot.
    - `together`: how many runs share the device; None is 4 on CUDA, else one for each core.
    - `archive`: a .tar.gz file. The new records are added to the records of earlier slots in it, under their paths in
      the results folder.
    - `precision`: replaces the protocol's precision. With None, runs of `small` are in float32 on a device that is slow
      in bfloat16, and all other runs have the precision of their protocol. Each row of the tables shows runs of `small`
      in one precision: the one that fills more of its cells.
    - `compiled`: train through torch.compile.

    Raises InputError, before any training, for a wrong value, a dataset that cannot be downloaded, or an archive that
    cannot be written. If a run fails, its name and the reason are printed, and the other runs continue.
    """
    if not minutes > 0:
        raise InputError(f"A slot of {minutes} minutes is not allowed: give more than 0.")
    end, device, cores = time.time() + 60 * minutes, check_device(device), os.cpu_count() or 1
    default = TOGETHER if device.type == "cuda" else cores
    together = default if together is None else check_whole_number("Number of runs together", together)
    planned = [
        records.fit_precision(spec, device) if precision is None else with_precision(spec, precision)
        for spec in campaign_specs(name, protocol)
    ]
    waiting = missing_runs(planned)
    check_networks(waiting)
    for dataset in dict.fromkeys(spec.dataset for spec in waiting):
        ensure_dataset(dataset, data_dir)
    if archive:
        pack_records([], archive)  # fails now if the archive cannot be written
    print(f"{name}: {len(waiting)} runs have no record.", flush=True)
    settings = str(device), data_dir, end, max(1, cores // together), compiled
    os.environ["TQDM_DISABLE"] = "1"  # several bars in one terminal would overwrite each other
    new = _train_all(waiting, device, together, settings, archive)
    print(f"{len(new)} new records; {len(missing_runs(planned))} runs still have none.")
    return new


def _train_all(waiting, device, together, settings, archive):
    """Train the waiting runs, `together` at a time, until the end in `settings`; return the new records' paths."""
    running, new, end = {}, [], settings[2]
    while running or (waiting and time.time() < end):
        while waiting and len(running) < together and time.time() < end:
            spec = choose_next(waiting, end - time.time(), frame.device_title(device_name(device)))
            if spec is None:
                waiting.clear()  # the time left only shrinks, so that none of these runs will fit later
                break
            waiting.remove(spec)
            process = SPAWN.Process(target=_train_in_process, args=(spec, *settings), daemon=True)
            process.start()
            running[process.sentinel] = process, spec
        if not running:
            break
        late = max(0, end + GRACE - time.time())
        ended = wait(running, min(late, LONGEST_WAIT))
        if not ended and late > LONGEST_WAIT:
            continue  # the slot goes on
        for sentinel in ended or list(running):
            spec = _finish(*running.pop(sentinel))
            if spec:
                new.append(records.record_path(spec))
                if archive:
                    pack_records(new[-1:], archive)
    return new


def _finish(process, spec):
    """End a process that is done or too late; return its run if there is a record, else None."""
    process.kill()  # a late run loses its work since the last checkpoint
    process.join()
    for path in (records.record_path(spec), checkpoint_path(spec)):
        remove_partials(path)
    found = records.find(spec)
    print(f"{spec.name}: {_outcome_in_words(spec, found)}", flush=True)
    return spec if found else None


def choose_next(waiting, seconds, device):
    """The first waiting run that can end within the seconds, else the first that can train an epoch, else None.

    Times are estimated from records of the device with this name; epochs in a run's checkpoint are subtracted. A run
    without an estimate counts as short enough.
    """
    measured = measurements()
    expected = {spec: estimate_hours(spec, measured, device) for spec in waiting}
    epoch = {s: 3600 * (hours or 0) / s.protocol.max_epochs for s, hours in expected.items()}
    can_end = [s for s in waiting if epoch[s] * (s.protocol.max_epochs - epochs_done(s)) <= seconds]
    can_train_epoch = [s for s in waiting if epoch[s] <= seconds]
    return next(iter(can_end + can_train_epoch), None)


def _train_in_process(spec, device, data_dir, until, threads, compiled):
    torch.set_num_threads(threads)
    try:
        run(spec, device, data_dir, compiled, until)
    except InputError as error:
        print(f"{spec.name}: {error}", flush=True)


def _outcome_in_words(spec, record):
    if record:
        return f"test accuracy {records.selected_result(record)['test']:.2f} %"
    return "left at its checkpoint" if checkpoint_path(spec).exists() else "not trained"


def pack_records(paths, archive):
    """Add records to a .tar.gz file, under their paths in the results folder; its other records stay.

    Raises InputError if the file cannot be written, is not a complete .tar.gz archive, or has another ending.
    """
    if not str(archive).endswith((".tar.gz", ".tgz")):
        raise InputError(f"Archive {str(archive)!r} is not allowed: name a .tar.gz file.")
    new = {str(path.relative_to(results_dir())): path for path in paths}
    archive = Path(archive)
    with replace_file(archive) as partial, tarfile.open(partial, "w:gz") as tar:
        for member, content in list(_archived_files(archive)):  # read whole before anything is written
            if member.name not in new:
                tar.addfile(member, io.BytesIO(content))
        for name, path in new.items():
            tar.add(path, name)


def _archived_files(archive):
    """Yield each file of an archive with its content; nothing if there is no archive yet."""
    if not archive.exists():
        return
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                if file := tar.extractfile(member):  # None for a folder
                    yield member, file.read()
            while tar.fileobj.read(2**20):
                pass  # to the end, where gzip compares its checksum
    except (tarfile.ReadError, EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError(f"File {archive} is not a complete .tar.gz: name another archive.") from None
