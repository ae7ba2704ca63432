"""A training computes what a plain loop computes, writes a record, learns, and fails with one sentence."""

import math
import re
import sys
from dataclasses import asdict, replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import short, tiny_spec

from stn_paper.data import datasets, download
from stn_paper.data.files import LAYOUTS
from stn_paper.errors import InputError
from stn_paper.models import build_model
from stn_paper.paths import cache_dir, results_dir
from stn_paper.training import batches, loop, progress, records
from stn_paper.training.record_fields import RECORD
from stn_paper.training.spec import RunSpec


@pytest.mark.parametrize(
    ("optimizer", "variant", "normalization"), [("adam", "original", "half"), ("sgd", "stn", "imagenet")]
)
def test_a_run_is_what_a_plain_loop_gives(tiny, optimizer, variant, normalization):
    """A wrong seed, order, rate, normalization, loss or split would not stop a run, but would change its numbers."""
    settings = {"optimizer": optimizer, "normalization": normalization, "learning_rate": 0.003}
    settings |= {"batch_size": 20, "split_seed": 4, "max_epochs": 2, "min_epochs": 2}
    spec = replace(tiny_spec(variant, **settings), seed=3)
    record = loop.run(spec, "cpu")
    data = datasets.load_images("digits", 24)
    split = datasets.split("digits", data, 4, max_images=48)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in batches.CHANNEL_STATISTICS[normalization])
    images = (data.images / 255 - mean) / std
    torch.manual_seed(3)
    model = build_model("tiny", variant, 10, 24)
    torch.manual_seed(3)
    plain = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    steps = plain[optimizer](model.parameters(), lr=0.003)
    for number, row in enumerate(record["epochs"], 1):
        order, losses = np.random.RandomState([3, number]).permutation(split.train), []
        for batch in torch.from_numpy(order).split(20):
            loss = F.cross_entropy(model.train()(images[batch]), data.labels[batch])
            steps.zero_grad()
            loss.backward()
            steps.step()
            losses += [loss.item()] * len(batch)
        assert row["train_loss"] == pytest.approx(np.mean(losses), abs=1e-3)
        for name in ("validation", "test"):
            part = getattr(split, name)
            logits, labels = model.eval()(images[part]), data.labels[part]
            # a bias before a batch norm has only a gradient of rounding errors, which Adam follows
            assert row[f"{name}_loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), abs=3e-3)
            hits = (logits.argmax(1) == labels).float()
            assert row[f"{name}_accuracy"] == pytest.approx(100 * hits.mean().item(), abs=100 / 48 + 1e-3)


def test_the_record_has_every_field(tiny):
    spec = tiny_spec()
    record = loop.run(spec, "cpu")
    assert set(record) == {field for field in RECORD if field[-1] != "?"}
    assert record["spec"] == asdict(spec)
    assert record["stopped"] == "budget" and len(record["epochs"]) == 3
    assert all(set(epoch) == {*records.EPOCH_FIELDS, "train_accuracy", "theta"} for epoch in record["epochs"])
    assert record["data"] == {
        "fingerprint": "2913c6b6527114b7",
        "classes": 10,
        "image_size": 24,
        "train": 48,
        "validation": 48,
        "test": 48,
        "skipped": [],
        "duplicates": 0,
    }
    assert record["measured"]["resumed"] == 0 and record["measured"]["train_images_per_second"] > 0
    assert record["environment"]["torch"] == torch.__version__.split("+")[0]
    assert record["environment"]["threads"] == torch.get_num_threads()


def test_times_are_of_all_epochs_and_throughput_is_of_training_alone(tiny, monkeypatch):
    clock = iter([0, 2, 5, 10, 12, 15, 20, 22, 25])  # seconds: an epoch trains for 2 and evaluates for 3
    patched = SimpleNamespace(perf_counter=lambda: next(clock), time=lambda: 0)
    monkeypatch.setattr(loop, "time", patched)
    measured = loop.run(tiny_spec("original"), "cpu")["measured"]
    assert (measured["seconds"], measured["train_images_per_second"]) == (15, 3 * 48 / 6)


@pytest.mark.parametrize("variant", ["original", "stn"])
def test_only_a_transformer_has_theta(tiny, variant):
    record = loop.run(tiny_spec(variant, max_epochs=1, min_epochs=1), "cpu")
    assert ("theta" in record["epochs"][0]) == (variant == "stn")


def test_theta_is_of_the_validation_images(tiny, monkeypatch):
    statistics, labels = loop.diagnostics.theta_statistics, []

    def noted(transformer, batches):
        batches = list(batches)
        labels.extend(label for _, batch in batches for label in batch.tolist())
        return statistics(transformer, batches)

    monkeypatch.setattr(loop.diagnostics, "theta_statistics", noted)
    loop.run(tiny_spec("stn", max_epochs=1, min_epochs=1), "cpu")
    data = datasets.load_images("digits", 24)
    assert labels == data.labels[datasets.split("digits", data, 0, max_images=48).validation].tolist()


def test_theta_starts_near_the_identity(tiny):
    slow = tiny_spec(learning_rate=1e-6, max_epochs=1, min_epochs=1)
    theta = loop.run(slow, "cpu")["epochs"][0]["theta"]
    assert theta["mean"] == pytest.approx([1, 0, 0, 0, 1, 0], abs=0.01)
    assert theta["std"] == pytest.approx([0] * 6, abs=0.01)


def test_a_recorded_run_is_not_trained_again(tiny, monkeypatch):
    first = loop.run(tiny_spec(), "cpu")
    for module, name in [(loop, "build_network"), (loop, "_one_epoch"), (datasets, "load_images")]:
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("trained again"))
    assert loop.run(tiny_spec(), "cpu") == first


