"""Helpers of several test modules: files of real datasets, if they exist, made-up records, refusals, git."""

import json
import subprocess
from dataclasses import asdict

import numpy as np
import pytest

from stn_paper.data import files
from stn_paper.data.datasets import DATASETS
from stn_paper.errors import InputError
from stn_paper.paths import data_dir
from stn_paper.training import examples, records
from stn_paper.training.spec import RunSpec


def real(name):
    """The Listing of a dataset's real files; skips the test if they are missing."""
    try:
        return files.find_files(name, DATASETS[name], data_dir())
    except InputError:
        pytest.skip(f"{name} is not here: set STN_PAPER_DATA to the folder that holds it")


def refusal(call, *given):
    """The message of the InputError that the call raises: one sentence on one line."""
    with pytest.raises(InputError) as error:
        call(*given)
    message = str(error.value)
    assert message.endswith(".") and "\n" not in message
    return message


def git(folder, *arguments):
    """Call git in a folder; return what it prints."""
    command = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def correlation(a, b):
    """Pearson's, image by image."""
    a, b = (x.flatten(1) - x.flatten(1).mean(1, keepdim=True) for x in (a.double(), b.double()))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


def filled(spec):
    """Fields that each record needs but few tests examine."""
    numbers = {"classes": 101, "image_size": spec.image_size, "train": 24, "validation": 8, "test": 8}
    return {
        "data": {"fingerprint": "f", **numbers},
        "measured": {"seconds": 0},
        "environment": {"device": "", "commit": ""},
    }


def without_digest(path):
    """Read a record without its digest, so that a test can change it and write it again."""
    return {name: value for name, value in json.loads(path.read_text()).items() if name != "digest"}


def edit(path, **parts):
    """Merge each part into the field of its name in the record at `path`, and drop the digest."""
    record = without_digest(path)
    merged = {name: record[name] | part for name, part in parts.items()}
    path.write_text(json.dumps(record | merged))


def rewrite(record, spec=None, **fields):
    """Write the record again with changed fields, for its own run or for the run `spec`; return its path."""
    kept = {name: value for name, value in record.items() if name not in ("schema", "spec")}
    return records.write_record(spec or records.spec_of(record), kept | fields)


def probes(images=1):
    """The field `probes` of a record, for this number of images."""
    picture = examples.as_png(np.zeros((3, 2, 2), np.uint8))
    kept = {"images": [picture] * images, "label": [0] * images, "gradcam": [[[0.0]]] * images}
    return kept | {"strength": {name: [50.0] * len(at) for name, at in examples.STRENGTHS.items()}}


def write_run(
    variant, seed, test, backbone="resnet18", dataset="caltech101", protocol="reduced", epochs=None, row=()
):
    """Store a made-up record of 20 epochs whose best validation epoch has the test accuracy `test`.

    If the protocol evaluates the test images once, `test` is this accuracy.
    """
    spec = RunSpec(dataset, backbone, variant, protocol, seed)
    row = {"train_loss": 1.0, "validation_loss": 1.0, "test_loss": 1.0} | dict(row)
    epochs = epochs or [row | {"validation_accuracy": 50.0 - i, "test_accuracy": test} for i in range(20)]
    stopped = "budget" if len(epochs) == spec.protocol.max_epochs else "early"
    record = filled(spec) | {"parameters": 1, "epochs": epochs, "stopped": stopped}
    if spec.protocol.test_once:
        record["epochs"] = [{k: v for k, v in e.items() if not k.startswith("test")} for e in epochs]
        record["test"] = {"loss": 1.0, "accuracy": test, "class_accuracy": test, "correct": ""}
    selected = records.selected_by_rules(record | {"spec": asdict(spec)})
    return records.write_record(spec, record | {"selected": selected})
