"""A campaign starts the most valuable run that fits into the slot, and packs the new records."""

import math
import multiprocessing
import os
import re
import tarfile
from types import SimpleNamespace

import pytest
import torch
from helpers import write_run

from stn_paper.analysis import campaign
from stn_paper.analysis.paper import table
from stn_paper.errors import InputError
from stn_paper.training import records
from stn_paper.training.checkpoint import checkpoint_path as checkpoint
from stn_paper.training.records import EPOCH_FIELDS
from stn_paper.training.spec import RunSpec

SMALL = ("digits",), (campaign.Step(("mnist-cnn",), ("original", "lstn")),)


@pytest.fixture
def slot(monkeypatch):
    """A campaign of three runs on a fake clock: each process does nothing for its number of seconds in `takes`."""
    slot = SimpleNamespace(now=0.0, takes=[], started=[], waited=[], limits=[], ensured=[])

    class Process:
        def __init__(self, target, args, daemon):
            self.sentinel, self.args, self.killed = self, args, False

        def start(self):
            self.end = slot.now + slot.takes[len(slot.started)]
            slot.started.append(self)

        def kill(self):
            self.killed = True

        def join(self):
            assert self.killed or self.end <= slot.now, "waits for a run that is too late"

    def wait(running, seconds):
        assert len(slot.waited) < 9, "waits for ever"
        slot.waited.append(seconds)
        first = min(running, key=lambda process: process.end)
        slot.now = min(first.end, slot.now + seconds)
        return [first] if first.end <= slot.now else []

    def choose_next(waiting, *limits):
        slot.limits.append(limits)
        return waiting[0]

    steps = (campaign.Step(("mnist-cnn",), ("original", "stn", "lstn")),)
    monkeypatch.setitem(campaign.PLANS, "table6", (("digits",), steps))
    monkeypatch.setattr(campaign, "time", SimpleNamespace(time=lambda: slot.now))
    monkeypatch.setattr(campaign, "SPAWN", SimpleNamespace(Process=Process))
    monkeypatch.setattr(campaign, "wait", wait)
    monkeypatch.setattr(campaign, "choose_next", choose_next)
    monkeypatch.setattr(campaign, "ensure_dataset", lambda *arguments: slot.ensured.append(arguments))
    monkeypatch.setattr(campaign, "device_name", lambda device: "H200")
    monkeypatch.setattr(campaign, "measurements", lambda: [SimpleNamespace(device="H200")])
    monkeypatch.setattr(campaign.os, "cpu_count", lambda: 8)
    return slot


@pytest.mark.parametrize("number", [4, 6, 8])
def test_a_plan_has_every_cell_of_its_table_once(number):
    cells = table(number).assign(variant=lambda t: t.get("variant", "original"))
    runs = campaign.campaign_specs(f"table{number}")
    assert {(r.backbone, r.variant) for r in runs} >= set(zip(cells["backbone"], cells["variant"]))
    assert len({r.name for r in runs}) == len(runs)


def test_the_most_valuable_runs_come_first():
    runs = campaign.campaign_specs("table6")
    assert {(r.backbone, r.seed) for r in runs[:14]} == {("resnet50", 0), ("effb0", 0)}
    assert {r.seed for r in runs[:42]} == {0, 1, 2} and len({r.variant for r in runs[:42]}) == 7
    assert all(r.protocol.max_epochs == 40 and r.protocol.name == "equal" for r in runs[:-8])
    assert {r.protocol.name for r in runs[-8:]} == {"paper"}
    assert campaign.campaign_specs("table8")[0].protocol.max_epochs == 15
    assert {r.dataset for r in campaign.campaign_specs("table4")} == {"tsrd", "tsrd-distinct"}


@pytest.mark.parametrize("number, count", [(4, 28), (6, 28), (8, 32)])
def test_a_small_plan_begins_with_one_seed_of_every_cell(number, count):
    runs = campaign.campaign_specs(f"table{number}", "small")
    assert {r.seed for r in runs[:count]} == {0} and {r.protocol.name for r in runs} == {"small"}
    assert len({(r.dataset, r.backbone, r.variant) for r in runs[:count]}) == count
    assert any(r.variant == "constant" for r in runs) == (number != 4)


