"""Campaigns: what is most valuable comes first, what fits is started, what is new is packed."""

import math
import os
import tarfile
import time
from types import SimpleNamespace

import pytest
import torch

from stn_paper import campaign, results
from stn_paper.errors import InputError
from stn_paper.paper import table
from stn_paper.protocol import RunSpec
from stn_paper.training import checkpoint

SMALL = "digits", (campaign.Step(("mnist-cnn",), ("original", "lstn")),)


@pytest.mark.parametrize("number", [4, 6, 8])
def test_a_plan_has_every_cell_of_its_table_once(number):
    cells = table(number).assign(variant=lambda t: t.get("variant", "original"))
    runs = campaign.plan(f"table{number}")
    assert {(r.backbone, r.variant) for r in runs} >= set(zip(cells["backbone"], cells["variant"]))
    assert len({r.name for r in runs}) == len(runs)


def test_the_most_valuable_runs_come_first():
    runs = campaign.plan("table6")
    assert {(r.backbone, r.seed) for r in runs[:14]} == {("resnet50", 0), ("effb0", 0)}
    assert {r.seed for r in runs[:42]} == {0, 1, 2} and len({r.variant for r in runs[:42]}) == 7
    assert all(r.protocol.max_epochs == 60 and r.protocol.name == "equal" for r in runs[:-8])
    assert {r.protocol.name for r in runs[-8:]} == {"paper"}
    assert campaign.plan("table8")[0].protocol.max_epochs == 15
    assert {r.dataset for r in campaign.plan("table4")} == {"gtsrb"}


def test_another_protocol_takes_the_campaigns_place():
    assert campaign.plan("table6", "reduced")[0].image_size == 64


def test_the_next_run_is_the_first_that_fits_else_the_first_of_which_an_epoch_does(monkeypatch):
    hours = {"resnet50": 3.0, "effb0": 2.0, "effb1": 1.0, "effb2": None}
    runs = [RunSpec("caltech101", backbone, "original", "equal") for backbone in hours]
    monkeypatch.setattr(campaign, "measurements", list)
    monkeypatch.setattr(campaign, "estimate", lambda spec, *_: hours[spec.backbone])

    def chosen(minutes, waiting=runs[:3]):
        spec = campaign.choose_next(waiting, 60 * minutes, "H200")
        return spec and spec.backbone

    found = [chosen(minutes) for minutes in (240, 150, 60, 30, 2.5, 0.5)]  # `equal` has 60 epochs
    assert found == ["resnet50", "effb0", "effb1", "resnet50", "effb0", None]
    assert chosen(1, [runs[0], runs[3]]) == "effb2"
    monkeypatch.setattr(campaign, "epochs_done", lambda spec: 50 if spec == runs[0] else 0)
    assert chosen(29) == chosen(60) == "resnet50"  # of which ten epochs are left


def test_a_slot_in_which_no_epoch_fits_ends(monkeypatch, capsys):
    monkeypatch.setitem(campaign.PLANS, "table6", SMALL)
    monkeypatch.setattr(campaign, "estimate", lambda *_: 100)
    assert campaign.run("table6", 1, "smoke", "cpu") == []
    assert "2 runs have no record" in capsys.readouterr().out


def test_a_slot_trains_what_is_missing_and_packs_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(campaign.PLANS, "table6", SMALL)
    new = campaign.run("table6", 9, "smoke", "cpu", together=2, archive=tmp_path / "new.tar.gz")
    specs = [RunSpec("digits", "mnist-cnn", v, "smoke") for v in ("original", "lstn")]
    assert set(new) == {results.record_path(spec) for spec in specs}
    out = capsys.readouterr().out
    for spec in specs:
        assert f"{spec.name}: test accuracy {results.chosen(results.find(spec))['test']:.2f} %" in out
    with tarfile.open(tmp_path / "new.tar.gz") as tar:
        assert set(tar.getnames()) == {f"smoke/{spec.name}.json" for spec in specs}
    assert campaign.run("table6", 9, "smoke", "cpu") == []
    assert capsys.readouterr().out.endswith(
        "0 runs have no record.\n0 new records; 0 runs still have none.\n"
    )


def test_the_slots_end_stops_a_run_and_the_next_slot_goes_on():
    spec = RunSpec("digits", "mnist-cnn", "lstn", "smoke")
    for until, done in ((0, False), (math.inf, True)):
        campaign._train(spec, "cpu", None, until, torch.get_num_threads())
        assert bool(results.find(spec)) is done


def test_runs_that_are_busy_after_the_grace_are_killed(monkeypatch, capsys):
    monkeypatch.setitem(campaign.PLANS, "table6", SMALL)
    monkeypatch.setattr(campaign, "GRACE", -9 * 60)  # over as soon as the slot of 9 minutes begins
    assert campaign.run("table6", 9, "smoke", "cpu", together=2) == []
    assert capsys.readouterr().out.count(": not trained") == 2


