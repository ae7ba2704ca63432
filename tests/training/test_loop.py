"""A training stops by its protocol, writes a record, resumes to the same bits, learns, and fails with one sentence."""

import base64
import ctypes
import math
import multiprocessing
import os
import platform
import random
import re
import resource
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from functools import cache, partial
from itertools import count
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import git, refusal
from PIL import Image
from torch import nn

from stn_paper.analysis.estimates import is_gpu
from stn_paper.data import datasets, download
from stn_paper.data.files import LAYOUTS
from stn_paper.errors import InputError
from stn_paper.models import build_model, with_stn
from stn_paper.models.backbones import BACKBONES, Backbone
from stn_paper.paths import ROOT, cache_dir, results_dir
from stn_paper.training import batches, checkpoint, evaluation, hardware, loop, optimizers, progress, records
from stn_paper.training.loop import stop_reason
from stn_paper.training.presets import preset
from stn_paper.training.protocol import Protocol
from stn_paper.training.record_fields import RECORD
from stn_paper.training.spec import RunSpec


def tiny_backbone(name, num_classes):
    """A tiny network with dropout, so that training draws random numbers."""
    layers = [nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.5), nn.Linear(128, num_classes))


commit_once = cache(hardware.current_commit)  # git takes as long as a short run


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(hardware, "current_commit", commit_once)
    monkeypatch.setitem(BACKBONES, "tiny", Backbone("Tiny", 32, tiny_backbone))