def test_a_campaign_takes_another_protocol():
    assert campaign.campaign_specs("table6", "reduced")[0].image_size == 64


def test_the_next_run_is_the_first_that_can_end_else_the_first_that_can_train_an_epoch(monkeypatch):
    hours = {"resnet50": 3.0, "effb0": 2.0, "effb1": 1.0, "effb2": None}
    runs = [RunSpec("caltech101", backbone, "original", "equal") for backbone in hours]
    monkeypatch.setattr(campaign, "measurements", list)
    monkeypatch.setattr(campaign, "estimate_hours", lambda spec, measured, device: hours[spec.backbone])

    def chosen(minutes, waiting=runs[:3]):
        spec = campaign.choose_next(waiting, 60 * minutes, "H200")
        return spec and spec.backbone

    found = [chosen(minutes) for minutes in (240, 150, 60, 30, 3.5, 0.5)]  # `equal` has 40 epochs
    assert found == ["resnet50", "effb0", "effb1", "resnet50", "effb0", None]
    assert chosen(1, [runs[0], runs[3]]) == "effb2"
    monkeypatch.setattr(campaign, "epochs_done", lambda spec: 30 if spec == runs[0] else 0)
    assert chosen(46) == chosen(60) == "resnet50"  # of which ten epochs are left


def test_a_slot_in_which_no_epoch_fits_ends(monkeypatch, capsys):
    monkeypatch.setitem(campaign.PLANS, "table6", SMALL)
    monkeypatch.setattr(campaign, "estimate_hours", lambda *_: 100)
    monkeypatch.setattr(campaign, "wait", lambda *_: pytest.fail("waits for no run"))
    assert campaign.train_missing("table6", 1, "smoke", "cpu") == []
    assert re.findall(r"\b\d+\b", capsys.readouterr().out)[0] == "2"  # runs without a record


def test_a_run_that_is_too_late_is_killed_and_none_starts_after_the_end(slot):
    slot.takes = [9 * 60 + 10, 3600]
    assert campaign.train_missing("table6", 9, "smoke", "cpu", together=2) == []
    assert [process.killed for process in slot.started] == [True, True]
    assert slot.waited == [570, 20]  # until half a minute after the end
    assert slot.now == 570


def test_a_slot_may_last_for_weeks(slot):
    slot.takes = [3 * 86_400, 60, 60]
    campaign.train_missing("table6", math.inf, "smoke", "cpu", together=1)
    assert max(slot.waited) == campaign.LONGEST_WAIT
    assert len(slot.started) == 3 and slot.now == 3 * 86_400 + 120


def test_each_run_fits_into_the_rest_of_the_slot_on_its_device(slot, monkeypatch):
    monkeypatch.setattr(campaign, "device_name", lambda device: "H200(R) Processor")  # pages show it as H200
    slot.takes = [120, 120, 60]
    campaign.train_missing("table6", 9, "smoke", "cpu", "images", together=1)
    assert slot.limits == [(540, "H200"), (420, "H200"), (300, "H200")]
    assert slot.ensured == [("digits", "images")]
    assert [process.args[0] for process in slot.started] == campaign.campaign_specs("table6", "smoke")
    assert {process.args[1:] for process in slot.started} == {("cpu", "images", 540, 8, False)}


@pytest.mark.parametrize(
    ("kind", "together", "threads"), [("cpu", None, 1), ("cuda", None, 2), ("cuda", 3, 2), ("cpu", 9, 1)]
)
def test_runs_share_the_cores(slot, monkeypatch, kind, together, threads):
    monkeypatch.setattr(campaign, "check_device", lambda device: SimpleNamespace(type=kind))
    slot.takes = [60, 60, 60]
    campaign.train_missing("table6", 9, "smoke", kind, together=together)
    assert [process.args[-2] for process in slot.started] == [threads] * 3
    assert slot.now == 60