def test_a_finished_run_leaves_its_record_only(tiny):
    loop.run(tiny_spec(), "cpu")
    assert {path.suffix for path in (cache_dir() / "checkpoints").iterdir()} <= {".lock"}
    assert len(list(results_dir().rglob("*.*"))) == 1


def test_the_same_run_gives_the_same_numbers(tiny, tmp_path, monkeypatch):
    first = loop.run(tiny_spec(), "cpu")
    monkeypatch.setenv("STN_PAPER_RESULTS", str(tmp_path / "again"))
    assert loop.run(tiny_spec(), "cpu")["epochs"] == first["epochs"]
    other_seed = loop.run(replace(tiny_spec(), seed=1), "cpu")
    assert other_seed["epochs"] != first["epochs"]


def shown(capsys):
    loop.run(tiny_spec(), "cpu")
    return capsys.readouterr().err


def test_a_terminal_shows_a_bar(tiny, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(progress, "tqdm", partial(progress.tqdm, mininterval=0))
    bar = [line for line in shown(capsys).split("\r") if "144/144" in line][-1]  # 3 epochs of 48 images
    assert "tiny lstn seed 0" in bar and "images/s" in bar
    assert re.search(r"epoch 3, loss \d\.\d{3}, validation \d+\.\d{2} %", bar)


def test_jupyter_shows_a_bar_and_papermill_none(tiny, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipykernel", None)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    with progress.progress_bar(tiny_spec(), 0, 48) as bar:
        assert bar.disable
    monkeypatch.setenv("JPY_SESSION_NAME", "table6.ipynb")
    with progress.progress_bar(tiny_spec(), 48, 48) as bar:
        assert not bar.disable and (bar.n, bar.total) == (48, 144)


def test_a_log_shows_nothing(tiny, capsys):
    assert shown(capsys) == ""


@pytest.mark.parametrize("variant", ["original", "lstn"])
def test_three_epochs_of_digits_beat_chance(variant):
    protocol = short(image_size=32, batch_size=20, max_images=600)
    record = loop.run(RunSpec("digits", "timm/test_resnet", variant, protocol), "cpu")
    assert record["selected"]["best-validation"]["test"] > 20  # chance is 10 %; seeds give 24 to 43
    assert record["epochs"][-1]["train_loss"] < record["epochs"][0]["train_loss"]


@pytest.mark.parametrize(("backbone", "size"), [("alexnet", 32), ("timm/inception_v3", 64)])
def test_images_too_small_for_the_network_are_refused_before_any_is_read(monkeypatch, backbone, size):
    monkeypatch.setattr(datasets, "load_images", lambda *_: pytest.fail("data was loaded"))
    with pytest.raises(InputError, match=f"{size}") as error:
        loop.run(RunSpec("digits", backbone, "original", short(image_size=size)), "cpu")
    assert "\n" not in str(error.value)


def test_a_loss_that_is_no_number_ends_in_one_sentence(tiny):
    with pytest.raises(
        InputError, match=r"loss became (nan|inf) in epoch 1 of digits_smoke_tiny.*1e\+30"
    ) as error:
        loop.run(tiny_spec("original", learning_rate=1e30), "cpu")
    assert "\n" not in str(error.value)
    assert records.find(tiny_spec("original", learning_rate=1e30)) is None


@pytest.mark.parametrize("quantity", ["validation loss", "theta"])
def test_a_value_that_is_not_finite_ends_the_run_too(tiny, monkeypatch, quantity):
    if quantity == "theta":
        lost = {"mean": [float("nan")] * 6, "std": [0.0] * 6}
        monkeypatch.setattr(loop.diagnostics, "theta_statistics", lambda *_: lost)
    else:
        monkeypatch.setattr(loop, "evaluate", lambda *_: (float("inf"), np.zeros(1, bool)))
    with pytest.raises(InputError, match=rf"The {quantity} became (nan|inf) in epoch 1 of digits_smoke_tiny"):
        loop.run(tiny_spec(), "cpu")


def test_theta_of_one_image_has_no_spread(tiny):
    record = loop.run(tiny_spec(max_images=1, max_epochs=1, min_epochs=1, batch_size=1), "cpu")
    assert record["epochs"][0]["theta"]["std"] == [0.0] * 6


@pytest.mark.parametrize("name", ["RESULTS", "CACHE"])
def test_a_folder_that_cannot_be_written_is_named_before_data_is_loaded(tiny, tmp_path, monkeypatch, name):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(f"STN_PAPER_{name}", str(tmp_path / "file"))
    monkeypatch.setattr(datasets, "load_images", lambda *_: pytest.fail("data was loaded"))
    with pytest.raises(InputError, match=f"{tmp_path / 'file'}.* cannot be written"):
        loop.run(tiny_spec(), "cpu")


def test_a_folder_of_weights_that_cannot_be_written_is_named_before_data_is_loaded(
    tiny, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(datasets, "load_images", lambda *_: pytest.fail("data was loaded"))
    with pytest.raises(InputError, match=f"{tmp_path / 'file'}.* cannot be written"):
        loop.run(tiny_spec(), "cpu", weights=tmp_path / "file/net.safetensors")
    for folder in (tmp_path, ""):
        with pytest.raises(InputError, match="not of a folder"):
            loop.run(tiny_spec(), "cpu", weights=folder)


def test_missing_data_is_named(tmp_path, monkeypatch):
    row = LAYOUTS["caltech101"]
    monkeypatch.setitem(LAYOUTS, "caltech101", row._replace(archives=()))
    with pytest.raises(InputError, match=str(tmp_path)):
        loop.run(RunSpec("caltech101", "resnet18", "stn", "reduced"), "cpu", tmp_path)


def test_missing_data_is_downloaded_first(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(download, "fetch", lambda *call: calls.append(call))
    for name in ("caltech101", "tsrd"):  # tsrd has no address
        with pytest.raises(InputError, match="no folder"):
            loop.run(RunSpec(name, "resnet18", "stn", "reduced"), "cpu", tmp_path)
    (tmp_path / "caltech101/101_ObjectCategories").mkdir(parents=True)  # there, but not whole: the user's
    with pytest.raises(InputError, match="0 class folders"):
        loop.run(RunSpec("caltech101", "resnet18", "stn", "reduced"), "cpu", tmp_path)
    assert calls == [("caltech101", tmp_path, math.inf)]


def test_a_failed_download_says_what_is_missing_and_why(tmp_path, monkeypatch):
    def fails(*_):
        raise InputError("https://address cannot be downloaded: no route.")

    monkeypatch.setattr(download, "fetch", fails)
    with pytest.raises(InputError, match=r"no folder .*; https://address cannot be downloaded: no route\.$"):
        loop.run(RunSpec("caltech101", "resnet18", "stn", "reduced"), "cpu", tmp_path)
