"""`results check` names every damaged, misnamed and contradicting record, and every record of other code."""

import json
import re

import pytest
from helpers import without_digest, write_run

from stn_paper.analysis import audit
from stn_paper.cli import main
from stn_paper.errors import InputError
from stn_paper.training import records


def edited(path, target=None, **fields):
    """Write the record at `path` to `target` (None: to `path`) with changed fields; a changed dict is merged."""
    target = target or path
    target.parent.mkdir(parents=True, exist_ok=True)
    record = without_digest(path)
    whole = {name: record[name] | fields[name] for name in ("data", "environment") if name in fields}
    target.write_text(json.dumps(record | fields | whole))
    return target


def other_accuracy(path):
    """The record's fields `epochs`, with another test accuracy in the last epoch, and `selected`."""
    epochs = json.loads(path.read_text())["epochs"]
    epochs[-1]["test_accuracy"] += 1
    return {"epochs": epochs, "selected": records.select_by_test(epochs)}


def counts(note):
    """The whole numbers in a note: of records and of runs, if it is the first."""
    return [int(number) for number in re.findall(r"\b\d+\b", note)]


def test_good_records_have_no_fault():
    write_run("stn", 0, 50)
    write_run("stn", 1, 50, protocol="smoke", dataset="digits")
    faults, notes = audit.check()
    assert faults == []
    assert counts(notes[0]) == [2, 2]


def test_all_damaged_records_are_named_with_the_sentence_of_reading_them():
    paths = [write_run(variant, 0, 50) for variant in ("stn", "vstn", "lstn")]
    paths[0].write_text("{")
    edited(paths[1], stopped=3)
    expected = []
    for path in sorted(paths[:2]):
        with pytest.raises(InputError) as error:
            records.read_record(path)
        expected.append(str(error.value))
    faults, notes = audit.check()
    assert faults == expected
    assert counts(notes[0]) == [1, 1]


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("backbone", "resnet19", "'resnet19'"),
        ("protocol", {"name": "x", "new": 1}, "'new'"),
    ],
)
def test_a_run_of_other_code_is_named_and_the_others_are_read(field, value, named):
    path = write_run("stn", 0, 50)
    edited(path, spec=json.loads(path.read_text())["spec"] | {field: value})
    write_run("stn", 1, 50)
    (fault,), notes = audit.check()
    assert str(path) in fault and named in fault
    assert counts(notes[0]) == [1, 1]


def test_a_copy_under_another_name_is_named_though_it_agrees():
    path = write_run("stn", 0, 50)
    copy = edited(path, path.with_name(f"{path.stem} (1).json"))
    (fault,), notes = audit.check()
    assert str(copy) in fault and path.name in fault
    assert any(str(path) in note and str(copy) in note for note in notes)


def test_records_of_one_run_that_disagree_are_named(tmp_path):
    path = write_run("stn", 0, 50)
    copy = edited(path, tmp_path / "other/caltech101" / path.name, **other_accuracy(path))
    (fault,), _ = audit.check([tmp_path / "other"])
    assert str(copy) in fault and str(path) in fault and "(epochs)" in fault


def test_a_record_in_another_datasets_folder_is_named():
    path = write_run("stn", 0, 50)
    moved = path.parent.parent / "cifar10" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    (fault,), _ = audit.check()
    assert str(moved) in fault and f"caltech101/{path.name}" in fault


@pytest.mark.parametrize(("field", "value"), [("parameters", 2), ("stopped", "early")])
def test_a_third_record_of_another_outcome_is_named(tmp_path, field, value):
    path = write_run("stn", 0, 50)
    edited(path, tmp_path / "same/caltech101" / path.name)
    changed = edited(path, tmp_path / "unlike/caltech101" / path.name, **{field: value})
    (fault,), _ = audit.check([tmp_path / "same", tmp_path / "unlike"])
    assert str(changed) in fault and f"({field})" in fault


def test_records_of_other_images_disagree(tmp_path):
    path = write_run("stn", 0, 50)
    edited(path, tmp_path / "other/caltech101" / path.name, data={"fingerprint": "f" * 16})
    (fault,), _ = audit.check([tmp_path / "other"])
    assert "(images)" in fault


def test_records_of_one_run_that_differ_in_time_and_place_agree(tmp_path):
    path = write_run("stn", 0, 50)
    other = tmp_path / "other/caltech101" / path.name
    edited(path, other, measured={"seconds": 3}, environment={"device": "x"})
    faults, notes = audit.check([tmp_path / "other"])
    assert faults == []
    assert any(str(path) in note and str(other) in note for note in notes)


def test_other_commits_are_counted(monkeypatch):
    monkeypatch.setattr(audit, "current_commit", lambda: "now")
    for seed, made in enumerate(["now", "before", "before", "elsewhere+changes"]):
        edited(write_run("stn", seed, 50), environment={"commit": made})
    faults, notes = audit.check()
    assert faults == []
    assert counts(notes[1]) == [3, 2, 1]
    assert notes[1].index("before") < notes[1].index("elsewhere+changes")


def test_the_command_says_it_by_its_exit_status(capsys, tmp_path):
    path = write_run("stn", 0, 50)
    main(["results", "check"])
    assert counts(capsys.readouterr().out.splitlines()[0]) == [1, 1]
    path.write_text("")
    with pytest.raises(SystemExit) as end:
        main(["results", "check"])
    assert end.value.code == 1 and str(path) in capsys.readouterr().out
    for name in ("nowhere", 999 * "x"):
        with pytest.raises(SystemExit) as end:
            main(["results", "check", str(tmp_path / name)])
        assert name in end.value.code


def test_a_link_to_itself_is_a_fault():
    path = write_run("stn", 0, 50)
    circle = path.with_name("circle.json")
    circle.symlink_to(circle.name)
    faults, notes = audit.check()
    assert len(faults) == 1 and "circle.json" in faults[0] and counts(notes[0])[0] == 1