@pytest.mark.parametrize(
    ("kind", "together", "at_once", "threads"),
    [("cuda", None, 4, 4), ("cpu", None, 16, 1), ("cuda", 2, 2, 8), ("cpu", 32, 32, 1)],
)
def test_runs_share_a_device_and_its_cores(kind, together, at_once, threads, monkeypatch):
    started, most = [], []

    class Process:
        def __init__(self, target, args, daemon):
            self.args, self.sentinel = args, len(started)

        def start(self):
            started.append(self.args)

        kill = join = lambda self: None

    def first(sentinels, timeout):
        most.append(len(sentinels))
        return list(sentinels)[:1]

    monkeypatch.setattr(campaign, "SPAWN", SimpleNamespace(Process=Process))
    monkeypatch.setattr(campaign, "wait", first)
    monkeypatch.setattr(campaign, "check_device", lambda name: torch.device(kind))
    monkeypatch.setattr(campaign, "device_name", lambda device: "H200")
    monkeypatch.setattr(campaign, "measurements", lambda: [SimpleNamespace(device="H200")])
    monkeypatch.setattr(campaign, "choose_next", lambda waiting, seconds, device: waiting[0])
    monkeypatch.setattr(campaign, "ensure", lambda *_: None)
    monkeypatch.setattr(campaign.os, "cpu_count", lambda: 16)
    before = time.time()
    assert campaign.run("table6", 9, "reduced", "auto", "/data", together) == []
    runs = campaign.missing(campaign.plan("table6", "reduced"))
    assert [args[0] for args in started] == runs and max(most) == at_once
    assert {(device, data, share) for _, device, data, _, share in started} == {(kind, "/data", threads)}
    assert all(before <= until - 540 <= time.time() for _, _, _, until, _ in started)


def test_a_run_that_fails_is_named_and_the_slot_ends(monkeypatch, capfd):
    monkeypatch.setitem(campaign.PLANS, "table6", ("digits", (campaign.Step(("mnist-cnn",), ("lstn",)),)))
    left = checkpoint(campaign.plan("table6", "smoke")[0])
    left.parent.mkdir(parents=True)
    torch.save({"state": {"fingerprint": "of other images", "epochs": []}}, left)
    assert campaign.run("table6", 9, "smoke", "cpu") == []
    out = capfd.readouterr().out
    assert "The images have changed since" in out and "left at its checkpoint" in out


def test_a_damaged_checkpoint_counts_as_none_and_the_run_names_it(monkeypatch, capfd):
    monkeypatch.setitem(campaign.PLANS, "table6", ("digits", (campaign.Step(("mnist-cnn",), ("lstn",)),)))
    left = checkpoint(campaign.plan("table6", "smoke")[0])
    left.parent.mkdir(parents=True)
    left.write_bytes(b"")
    assert campaign.run("table6", 9, "smoke", "cpu") == []
    assert f"Checkpoint {left} cannot be read: delete it to start anew." in capfd.readouterr().out


def test_an_archive_that_cannot_be_written_is_named_before_any_training(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(campaign.PLANS, "table6", SMALL)
    (tmp_path / "file").write_text("in the way")
    for archive in (tmp_path / "file/new.tar.gz", tmp_path):  # no folder; a folder
        with pytest.raises(InputError, match=f"{archive} cannot be written"):
            campaign.run("table6", 9, "smoke", "cpu", archive=archive)
    assert "mnist-cnn" not in capfd.readouterr().out


def test_an_archive_is_never_half_written(tmp_path):
    archive = tmp_path / "new.tar.gz"
    campaign.pack([], archive)
    older = archive.read_bytes()
    with pytest.raises(InputError, match=r"new\.tar\.gz cannot be written: No such file.*intact"):
        campaign.pack([results.results_dir() / "gone.json"], archive)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [older]


def test_an_archive_keeps_the_records_of_earlier_slots(tmp_path):
    archive, folder = tmp_path / "new.tar.gz", results.results_dir()
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("one", "1"), ("two", "2"), ("one", "3")):
        (folder / name).write_text(text)
        campaign.pack([folder / name], archive)
        (folder / name).unlink()
    with tarfile.open(archive) as tar:
        assert {name: tar.extractfile(name).read() for name in tar.getnames()} == {"one": b"3", "two": b"2"}


@pytest.mark.parametrize("cut", [False, True])
def test_a_file_that_is_no_whole_archive_is_left_alone(tmp_path, cut):
    archive, folder = tmp_path / "new.tar.gz", results.results_dir()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "one").write_bytes(os.urandom(5000))
    campaign.pack([folder / "one"], archive)
    archive.write_bytes(archive.read_bytes()[:3000] if cut else b"notes")
    before = archive.read_bytes()
    with pytest.raises(InputError, match=r"new\.tar\.gz is no whole \.tar\.gz: name another archive"):
        campaign.pack([], archive)
    assert [path.read_bytes() for path in tmp_path.glob("new*")] == [before]


def test_a_dataset_that_is_not_there_ends_the_slot_before_a_run_is_started(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(campaign.PLANS, "table6", ("tsrd", SMALL[1]))
    with pytest.raises(InputError, match="tsrd"):
        campaign.run("table6", 9, "reduced", "cpu", str(tmp_path))
    assert "not trained" not in capfd.readouterr().out


def test_a_gpu_without_a_record_trains_its_first_run_alone(monkeypatch):
    monkeypatch.setattr(campaign, "device_name", lambda device: "H200")
    measured = []
    monkeypatch.setattr(campaign, "measurements", lambda: measured)
    gpu, cpu = SimpleNamespace(type="cuda"), SimpleNamespace(type="cpu")
    assert (campaign.room(gpu, 4), campaign.room(cpu, 4)) == (1, 4)
    measured.append(SimpleNamespace(device="H200"))
    assert campaign.room(gpu, 4) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("table7", 9), "Unknown campaign 'table7'"),
        (("table6", 0), "A slot of 0 minutes is not allowed: give more than 0"),
        (("table6", 9, "fast"), "Unknown protocol 'fast'"),
        (("table6", 9, "equal", "tpu"), "Device 'tpu' cannot be used here"),
        (("table6", 9, "equal", "cpu", None, 0), "Number of runs together 0 is not allowed"),
    ],
)
def test_a_wrong_value_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        campaign.run(*arguments)
