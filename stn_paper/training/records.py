"""Run records: one JSON file a training run, written once and found by the content of its spec.

`loop.run` writes them, `analysis.frame` reads them; results/README.md explains each field.
"""

import base64
import hashlib
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch

from ..errors import InputError, check_choice, is_from_handler
from ..paths import read_bytes, replace_file, results_dir
from . import hardware
from .presets import SMALL
from .protocol import BEST_OF_FIVE, BEST_VALIDATION, DEFAULTS, LAST_EPOCH, Protocol
from .record_fields import RECORD, first_wrong
from .spec import RunSpec, in_float32

SCHEMA = 1
EPOCH_FIELDS = ("train_loss", "validation_loss", "test_loss", "validation_accuracy", "test_accuracy")
LARGEST_RECORD = 2**26  # bytes of a record
PROBES_OF_IMAGES = ("images", "label", "gradcam")
CHECKS = {  # field at fault -> the check of this field in a record that has all fields
    "epochs": lambda r: len(r["epochs"]) > 0,
    "test": lambda r: "test" in r or not r["spec"]["protocol"]["test_once"],
    "test_loss": lambda r: _has_test_curve(r, "test_loss"),
    "test_accuracy": lambda r: _has_test_curve(r, "test_accuracy"),
    "test.correct": lambda r: len(_correct(r)) in (0, -(-r["data"]["test"] // 8)),
    "probes": lambda r: len({len(r.get("probes", {}).get(f, ())) for f in PROBES_OF_IMAGES}) == 1,
    "selected": lambda r: r["selected"] == selected_by_rules(r),
    "stopped": lambda r: r["stopped"] == "early" or (r["stopped"] == "budget" and _used_up(r)),
}
SMOKE = "smoke"  # protocol, and subfolder of its records, which git ignores


def record_path(spec: RunSpec) -> Path:
    """Return the path of the spec's record, whether the file exists or not."""
    folder = results_dir() / (SMOKE if spec.protocol.name == SMOKE else spec.dataset)
    return folder / f"{spec.name}.json"


def find(spec: RunSpec) -> dict | None:
    """Return the spec's record as a dict, or None if this run has no record.

    Raises InputError for a damaged record. results/README.md explains the fields.

    >>> find(RunSpec("digits", "mnist-cnn", "lstn", "system"))["parameters"]
    74940
    """
    path = record_path(spec)
    if not path.exists():
        return None
    record = read_record(path)
    if record["spec"] != asdict(spec):
        raise damaged_record(path, "spec")
    return record


def fit_precision(spec: RunSpec, device: torch.device) -> RunSpec:
    """Return a run of `small` in float32 if it has no record and the device is slow in bfloat16, else the run itself.

    The tables show a run of `small` in either precision.
    """
    in_bfloat16 = spec.protocol.name == SMALL and spec.protocol.precision == "bfloat16"
    if not in_bfloat16 or hardware.is_fast_in_bfloat16(device):
        return spec
    return in_float32(spec) if find(spec) is None else spec


def read_named_record(path: Path) -> dict:
    """Read a record whose file must be named after its run, so that a copied file never counts as another run."""
    record = read_record(path)
    if path.stem != (name := spec_of(record).name):
        raise InputError(f"Record {path} is of the run {name}: name it so, or delete it if it is a copy.")
    return record


def spec_of(record: dict) -> RunSpec:
    """Return the RunSpec of a record.

    Raises InputError if other code wrote the record, or if its settings are not allowed.
    """
    stored, version = record["spec"], record.get("schema", SCHEMA)
    unknown = [f"Setting {field!r}" for field in stored if field not in RECORD["spec"]]
    unknown += [f"Setting {field!r}" for field in stored["protocol"] if field not in {"name", *DEFAULTS}]
    unknown += [f"Schema {version}"] if version != SCHEMA else []
    if unknown:
        raise InputError(f"{unknown[0]} is not known to this code: update the code or move the record away.")
    return RunSpec(**stored | {"protocol": Protocol(**stored["protocol"])})


def read_record(path: Path) -> dict:
    """Read and check a record; raises InputError that names the file and the fault if it cannot be used.

    The digest shows whether a number was changed after the record was written. Older records have no digest.
    """
    try:
        record = json.loads(read_bytes(path, LARGEST_RECORD).decode(), parse_constant=_no_number)
        fault = first_wrong(record)
        if not fault:
            found, digest = digest_of(record), record.pop("digest", None)
            # a setting that did not exist when the record was written has its default
            record["spec"]["protocol"] = DEFAULTS | record["spec"]["protocol"]
            spec_of(record)
            fault = next((name for name, check in CHECKS.items() if not check(record)), "")
            fault = fault or ("digest" if digest not in (None, found) else "")
    except InputError as error:
        raise InputError(f"Record {path} cannot be used here: {error}") from None
    except OSError as error:
        if is_from_handler(error):
            raise
        raise InputError(f"Record {path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError):
        fault = "JSON"
    if fault:
        raise damaged_record(path, fault)
    return record


def _no_number(text):
    """Refuse NaN and Infinity: Python reads them, but JSON does not have them."""
    raise ValueError(text)


def _has_test_curve(record, field):
    """Return whether each epoch has this field; True if the protocol evaluates the test images only once."""
    once = record["spec"]["protocol"]["test_once"]
    return once or all(field in epoch for epoch in record["epochs"])


def _correct(record):
    """Return the packed bits of the record's field `test.correct`; empty without that field."""
    return base64.b64decode(record.get("test", {}).get("correct", ""))


def _used_up(record):
    """Return whether the run has trained `max_epochs` epochs."""
    return len(record["epochs"]) == record["spec"]["protocol"]["max_epochs"]


def selected_result(record: dict) -> dict:
    """Return the result by the run's own selection rule: {epoch, validation, test}, accuracies in percent."""
    return record["selected"][record["spec"]["protocol"]["selection"]]


def damaged_record(path, field):
    """Return the InputError for a damaged record; `field` is the one at fault."""
    return InputError(f"Record {path} is damaged ({field}): restore it or delete it to run again.")


def digest_of(record: dict) -> str:
    """Return SHA-256 (16 digits) of all fields except `digest`; their order and white space do not matter."""
    fields = {name: value for name, value in record.items() if name != "digest"}
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def write_record(spec: RunSpec, record: dict) -> Path:
    """Write the record with its digest at once, so that no reader sees a partial file; return the path."""
    path = record_path(spec)
    content = json.loads(json.dumps({"schema": SCHEMA, "digest": "", "spec": asdict(spec), **record}))
    content["digest"] = digest_of(content)
    with replace_file(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def selected_by_rules(record):
    """Return the record's field `selected`: the results by both rules of the paper, or only by the protocol's rule."""
    protocol, epochs = record["spec"]["protocol"], record["epochs"]
    rule = protocol["selection"]
    if not protocol["test_once"] and rule != LAST_EPOCH:
        return select_by_test(epochs)
    epoch = selected_epoch(epochs, rule)
    row = epochs[epoch - 1]
    test = record["test"]["accuracy"] if protocol["test_once"] else row["test_accuracy"]
    return {rule: {"epoch": epoch, "validation": row["validation_accuracy"], "test": test}}


def selected_epoch(epochs, rule):
    """Return the number, from 1, of the epoch that a rule without test images selects.

    `last-epoch`: the last epoch. `best-validation`: the first epoch with the highest validation accuracy.
    """
    if check_choice("selection without test images", rule, (LAST_EPOCH, BEST_VALIDATION)) == LAST_EPOCH:
        return len(epochs)
    accuracies = [epoch["validation_accuracy"] for epoch in epochs]
    return accuracies.index(max(accuracies)) + 1


def select_by_test(epochs):
    """Apply both selection rules of the paper to a run's epochs; of equal epochs, the first is selected.

    `best-validation`: the epoch of highest validation accuracy. `best-of-five`: the epoch of highest test accuracy
    among the five epochs of highest validation accuracy; it is biased upwards, because the test images choose. The
    released logs show that most of the paper's cells without `best-validation` follow `best-of-five`. Both rules report
    the run's highest validation accuracy, as the paper does.
    """
    ranked = sorted(enumerate(epochs, 1), key=lambda e: -e[1]["validation_accuracy"])
    best = ranked[0]
    top = max(ranked[:5], key=lambda e: e[1]["test_accuracy"])
    highest = best[1]["validation_accuracy"]
    return {
        rule: {"epoch": epoch, "validation": highest, "test": row["test_accuracy"]}
        for rule, (epoch, row) in {BEST_VALIDATION: best, BEST_OF_FIVE: top}.items()
    }


def new_record(job, state, stopped, about, results):
    """Return the record of a run that has just ended.

    `about` is added to its field `environment`; `results` has the fields of `examples.collect_results`.
    """
    data, split = job.data, job.split
    record = {
        "data": {
            "fingerprint": data.fingerprint,
            "classes": len(data.classes),
            "image_size": job.spec.image_size,
            **{name: len(indices) for name, indices in split._asdict().items()},
            "skipped": list(data.skipped.values()),
            "duplicates": len(data.duplicates),
        },
        "parameters": sum(p.numel() for p in job.model.parameters()),
        "epochs": state["epochs"],
        "stopped": stopped,
        "measured": {
            "seconds": round(state["seconds"], 1),
            "train_images_per_second": round(state["train_images"] / state["train_seconds"], 1),
            "peak_memory_mib": hardware.peak_memory(job.device),
            "resumed": state["resumed"],
        },
        "environment": hardware.environment(job.device) | about | {"ended": utc_now()},
        **results,
    }
    return record | {"selected": selected_by_rules(record | {"spec": asdict(job.spec)})}


def utc_now():
    """Return the current time in UTC as text, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