FAULTS = """
import resource, torch
from stn_paper.training.hardware import keep_freed_memory

def faults():  # page faults while eight tensors of 40 MiB are made and freed repeatedly
    [torch.ones(10 * 2**20) for _ in range(8)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        [torch.ones(10 * 2**20) for _ in range(8)]  # once freed, they are one block, in which at most one does not fit
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(faults(), keep_freed_memory() or faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the memory of another C library")
def test_freed_memory_is_kept_for_the_next_step():
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert kept < given_back / 3, done.stdout


def short(**changes):
    """The smoke protocol at a smaller size: 3 epochs of 48 images of 24 pixels."""
    settings = {"image_size": 24, "batch_size": 16, "max_images": 48, "min_epochs": 3, "max_epochs": 3}
    return replace(preset("smoke", "digits", "original"), **(settings | changes))


def tiny_spec(variant="lstn", **changes):
    return RunSpec("digits", "tiny", variant, short(**changes))


# --- when it stops ---


def reason(accuracies, **settings):
    protocol = Protocol("made-up", **({"min_epochs": 4, "max_epochs": 20, "window": 4} | settings))
    return stop_reason([{"validation_accuracy": a} for a in accuracies], protocol)


@pytest.mark.parametrize(
    "accuracies, expected",
    [
        ([], ""),
        ([50.0] * 3, ""),  # under the floor
        ([50.0] * 4, "early"),
        ([50.0, 50.0, 50.0, 50.1], ""),  # just rose
        ([50.1, 50.0, 50.1, 50.0], "early"),  # just fell
        ([50.5, 50.0, 50.5, 50.0], "early"),  # each 0.25 from the mean: within the tolerance
        ([50.5, 50.0, 50.5, 49.999], ""),  # 0.2508 from the mean
        ([10.0, 90.0, 50.0, 50.0, 50.0, 50.0], "early"),  # only the window counts
        ([50.0, 50.0, 51.0, 50.0, 50.0, 50.0], ""),  # one outlier inside the window
        ([50.4, 50.0, 50.0, 50.0], ""),  # the first 0.3 from the mean, though they spread by less than 0.25
        ([50.0] * 20, "budget"),
        (list(range(20)), "budget"),
    ],
)
def test_a_run_stops_early_when_its_last_epochs_are_alike(accuracies, expected):
    assert reason(accuracies) == expected


def test_the_floor_and_the_window_both_hold_it_back():
    assert reason([50.0] * 6, min_epochs=7) == ""
    assert reason([50.0] * 7, min_epochs=7) == "early"
    assert reason([50.0] * 9, min_epochs=1, window=10) == ""
    assert reason([50.0] * 10, min_epochs=1, window=10) == "early"


def test_the_tolerance_is_a_setting():
    assert reason([50.6, 50.0, 50.6, 50.0], tolerance=0.25) == ""
    assert reason([50.6, 50.0, 50.6, 50.0], tolerance=0.35) == "early"


def test_a_floor_at_the_budget_never_stops_early():
    assert reason([50.0] * 19, min_epochs=20) == ""


# --- what it computes ---


def test_images_are_normalized_to_plus_and_minus_one():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(2, 3, 1, 3)
    expected = torch.tensor([-1.0, -0.6, 1.0]).expand(2, 3, 1, 3)
    torch.testing.assert_close(batches.normalize(images), expected)
    assert images[0, 0, 0].tolist() == [0, 51, 255]


def test_traffic_signs_are_normalized_as_imagenet():
    white = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(batches.normalize(white, "imagenet").flatten(), expected)


@pytest.mark.parametrize("shape, kind", [((2, 3, 8, 8), "float32"), ((2, 3, 8, 6), "uint8")])
def test_images_that_are_no_square_bytes_are_named(shape, kind):
    images = torch.zeros(shape, dtype=getattr(torch, kind))
    with pytest.raises(InputError, match=f"{kind} and shape {re.escape(str(shape))}"):
        batches.network_input(images, torch.device("cpu"), "half", 8)


def test_evaluation_is_a_mean_over_images_not_batches():
    logits, labels = torch.randn(10, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
    model = nn.Dropout(0.5)  # which evaluation must switch off
    parts = [(logits[:7], labels[:7]), (logits[7:], labels[7:])]
    loss, right = evaluation.evaluate(model, parts)
    assert loss == pytest.approx(F.cross_entropy(logits, labels).item())
    assert right.tolist() == (logits.argmax(1) == labels).tolist()


def test_the_last_batch_is_never_one_image():
    data = datasets.Images(torch.zeros(9, 3, 2, 2, dtype=torch.uint8), torch.arange(9), (), "")
    for number, sizes in ((9, [4, 5]), (8, [4, 4]), (6, [4, 2]), (1, [1])):
        found = list(batches.make_batches(data, torch.device("cpu"), "half", 2, np.arange(number), 4))
        assert [len(labels) for _, labels in found] == sizes
        assert torch.cat([labels for _, labels in found]).tolist() == list(range(number))


def test_a_batch_of_enlarged_images_is_one_of_images_decoded_at_the_size():
    pixels = np.random.RandomState(0).randint(0, 256, (6, 32, 32, 3), np.uint8)
    large = np.stack(
        [np.asarray(Image.fromarray(p).resize((48, 48), Image.Resampling.BILINEAR)) for p in pixels]
    )
    given = [
        datasets.Images(torch.from_numpy(p.transpose(0, 3, 1, 2).copy()), torch.arange(6), (), "")
        for p in (pixels, large)
    ]
    order = np.array([5, 0, 3, 1])
    (enlarged, labels), (decoded, _) = (
        next(batches.batches_of(data, torch.device("cpu"), "half", 48)(order, 4)) for data in given
    )
    assert torch.equal(enlarged, decoded) and labels.tolist() == order.tolist()
    assert enlarged.is_contiguous(memory_format=batches.MEMORY_FORMAT)


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


def test_one_cycle_is_torchs():
    """torch's schedule reaches its peak one step earlier, which is negligible over many steps."""
    protocol = Protocol("mine", learning_rate=0.003, schedule="one-cycle")
    theirs, ours = (torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.003) for _ in range(2))
    ours.param_groups[0]["share"] = 1.0
    cycle = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.003, 5001, cycle_momentum=False)
    for step in range(5001):
        optimizers.set_rate(ours, protocol, step / 5000)
        assert ours.param_groups[0]["lr"] == pytest.approx(theirs.param_groups[0]["lr"], abs=3e-6)
        if step < 5000:
            theirs.step()
            cycle.step()
    assert ours.param_groups[0]["lr"] == pytest.approx(0.003 * 4e-6)


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_the_localization_net_has_its_own_rate(share):
    model = with_stn(nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, 2)), "lstn", 24)
    optimizer = optimizers.make_optimizer(model, Protocol("mine", localization_rate=share))
    rates = {id(weight): group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    assert len(rates) == len(list(model.parameters()))
    assert all(rates[id(w)] == pytest.approx(0.001 * share) for w in model.transformer.parameters())
    assert all(rates[id(w)] == 0.001 for w in model.backbone.parameters())
    optimizers.set_rate(optimizer, Protocol("mine", schedule="one-cycle", localization_rate=share), 0.0)
    net, backbone = optimizer.param_groups[-1], optimizer.param_groups[0]
    assert (net["lr"], backbone["lr"]) == (pytest.approx(0.001 * share / 25), pytest.approx(0.001 / 25))


def test_test_images_are_evaluated_once(tiny, monkeypatch):
    """After the last epoch, in the split's order; accuracy over images, over classes and for each image."""
    evaluate, seen = evaluation.evaluate, []

    def noted(model, batches, *rest):
        batches = list(batches)
        seen.append(torch.cat([labels for _, labels in batches]).tolist())
        return evaluate(model, batches, *rest)

    for module in (loop, evaluation):
        monkeypatch.setattr(module, "evaluate", noted)
    record = loop.run(tiny_spec(test_once=True, selection="last-epoch"), "cpu")
    data = datasets.load_images("digits", 24)
    split = datasets.split("digits", data, 0, max_images=48)
    validation, labels = (data.labels[part].tolist() for part in (split.validation, split.test))
    assert seen == [validation] * 3 + [labels]
    assert not any(field.startswith("test") for epoch in record["epochs"] for field in epoch)
    found = record["test"]
    right = np.unpackbits(np.frombuffer(base64.b64decode(found["correct"]), np.uint8))[:48]
    assert found["accuracy"] == pytest.approx(100 * right.mean(), abs=1e-3)
    by_class = [right[np.array(labels) == c].mean() for c in set(labels)]
    assert found["class_accuracy"] == pytest.approx(100 * np.mean(by_class), abs=1e-3)
    last = record["epochs"][-1]["validation_accuracy"]
    assert record["selected"] == {"last-epoch": {"epoch": 3, "validation": last, "test": found["accuracy"]}}


def test_the_best_validation_epochs_weights_meet_the_test_images(tiny):
    """A training with a test after each epoch has the same accuracy at the selected epoch."""
    each = loop.run(tiny_spec(max_epochs=6, min_epochs=6), "cpu")
    once = loop.run(tiny_spec(max_epochs=6, min_epochs=6, test_once=True), "cpu")
    assert once["selected"] == {"best-validation": each["selected"]["best-validation"]}
    chosen = each["epochs"][once["selected"]["best-validation"]["epoch"] - 1]
    assert once["test"]["loss"] == chosen["test_loss"] and once["test"]["accuracy"] == chosen["test_accuracy"]


def test_a_resumed_run_keeps_its_best_weights(tiny, monkeypatch):
    """The first epoch stays the best, and the run is stopped after it."""
    spec = tiny_spec(test_once=True, max_epochs=3, min_epochs=3)
    monkeypatch.setattr(records, "selected_epoch", lambda epochs, rule: 1)
    undisturbed = loop.run(spec, "cpu")
    records.record_path(spec).unlink()
    clock = iter([0, 1])
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", SimpleNamespace(perf_counter=perf_counter, time=lambda: next(clock)))
        assert loop.run(spec, "cpu", until=1) is None
    again = loop.run(spec, "cpu")
    assert again["measured"]["resumed"] == 1 and again["test"] == undisturbed["test"]


def test_images_of_another_size_are_refused(tiny):
    with pytest.raises(InputError, match=r"32 x 32 .* 24 pixels"):
        loop.run(tiny_spec(), "cpu", data=datasets.load_images("digits", 32))


def test_accuracy_is_recorded_with_and_without_copies(tiny):
    data = datasets.load_images("digits", 24)
    spec = tiny_spec("original", test_once=True, selection="last-epoch", max_epochs=1, min_epochs=1)
    split = datasets.split("digits", data, 0, max_images=48)
    copies = np.arange(len(data.labels))
    copies[split.test[:10]] = copies[split.train[:10]]
    copies[split.test[10]] = copies[split.validation[0]]  # a copy in validation does not count
    found = loop.run(spec, "cpu", data=data._replace(copies=copies))["test"]
    right = np.unpackbits(np.frombuffer(base64.b64decode(found["correct"]), np.uint8))[:48]
    assert found["with_copy"] == {"images": 10, "accuracy": pytest.approx(100 * right[:10].mean(), abs=1e-3)}
    assert found["without_copy"]["images"] == 38
    assert found["without_copy"]["accuracy"] == pytest.approx(100 * right[10:].mean(), abs=1e-3)


def test_fewer_checkpoints_change_nothing(tiny, monkeypatch):
    saved = []
    monkeypatch.setattr(checkpoint, "save_checkpoint", lambda *_: saved.append(1))
    rare = loop.run(tiny_spec(), "cpu", save_every=1e9)
    assert len(saved) == 1  # of the whole training
    records.record_path(tiny_spec()).unlink()
    assert loop.run(tiny_spec(), "cpu")["epochs"] == rare["epochs"] and len(saved) == 1 + 3


def test_a_run_takes_the_images_that_its_protocol_names(tiny, monkeypatch):
    whole = datasets.load_images("digits", 24)
    lost = {int(datasets.split("digits", whole, 0).train[0]): "ant/1.png"}
    monkeypatch.setattr(
        datasets, "load_images", lambda *call: whole._replace(skipped=lost if call[3] else {})
    )
    limits = {"train_per_class": 4, "max_images": 35, "max_evaluation": 30, "validation_images": 20}
    for skip in (False, True):
        once = tiny_spec("original", max_epochs=1, min_epochs=1, skip_corrupt=skip, **limits)
        data = loop.run(once, "cpu")["data"]
        assert [data[part] for part in ("train", "validation", "test")] == [35, 20, 30]
        assert data["skipped"] == ["ant/1.png"] * skip


def test_a_run_trains_and_evaluates_at_its_precision(tiny, monkeypatch):
    arithmetic, used = hardware.compute_in, []
    monkeypatch.setattr(hardware, "compute_in", lambda *call: used.append(call) or arithmetic(*call))
    loop.run(tiny_spec("original", precision="bfloat16", max_epochs=1, min_epochs=1), "cpu")
    assert used == [("bfloat16", "cpu")] * (3 + 1 + 1)  # batches of training, validation and test


# --- the record ---


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


# --- stopped and started again ---


def killed(spec, images, in_checkpoint=False):
    """Train in a forked process and kill it after `images` images, or in the next save of a checkpoint."""
    normalize, save, seen = batches.normalize, torch.save, []

    def counted(batch, *more):
        seen.append(len(batch))
        if sum(seen) > images and not in_checkpoint:
            os.kill(os.getpid(), signal.SIGKILL)
        return normalize(batch, *more)

    def half_saved(content, file):
        save(content, file)
        if sum(seen) > images:
            os.kill(os.getpid(), signal.SIGKILL)  # the partial file is complete, but not renamed yet

    batches.normalize, torch.save = counted, half_saved
    loop.run(spec, "cpu")


A_EPOCH = 4 * 48  # images read: training, validation, test, and validation again for theta


@pytest.mark.parametrize("images", [A_EPOCH + 20, 2 * A_EPOCH + 100])  # in training, in evaluation
def test_a_killed_run_goes_on_to_the_same_bits(tiny, tmp_path, monkeypatch, images):
    undisturbed = loop.run(tiny_spec(), "cpu")
    monkeypatch.setenv("STN_PAPER_RESULTS", str(tmp_path / "killed"))
    process = multiprocessing.get_context("fork").Process(target=killed, args=(tiny_spec(), images))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL and records.find(tiny_spec()) is None
    torch.set_num_threads(2)  # the continued run must keep its own number of threads
    try:
        record = loop.run(tiny_spec(), "cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert (record["measured"]["resumed"], record["environment"]["threads"]) == (1, 1)
    assert record["epochs"] == undisturbed["epochs"]
    assert record["selected"] == undisturbed["selected"]


def test_a_run_whose_time_is_up_goes_on_to_the_same_bits(tiny, tmp_path, monkeypatch):
    spec, clock = tiny_spec(), iter([0, 1, 2])  # seconds, at the start of each epoch
    whole = loop.run(spec, "cpu")
    for name in ("RESULTS", "CACHE"):
        monkeypatch.setenv(f"STN_PAPER_{name}", str(tmp_path / "again" / name))
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", SimpleNamespace(perf_counter=perf_counter, time=lambda: next(clock)))
        assert loop.run(spec, "cpu", until=2) is None  # a third epoch would end after that
    assert records.find(spec) is None and checkpoint.checkpoint_path(spec).exists()
    again = loop.run(spec, "cpu")
    assert again["measured"]["resumed"] == 1
    assert again["epochs"] == whole["epochs"] and again["selected"] == whole["selected"]


@pytest.mark.parametrize(("until", "epochs"), [(8, 5), (7, 1)])
def test_a_run_that_cannot_end_in_time_is_given_up_after_an_epoch(tiny, monkeypatch, until, epochs):
    spec, ticks = tiny_spec(max_epochs=5, min_epochs=5), count()  # an epoch reads the clock three times
    clock = SimpleNamespace(perf_counter=lambda: next(ticks), time=lambda: 0)
    monkeypatch.setattr(loop, "time", clock)
    found = loop.run(spec, "cpu", until=until, whole=True, save_every=math.inf)
    assert (checkpoint.epochs_done(spec) if found is None else len(found["epochs"])) == epochs


def test_ten_kills_at_random_moments_change_no_bit(tiny, tmp_path, monkeypatch):
    spec = tiny_spec(max_epochs=9, min_epochs=9)
    undisturbed = loop.run(spec, "cpu")
    monkeypatch.setenv("STN_PAPER_RESULTS", str(tmp_path / "killed"))
    draw = random.Random(0)
    for kill in range(10):
        moment = (spec, draw.randrange(2 * A_EPOCH), kill % 4 == 3)
        process = multiprocessing.get_context("fork").Process(target=killed, args=moment)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    record = loop.run(spec, "cpu")
    assert 0 < record["measured"]["resumed"] <= 10
    for field in ("spec", "data", "parameters", "epochs", "stopped", "selected"):
        assert record[field] == undisturbed[field]


def test_a_full_disk_ends_in_one_sentence_and_leaves_the_checkpoint(tiny, kept_checkpoint):
    path = put_checkpoint(kept_checkpoint)

    def on_a_full_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # bytes of any file written from now on
        with pytest.raises(InputError, match=r"\.pt cannot be written: .*intact"):
            loop.run(tiny_spec(), "cpu")

    process = multiprocessing.get_context("fork").Process(target=on_a_full_disk)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert path.read_bytes() == kept_checkpoint


def test_a_checkpoint_of_other_images_is_refused(tiny, kept_checkpoint, monkeypatch):
    load = datasets.load_images
    put_checkpoint(kept_checkpoint)
    monkeypatch.setattr(datasets, "load_images", lambda *call: load(*call)._replace(fingerprint="0" * 16))
    with pytest.raises(InputError, match=r"images have changed since .*\.pt"):
        loop.run(tiny_spec(), "cpu")


def put_checkpoint(content, spec=None):
    """Write the bytes as the checkpoint of the run; return its path."""
    path = checkpoint.checkpoint_path(spec or tiny_spec())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def kept_checkpoint(tmp_path_factory):
    """The bytes of a checkpoint after one epoch of the tiny run."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RESULTS", "CACHE"):
            patch.setenv(f"STN_PAPER_{name}", str(tmp_path_factory.mktemp(name)))
        patch.setitem(BACKBONES, "tiny", Backbone("Tiny", 32, tiny_backbone))
        clock = iter([0, 1])
        patch.setattr(loop, "time", SimpleNamespace(perf_counter=perf_counter, time=lambda: next(clock)))
        assert loop.run(tiny_spec(), "cpu", until=1) is None
        assert checkpoint.epochs_done(tiny_spec()) == 1
        return checkpoint.checkpoint_path(tiny_spec()).read_bytes()


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named(tiny, kept_checkpoint, share):
    path = put_checkpoint(kept_checkpoint[: int(share * len(kept_checkpoint))])
    assert checkpoint.epochs_done(tiny_spec()) == 0
    assert str(path) in refusal(loop.run, tiny_spec(), "cpu")


@pytest.mark.parametrize(
    "message",
    [
        "DefaultCPUAllocator: can't allocate memory",
        "CUDA error: out of memory",
        "cuBLAS error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate",
    ],
)
def test_messages_on_too_little_memory_are_known(message):
    assert hardware.is_memory_error(RuntimeError(message))
    assert not hardware.is_memory_error(RuntimeError("size mismatch"))


def test_too_little_memory_is_no_damaged_checkpoint(tiny, kept_checkpoint, monkeypatch):
    path = put_checkpoint(kept_checkpoint)

    def fail(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(InputError, match="needs more memory than there is"):
        loop.run(tiny_spec(), "cpu")
    assert path.read_bytes() == kept_checkpoint


def test_flipped_bits_never_change_what_a_checkpoint_gives(tiny, kept_checkpoint):
    """Thirty flipped bits: each is detected, or lies in bytes that are not read, such as a time stamp."""
    path, random = put_checkpoint(kept_checkpoint), np.random.RandomState(0)
    whole, refused = torch.load(path, weights_only=True), 0
    for place in random.randint(0, len(kept_checkpoint), 30):
        content = bytearray(kept_checkpoint)
        content[place] ^= 1 << random.randint(8)
        path.write_bytes(content)
        try:
            with checkpoint._reading(path):
                saved = torch.load(path, weights_only=True)
        except InputError:
            refused += 1
        else:
            assert saved["state"] == whole["state"]
            assert all(torch.equal(saved["model"][name], whole["model"][name]) for name in whole["model"])
    assert refused > 15


def test_a_run_leaves_its_process_as_it_was(tiny):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    threads = torch.get_num_threads()
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark = False, False, True
    loop.run(tiny_spec(precision="bfloat16"), "cpu")
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads
    assert (cudnn.allow_tf32, matmul.allow_tf32, cudnn.benchmark) == (False, False, True)


@pytest.mark.parametrize("part", ["model", "optimizer", "rng", "state"])
def test_a_checkpoint_that_lacks_a_part_is_named(tiny, kept_checkpoint, part):
    path = put_checkpoint(kept_checkpoint)
    saved = torch.load(path, weights_only=True)
    torch.save(saved | {part: {}}, path)
    with pytest.raises(InputError, match=r"Checkpoint .*\.pt cannot be read"):
        loop.run(tiny_spec(), "cpu")


# --- progress ---


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


# --- that it learns ---


@pytest.mark.parametrize("variant", ["original", "lstn"])
def test_three_epochs_of_digits_beat_chance(variant):
    protocol = short(image_size=32, batch_size=20, max_images=600)
    record = loop.run(RunSpec("digits", "timm/test_resnet", variant, protocol), "cpu")
    assert record["selected"]["best-validation"]["test"] > 20  # chance is 10 %; seeds give 24 to 43
    assert record["epochs"][-1]["train_loss"] < record["epochs"][0]["train_loss"]


# --- how it computes ---


def one_step(precision="tf32", compiled=False):
    """Loss and weights after a step of the tiny network behind STN."""
    torch.manual_seed(0)
    model = with_stn(tiny_backbone("tiny", 10), "stn", 32)
    model.transformer.localization.head[-1].weight.data.normal_(std=0.01)
    optimizer = optimizers.OPTIMIZER_CLASSES["sgd"](model.parameters(), lr=0.1)
    step = loop.training_step(model, precision, compiled)
    loss, logits = step(optimizer, torch.rand(8, 3, 32, 32), torch.arange(8))
    return loss, logits, torch.cat([p.detach().flatten() for p in model.parameters()]), model


def test_bfloat16_is_near_float32_and_does_not_reach_the_transformer():
    exact, rounded = one_step("float32"), one_step("bfloat16")
    assert rounded[1].dtype == torch.bfloat16
    assert 0 < (exact[1] - rounded[1]).abs().max() < 0.05  # eight bits
    assert exact[0].item() == pytest.approx(rounded[0].item(), abs=0.01)
    images = torch.rand(4, 3, 32, 32)
    model = exact[3].eval()
    with hardware.compute_in("bfloat16", "cpu"):
        theta, output = model.transformer.theta(images), model.transformer(images)
    assert torch.equal(theta, model.transformer.theta(images))
    assert torch.equal(output, model.transformer(images))


def test_in_bfloat16_a_cpu_computes_depthwise_convolutions_in_float32():
    images, weight, dense = torch.rand(2, 6, 9, 9), torch.rand(6, 1, 5, 5), torch.rand(6, 6, 3, 3)

    def convolved(weight, groups=1):
        leaf = weight.clone().requires_grad_()
        out = F.conv2d(images.bfloat16(), leaf, None, 2, 2, 1, groups)
        return out, *torch.autograd.grad(out.square().mean(), leaf)

    with hardware.compute_in("bfloat16", "cpu"):
        (out, gradient), (dense_out, _) = convolved(weight, groups=6), convolved(dense)
        tiles = F.conv2d(images, torch.rand(6, 2, 3, 3), groups=3)  # groups of two channels: not depthwise
    full = F.conv2d(images.bfloat16().float(), weight, None, 2, 2, 1, 6)
    assert torch.equal(out, full.bfloat16())  # rounded once, at the end
    assert out.dtype == dense_out.dtype == tiles.dtype == torch.bfloat16
    assert not torch.equal(gradient, gradient.bfloat16().float())  # autocast rounds it


def test_a_gpu_is_called_by_its_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    assert hardware.device_name(torch.device("cuda", 1)) == "GPU 1"


def test_a_processor_is_called_by_its_name_instructions_and_cores(tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text("model name\t: A CPU\n" * 3)
    monkeypatch.setattr(hardware, "Path", lambda _: tmp_path / "cpuinfo")
    instructions = torch.backends.cpu.get_cpu_capability()
    assert hardware.device_name(torch.device("cpu")) == f"A CPU ({instructions}), 3 cores"


def test_a_processor_of_any_kind_is_no_gpu(monkeypatch):
    monkeypatch.setattr(hardware, "Path", lambda _: Path("/no/such/file"))  # no /proc, as on macOS
    monkeypatch.setattr(platform, "processor", lambda: "aarch64")
    assert hardware.device_name(torch.device("cpu")) == f"aarch64, {os.cpu_count()} cores"
    assert not is_gpu(hardware.device_name(torch.device("cpu"))) and is_gpu("NVIDIA H200")


def test_peak_memory_is_in_mib_on_every_system(monkeypatch):
    usage = SimpleNamespace(ru_maxrss=3 * 2**20)
    monkeypatch.setattr(resource, "getrusage", lambda _: usage)
    for system, expected in (("linux", 3 * 2**10), ("darwin", 3)):  # KiB and bytes
        monkeypatch.setattr(sys, "platform", system)
        assert hardware.peak_memory(torch.device("cpu")) == expected
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert hardware.peak_memory(torch.device("cpu")) == 0


def test_on_a_cpu_tf32_is_float32():
    assert all(torch.equal(a, b) for a, b in zip(one_step("tf32")[:3], one_step("float32")[:3]))


@pytest.fixture
def quick_compiler(monkeypatch):
    """Compile with a backend that generates no machine code, because that would take half a minute."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


def test_compiled_steps_agree_with_plain_ones(quick_compiler):
    for a, b in zip(one_step()[:3], one_step(compiled=True)[:3]):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_compiled_run_says_so_and_takes_smaller_last_batches_uncompiled(tiny, tmp_path, monkeypatch):
    sizes = []
    monkeypatch.setattr(hardware, "compile_network", lambda model: lambda x: sizes.append(len(x)) or model(x))
    spec = tiny_spec("original", max_images=40, max_epochs=1, min_epochs=1)
    compiled = loop.run(spec, "cpu", compiled=True)
    assert compiled["environment"]["compiled"] is True
    monkeypatch.setenv("STN_PAPER_RESULTS", str(tmp_path / "plain"))
    plain = loop.run(spec, "cpu")
    assert plain["environment"]["compiled"] is False
    losses = [record["epochs"][0]["train_loss"] for record in (compiled, plain)]
    assert losses[0] == losses[1] and sizes == [16, 16]  # of batches of 16, 16 and 8


def test_compiled_code_that_cannot_be_loaded_names_the_folder_to_delete(monkeypatch):
    def broken(*_, **__):
        return lambda images: ctypes.CDLL(__file__)  # "file too short" or "invalid ELF header"

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(InputError, match=re.escape(os.environ["TORCHINDUCTOR_CACHE_DIR"])):
        one_step(compiled=True)


def test_a_run_that_is_continued_with_compilation_says_partly(tiny, monkeypatch, kept_checkpoint):
    put_checkpoint(kept_checkpoint)
    monkeypatch.setattr(hardware, "compile_network", lambda model: model)
    assert loop.run(tiny_spec(), "cpu", compiled=True)["environment"]["compiled"] == "partly"


# --- how it fails ---


@pytest.mark.parametrize(("backbone", "size"), [("alexnet", 32), ("timm/inception_v3", 64)])
def test_images_too_small_for_the_network_are_refused_before_any_is_read(monkeypatch, backbone, size):
    monkeypatch.setattr(datasets, "load_images", lambda *_: pytest.fail("data was loaded"))
    with pytest.raises(InputError, match=f"{size}") as error:
        loop.run(RunSpec("digits", backbone, "original", short(image_size=size)), "cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError("can't allocate memory: you tried 1")],
)
def test_a_lack_of_memory_names_what_it_depends_on(tiny, monkeypatch, error):
    def fails(*_):
        raise error

    monkeypatch.setattr(loop, "_train", fails)
    with pytest.raises(InputError, match="24 pixels a side or batches of 16"):
        loop.run(tiny_spec(), "cpu")
    error = KeyError("a fault of the code stays one")
    with pytest.raises(KeyError):
        loop.run(tiny_spec(), "cpu")


def test_a_checkpoint_of_another_run_is_refused(tiny, kept_checkpoint):
    other = replace(tiny_spec(), seed=1)
    put_checkpoint(kept_checkpoint, other)
    with pytest.raises(InputError, match=f"is of the run {tiny_spec().name}"):
        loop.run(other, "cpu")


def test_partial_files_of_a_killed_process_are_removed(tiny):
    path = records.record_path(tiny_spec())
    path.parent.mkdir(parents=True)
    partial = path.with_name(f"{path.name}.77.part")
    partial.touch()
    loop.run(tiny_spec(), "cpu")
    assert path.exists() and not partial.exists()


def test_a_checkpoint_beside_the_record_of_its_run_is_removed(tiny, kept_checkpoint):
    loop.run(tiny_spec(), "cpu")
    path = put_checkpoint(kept_checkpoint)
    assert loop.run(tiny_spec(), "cpu") == records.find(tiny_spec()) and not path.exists()


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


def test_a_record_of_code_that_no_commit_holds_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "ROOT", tmp_path)
    (tmp_path / "stn_paper").mkdir()
    (tmp_path / "stn_paper/__init__.py").touch()
    (tmp_path / "stn_paper/code.py").write_text("committed")
    for command in (["init"], ["add", "."], ["commit", "-m", "code"]):
        git(tmp_path, *command)
    (tmp_path / "notes.txt").write_text("beside the package")
    head = hardware.current_commit()
    assert re.fullmatch("[0-9a-f]{12}", head) and hardware.current_commit("*.txt") == f"{head}+changes"
    (tmp_path / "stn_paper/code.py").write_text("changed")
    assert hardware.current_commit() == f"{head}+changes"


def test_a_package_in_another_projects_repository_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.delenv("STN_PAPER_COMMIT", raising=False)
    monkeypatch.setattr(hardware, "ROOT", tmp_path)
    (tmp_path / "theirs.py").touch()
    for command in (["init"], ["add", "."], ["commit", "-m", "theirs"]):
        git(tmp_path, *command)
    (tmp_path / "stn_paper").mkdir()  # as `pip install --target` puts it
    (tmp_path / "stn_paper/__init__.py").touch()
    assert hardware.current_commit() == ""
    monkeypatch.setenv("STN_PAPER_COMMIT", "0123456789ab")
    assert hardware.current_commit() == "0123456789ab"


def test_without_git_a_record_names_no_commit(monkeypatch):
    monkeypatch.delenv("STN_PAPER_COMMIT", raising=False)
    monkeypatch.setenv("PATH", "")
    assert hardware.current_commit() == ""


@pytest.mark.parametrize("device", ["tpu", "cuda:99", "", "meta", None, "hpu", "mps"])
def test_a_wrong_device_is_named_before_data_is_loaded(tiny, monkeypatch, device):
    monkeypatch.setattr(datasets, "load_images", lambda *_: pytest.fail("data was loaded"))
    with pytest.raises(InputError) as error:
        loop.run(tiny_spec(), device)
    assert repr(device) in str(error.value) and "auto, cpu" in str(error.value)


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


def test_a_training_is_kept_if_its_evaluation_fails(tiny, monkeypatch):
    whole = loop.run(tiny_spec(), "cpu")
    records.record_path(tiny_spec()).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(loop.examples, "collect_results", lambda *_: __import__("no_such_package"))
        with pytest.raises(ModuleNotFoundError):
            loop.run(tiny_spec(), "cpu", save_every=math.inf)
    monkeypatch.setattr(loop, "_one_epoch", lambda *_: pytest.fail("an epoch was trained again"))
    again = loop.run(tiny_spec(), "cpu")
    assert again["epochs"] == whole["epochs"] and again["selected"] == whole["selected"]


def test_auto_is_cuda_where_there_is_a_gpu():
    assert hardware.check_device("cpu") == torch.device("cpu")
    assert hardware.check_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


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


@pytest.mark.parametrize("value", [torch.tensor(0.0), torch.zeros(1), torch.zeros(3, 3)])
def test_an_optimizer_state_of_another_shape_is_refused(tiny, kept_checkpoint, value):
    """With it, torch's fused Adam would read and write out of bounds."""
    path = put_checkpoint(kept_checkpoint)
    saved = torch.load(path, weights_only=True)
    saved["optimizer"]["state"][0]["exp_avg"] = value
    torch.save(saved, path)
    with pytest.raises(InputError, match=r"\.pt cannot be read: delete it"):
        loop.run(tiny_spec(), "cpu")


def test_an_optimizer_state_takes_the_weights_place_in_memory(tiny, kept_checkpoint):
    path = put_checkpoint(kept_checkpoint)
    saved = torch.load(path, weights_only=True)
    first = saved["optimizer"]["state"][0]
    first["exp_avg"] = torch.zeros(()).expand(first["exp_avg"].shape)  # one number in memory
    torch.save(saved, path)
    assert loop.run(tiny_spec(), "cpu")["measured"]["resumed"] == 1


def test_the_settings_are_the_protocols_whatever_a_checkpoint_says(tiny, kept_checkpoint):
    numbers = []
    for settings in ({}, {"lr": 5.0}, {"lr": torch.ones(3)}, {"maximize": torch.tensor(False)}):
        path = put_checkpoint(kept_checkpoint)
        saved = torch.load(path, weights_only=True)
        saved["optimizer"]["param_groups"][0].update(settings)
        torch.save(saved, path)
        numbers.append(loop.run(tiny_spec(), "cpu")["epochs"])
        records.record_path(tiny_spec()).unlink()
    assert numbers == [numbers[0]] * 4
