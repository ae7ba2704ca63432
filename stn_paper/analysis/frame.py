"""All run records as one table, a row a run; titles and order of its rows.

A process reads each record file once, and again only if the file changes. `analysis` and `report` get tables of runs
from this module; for a single run they also call `training.records`.
"""

import math
import os
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path

import pandas as pd
import torch

from ..data.datasets import DATASETS
from ..errors import InputError, check_choice
from ..models import HEADINGS, ORIGINAL, guards
from ..models.backbones import BACKBONES
from ..models.transformer import sampling_grid
from ..paths import PRINTED, results_dir
from ..training import diagnostics
from ..training import records as stored
from ..training.presets import PROTOCOLS, SMALL, SMALL_IN_FLOAT32, preset
from ..training.protocol import DEFAULTS, OTHER_SEEDS, SELECTIONS

SEED_CONTROL = "Original, seed control"  # title of the original's runs with other seeds
RULE_COLUMNS = SELECTIONS
# a network failed to train if its last training loss is above this share of the loss of guessing
UNTRAINED = 0.8
RUN_COLUMNS = [
    "run",
    "dataset",
    "backbone",
    "variant",
    "protocol",
    "seed",
    "preset",
    "validation",
    "test",
    *RULE_COLUMNS,
    "class_accuracy",
    "train_loss",
    "image_size",
    "epochs",
    "train_images",
    "selection",
    "parameters",
    "device",
    "seconds",
    "commit",
    "spread",
    "outside",
    "collapsed",
    "failed",
    "record",
]
_read = {}  # path of a record file -> (its stamp, its record or the InputError of a damaged record)
_tables = {}  # True for smoke runs, False for the others -> (stamps of the files, their table)


def runs(dataset=None, protocol=None, backbone=None):
    """Return our runs as a table: all runs, or the runs of one dataset, protocol or backbone.

    Each run is a row, in the order of the records' file names. RUN_COLUMNS lists the columns. `protocol` selects the
    runs with this name in the column `preset`. Smoke runs are left out unless `protocol` is "smoke".
    Accuracies are in percent, NaN if a record lacks them:

    - `validation`, `test`: by the run's own selection rule. Each of RULE_COLUMNS: the test accuracy by that rule.
    - `class_accuracy`: mean over classes.
    - `train_loss`: of the last epoch, in nats.
    - `spread`: how far theta moves the corners from image to image after the last epoch, in pixels (median); NaN if
      the transformer collapsed.
    - `outside`: percent of the sampling grid outside the image after the last epoch.
    - `collapsed`: whether `outside` is guards.COLLAPSED_PERCENT (95) or more.
    - `failed`: not collapsed, and `train_loss` is above UNTRAINED times the loss of guessing.
    - `preset`: name of the protocol whose settings the run has. A run of `small` in float32 has SMALL_IN_FLOAT32. A run
      with other settings has "".
    - `record`: the whole record, a dict that all callers share: do not change it.

    Raises InputError naming a damaged record, and for an unknown dataset.

    >>> runs("caltech101", "small", "effb3").groupby("variant")["test"].mean()  # doctest: +SKIP
    """
    if dataset is not None:
        check_choice("dataset", dataset, DATASETS)
    found = _run_table(protocol == stored.SMOKE).copy(deep=False)  # callers may add columns
    for column, value in (("dataset", dataset), ("preset", protocol), ("backbone", backbone)):
        if value is not None:
            found = found[found[column] == value]
    return found


def records_by_name():
    """Return all records except those of smoke runs: {name of the run: record}, sorted by file name.

    Raises InputError naming a damaged record.
    """
    found = _run_table(smoke=False)
    return dict(zip(found["run"], found["record"]))


def readable_records():
    """All records except smoke runs and damaged ones, as a list."""
    return [record for _, record in _read_files(smoke=False).values() if not isinstance(record, InputError)]


def _run_table(smoke):
    files = _read_files(smoke)
    stamps = {path: stamp for path, (stamp, _) in files.items()}
    if smoke not in _tables or _tables[smoke][0] != stamps:
        for _, record in files.values():
            if isinstance(record, InputError):
                raise record
        rows = [_row(Path(path).stem, record) for path, (_, record) in files.items()]
        _tables[smoke] = stamps, pd.DataFrame(rows, columns=RUN_COLUMNS)
    return _tables[smoke][1]


def _read_files(smoke):
    """{path: (stamp, record or InputError)} of the record files, sorted; reads only new and changed files."""
    found = {}
    for path, stamp in sorted(_stamps(smoke), key=lambda item: Path(item[0]).parts):
        if path not in _read or _read[path][0] != stamp:
            try:
                _read[path] = stamp, stored.read_named_record(Path(path))
            except InputError as error:
                _read[path] = stamp, error
        found[path] = _read[path]
    return found