def test_a_run_ends_with_its_slot_and_keeps_to_its_threads(monkeypatch):
    called = []
    monkeypatch.setattr(campaign.torch, "set_num_threads", called.append)
    monkeypatch.setattr(campaign, "run", lambda *run: called.append(run))
    campaign._train_in_process("run", "cpu", "images", 540, 3, True)
    assert called == [3, ("run", "cpu", "images", True, 540)]


def test_a_slot_trains_at_the_precision_that_is_asked_for(slot):
    slot.takes = [60, 60, 60]
    campaign.train_missing("table6", 9, "smoke", "cpu", precision="bfloat16", compiled=True)
    runs = [process.args[0] for process in slot.started]
    assert [spec.changes for spec in runs] == [{"precision": "bfloat16"}] * 3
    assert [process.args[-1] for process in slot.started] == [True] * 3


def test_a_slot_trains_small_in_float32_on_a_processor_that_is_slow_in_bfloat16(slot, monkeypatch):
    planned = [RunSpec("caltech101", "resnet18", variant, "small") for variant in ("original", "stn", "lstn")]
    monkeypatch.setattr(campaign, "campaign_specs", lambda *_: planned)
    monkeypatch.setattr(campaign.records.hardware, "is_fast_in_bfloat16", lambda device: False)
    slot.takes = [60, 60, 60]
    campaign.train_missing("table6", 9, "small", "cpu")
    assert {process.args[0].changes.get("precision") for process in slot.started} == {"tf32"}


def test_a_new_record_is_told_by_its_test_accuracy():
    write_run("original", 0, 40.0)  # of validation accuracy 50
    spec = RunSpec("caltech101", "resnet18", "original", "reduced")
    assert re.findall(r"[\d.]+", campaign._outcome_in_words(spec, records.find(spec))) == ["40.00"]


def test_a_slot_trains_what_is_missing_and_packs_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(campaign.PLANS, "table6", SMALL)
    write_run("original", 0, 50.0, "mnist-cnn", "digits", "smoke", epochs=[dict.fromkeys(EPOCH_FIELDS, 1.0)])
    new = campaign.train_missing("table6", 9, "smoke", "cpu", archive=tmp_path / "new.tar.gz")
    spec = RunSpec("digits", "mnist-cnn", "lstn", "smoke")
    assert new == [records.record_path(spec)] and records.find(spec)
    with tarfile.open(tmp_path / "new.tar.gz") as tar:
        assert tar.getnames() == [f"smoke/{spec.name}.json"]
    capsys.readouterr()
    assert campaign.train_missing("table6", 9, "smoke", "cpu") == []
    assert re.findall(r"\b\d+\b", capsys.readouterr().out) == ["0", "0", "0"]


def test_a_run_that_fails_is_named_and_the_slot_ends(monkeypatch, capfd):
    monkeypatch.setattr(campaign, "SPAWN", multiprocessing.get_context("fork"))  # starts sooner
    monkeypatch.setitem(campaign.PLANS, "table6", (("digits",), (campaign.Step(("mnist-cnn",), ("lstn",)),)))
    path = checkpoint(campaign.campaign_specs("table6", "smoke")[0])
    path.parent.mkdir(parents=True)
    counts = {"seconds": 0.0, "train_seconds": 0.0, "train_images": 0, "resumed": 0, "watched": None}
    torch.save({"state": {"fingerprint": "of other images", "epochs": [], **counts}}, path)
    assert campaign.train_missing("table6", 9, "smoke", "cpu") == []
    out = capfd.readouterr().out
    assert out.count("lstn_seed0") >= 2 and path.exists()


def test_a_damaged_checkpoint_counts_as_none_and_the_run_names_it(monkeypatch, capfd):
    monkeypatch.setattr(campaign, "SPAWN", multiprocessing.get_context("fork"))  # starts sooner
    monkeypatch.setitem(campaign.PLANS, "table6", (("digits",), (campaign.Step(("mnist-cnn",), ("lstn",)),)))
    path = checkpoint(campaign.campaign_specs("table6", "smoke")[0])
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert campaign.train_missing("table6", 9, "smoke", "cpu") == []
    assert str(path) in capfd.readouterr().out


