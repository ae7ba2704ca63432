"""The table of all records: every file is read once, and each row has the numbers of its record."""

import json
from dataclasses import replace

import pytest
from helpers import write_run

from stn_paper.analysis import frame
from stn_paper.errors import InputError
from stn_paper.training import records
from stn_paper.training.presets import preset


@pytest.fixture
def read(monkeypatch):
    """Names of the record files that the test reads, in order."""
    names, reader = [], records.read_named_record

    def counted(path):
        names.append(path.name)
        return reader(path)

    monkeypatch.setattr(records, "read_named_record", counted)
    return names


def test_a_record_is_read_once_and_again_only_when_it_changes(read):
    first, second = write_run("original", 0, 50.0), write_run("stn", 0, 52.0)
    for _ in range(3):
        assert len(frame.runs()) == len(frame.runs("caltech101", "reduced")) == 2
    assert sorted(read) == sorted([first.name, second.name])
    write_run("stn", 0, 55.0)
    assert set(frame.runs("caltech101", "reduced", "resnet18")["test"]) == {50.0, 55.0}
    assert len(read) == 3 and read[-1] == second.name
    first.unlink()
    assert len(frame.runs()) == 1 and len(read) == 3


def test_a_row_says_what_its_record_says():
    write_run("stn", 3, 52.5, "effb0", row={"train_loss": 4.5})
    (row,) = frame.runs("caltech101", "reduced", "effb0").itertuples()
    assert (row.variant, row.seed, row.test, row.validation, row.epochs) == ("stn", 3, 52.5, 50.0, 20)
    assert row.preset and row.failed and not row.collapsed
    assert row.run in frame.records_by_name() and frame.records_by_name()[row.run] is row.record


def test_a_column_that_a_caller_adds_is_not_kept():
    write_run("stn", 0, 52.5)
    found = frame.runs()
    found["mine"] = 1
    assert "mine" not in frame.runs()


def test_a_damaged_record_is_named_and_the_readable_ones_can_be_had():
    write_run("original", 0, 50.0)
    path = write_run("stn", 0, 52.0)
    path.write_text("{")
    with pytest.raises(InputError, match=path.name):
        frame.runs("caltech101", "reduced")
    assert [record["spec"]["variant"] for record in frame.readable_records()] == ["original"]


def test_smoke_runs_are_only_there_when_asked_for():
    write_run("original", 0, 50.0, "resnet18", "digits", "smoke", epochs=[ROW])
    assert frame.runs().empty and len(frame.runs("digits", "smoke")) == 1


ROW = dict.fromkeys(records.EPOCH_FIELDS, 1.0)


def theta(outside=None, shift=0.0):
    kept = {"mean": [1.0, 0.0, shift, 0.0, 1.0, 0.0], "std": [0.0] * 6}
    return kept if outside is None else kept | {"outside": outside}


@pytest.mark.parametrize(
    ("last", "collapsed"),
    [(theta(94.9), False), (theta(95.0), True), (theta(), False), (theta(shift=3.0), True)],
)
def test_collapsed_runs_are_found_in_new_records_and_in_old(last, collapsed):
    write_run("stn", 0, 50.0, row={"theta": last, "train_loss": 4.6})
    (row,) = frame.runs("caltech101", "reduced").itertuples()
    assert row.collapsed == collapsed and row.failed == (not collapsed)


def test_runs_of_changed_settings_are_in_no_named_protocol(committed):
    every = frame.runs()
    assert (every["preset"] == "").any()
    assert len(frame.runs(protocol="small")) < (every["protocol"] == "small").sum()
    assert json.dumps(sorted(every["run"])) == json.dumps(sorted(frame.records_by_name()))


def test_only_small_has_a_name_for_its_runs_in_float32():
    for name in ("small", "equal"):
        in_default = replace(preset(name, "caltech101", "stn"), precision="tf32")
        for protocol in (in_default, replace(in_default, batch_size=16)):
            write_run("stn", 0, 50.0, protocol=protocol)
    found = frame.runs(protocol="small in float32")
    assert found["protocol"].tolist() == ["small"] and found["preset"].tolist() == ["small in float32"]
    assert (
        frame.runs(protocol="small").empty and frame.runs(protocol="equal").empty and len(frame.runs()) == 4
    )


def test_an_unknown_dataset_is_named():
    with pytest.raises(InputError, match="'digitss'"):
        frame.runs("digitss")