def _stamps(smoke):
    """Yield path and stamp of each record file; a file that is written again has another stamp."""
    for folder in os.scandir(results_dir()) if results_dir().is_dir() else ():
        if folder.is_dir() and (folder.name == stored.SMOKE) == smoke:
            for file in os.scandir(folder):
                if file.name.endswith(".json") and "_seed" in file.name:
                    try:
                        status = file.stat()
                    except OSError:  # a broken link, which no one can read
                        status = file.stat(follow_symlinks=False)
                    yield file.path, (status.st_ino, status.st_mtime_ns, status.st_size)


def _row(name, record):
    spec, data, last = record["spec"], record["data"], record["epochs"][-1]
    chosen, settings, environment = stored.selected_result(record), spec["protocol"], record["environment"]
    row = {field: spec[field] for field in ("dataset", "backbone", "variant", "seed")}
    row |= {"run": name, "protocol": settings["name"], "selection": settings["selection"]}
    row |= {"preset": preset_name(spec)}
    row |= {"validation": chosen["validation"], "test": chosen["test"]}
    row |= {rule: record["selected"].get(rule, {}).get("test", math.nan) for rule in RULE_COLUMNS}
    row |= {"class_accuracy": record.get("test", {}).get("class_accuracy", math.nan)}
    row |= {"train_loss": last["train_loss"], "epochs": len(record["epochs"])}
    row |= {"image_size": data.get("image_size", settings["image_size"]), "train_images": data.get("train")}
    row |= {"parameters": record["parameters"], "seconds": record["measured"].get("seconds")}
    row |= {"device": environment.get("device"), "commit": environment.get("commit")}
    return row | training_outcome(record) | {"record": record}


def preset_name(spec):
    """Return the column `preset` of `runs`, from a record's field `spec`."""
    settings, name = spec["protocol"], spec["protocol"]["name"]
    if name not in PROTOCOLS:
        return ""
    named = asdict(preset(name, spec["dataset"], spec["variant"], spec["backbone"]))
    if settings == named:
        return name
    in_float32 = named | {"precision": DEFAULTS["precision"]}
    return SMALL_IN_FLOAT32 if name == SMALL and settings == in_float32 else ""


def training_outcome(record):
    """The columns `spread`, `outside`, `collapsed` and `failed` of `runs`, from a record's last epoch: a dict."""
    spec, last = record["spec"], record["epochs"][-1]
    theta = last.get("theta")
    percent = math.nan if theta is None else outside(theta)
    collapsed = percent >= guards.COLLAPSED_PERCENT
    spread = math.nan if collapsed or theta is None else theta.get("spread", [math.nan])[0]
    failed = not collapsed and last["train_loss"] > UNTRAINED * chance_loss(spec["dataset"])
    return {"spread": spread, "outside": percent, "collapsed": collapsed, "failed": failed}


def outside(theta):
    """Percent of the sampling grid outside the image, from the field `theta` of a record's epoch.

    Older records lack the number: for them it is computed from the mean map, or NaN if that map is not affine.
    """
    if "outside" in theta:
        return theta["outside"]
    if len(theta["mean"]) != 6:
        return math.nan
    mean = torch.tensor(theta["mean"], dtype=torch.float64).view(1, 2, 3)
    return diagnostics.grid_statistics(sampling_grid(mean, guards.POINTS, guards.POINTS), 64)["outside"]


def chance_loss(dataset):
    """The cross-entropy of guessing among a dataset's classes, in nats."""
    return math.log(DATASETS[dataset].num_classes)


def device_title(device):
    """Return the name of a record's device as pages show it, without "(R)" and "Processor".

    >>> device_title("Intel(R) Xeon(R) Processor (AVX512), 2 cores")
    'Intel Xeon (AVX512), 2 cores'
    """
    return re.sub(r"\(R\)| Processor", "", device)


# --- titles and order of networks --------------------------------------------------------------------


def arm_titles(ours):
    """The title of each run's arm, a Series of texts; the seed control has a title of its own."""
    others = (ours["variant"] == ORIGINAL) & (ours["seed"] >= OTHER_SEEDS)
    return ours["variant"].map(HEADINGS).mask(others, SEED_CONTROL)


def variants_of(ours):
    """Names of the variants of these `runs`, in the order of HEADINGS."""
    return [variant for variant in HEADINGS if variant in set(ours["variant"])]


def order_backbones(backbones):
    """Each backbone once: the paper's backbones in its order, then the others by name."""
    order = list(BACKBONES)
    return sorted(set(backbones), key=lambda b: (order.index(b) if b in order else len(order), b))


@cache
def _notes_by_fingerprint():
    return pd.read_csv(PRINTED / "altered_files.csv", index_col="fingerprint")["note"]


def image_notes(records):
    """Return a list of sentences on the datasets of these records whose files are not the official files."""
    notes = _notes_by_fingerprint()
    altered = sorted({r["data"].get("fingerprint") for r in records} & set(notes.index))
    return list(dict.fromkeys(notes[altered]))