def test_an_archive_that_cannot_be_written_is_named_before_any_training(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(campaign.PLANS, "table6", SMALL)
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.tar.gz").mkdir()
    for archive in (tmp_path / "file/new.tar.gz", tmp_path / "folder.tar.gz"):
        with pytest.raises(InputError, match=f"{archive} cannot be written"):
            campaign.train_missing("table6", 9, "smoke", "cpu", archive=archive)
    assert "mnist-cnn" not in capfd.readouterr().out


def test_an_archive_of_another_ending_is_named(tmp_path):
    with pytest.raises(InputError, match=r"new\.zip"):
        campaign.pack_records([], tmp_path / "new.zip")
    assert not (tmp_path / "new.zip").exists()


def test_an_archive_is_never_half_written(tmp_path):
    archive = tmp_path / "new.tar.gz"
    campaign.pack_records([], archive)
    older = archive.read_bytes()
    with pytest.raises(
        InputError, match=r"new\.tar\.gz cannot be written: .*gone\.json cannot be read.*intact"
    ):
        campaign.pack_records([records.results_dir() / "gone.json"], archive)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [older]


def test_an_archive_keeps_the_records_of_earlier_slots(tmp_path):
    archive, folder = tmp_path / "new.tar.gz", records.results_dir()
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("one", "1"), ("two", "2"), ("one", "3")):
        (folder / name).write_text(text)
        campaign.pack_records([folder / name], archive)
        (folder / name).unlink()
    with tarfile.open(archive) as tar:
        assert {name: tar.extractfile(name).read() for name in tar.getnames()} == {"one": b"3", "two": b"2"}


@pytest.mark.parametrize("cut", [False, True])
def test_a_file_that_is_no_whole_archive_is_left_alone(tmp_path, cut):
    archive, folder = tmp_path / "new.tar.gz", records.results_dir()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "one").write_bytes(os.urandom(5000))
    campaign.pack_records([folder / "one"], archive)
    archive.write_bytes(archive.read_bytes()[:3000] if cut else b"notes")
    before = archive.read_bytes()
    with pytest.raises(InputError, match=r"new\.tar\.gz"):
        campaign.pack_records([], archive)
    assert [path.read_bytes() for path in tmp_path.glob("new*")] == [before]


def test_a_flipped_bit_in_an_archive_is_told_or_changes_nothing(tmp_path):
    archive, folder = tmp_path / "new.tar.gz", records.results_dir()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "one").write_text(content := '{"a": [1, 2, 3]}\n' * 800)
    campaign.pack_records([folder / "one"], archive)
    whole, refused = archive.read_bytes(), 0
    for place in range(10, len(whole)):
        archive.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            campaign.pack_records([], archive)
        except InputError as error:
            refused += "is not a complete .tar.gz" in str(error)
        else:
            with tarfile.open(archive) as tar:
                assert {member.name: tar.extractfile(member).read().decode() for member in tar} == {
                    "one": content
                }
    assert refused > 100


def test_a_dataset_that_is_not_there_ends_the_slot_before_a_run_is_started(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(campaign.PLANS, "table6", (("tsrd",), SMALL[1]))
    with pytest.raises(InputError, match=re.escape(str(tmp_path / "tsrd"))):
        campaign.train_missing("table6", 9, "reduced", "cpu", str(tmp_path))
    assert "not trained" not in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("table7", 9), "campaign 'table7'"),
        (("table6", 0), " 0 minutes"),
        (("table6", float("nan")), " nan minutes"),
        (("table6", 9, "fast"), "protocol 'fast'"),
        (("table6", 9, "equal", "tpu"), "Device 'tpu'"),
        (("table6", 9, "equal", "cpu", None, 0), "together 0 "),
        (("table6", 9, "equal", "cpu", None, 1, None, "float8"), "precision 'float8'"),
        (("table6", 9, "equal", "cpu", None, 1, None, ""), "precision ''"),
    ],
)
def test_a_wrong_value_is_named(arguments, named):
    with pytest.raises(InputError, match=named):
        campaign.train_missing(*arguments)
