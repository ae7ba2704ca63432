"""A stopped or killed run continues and ends with the same bits; a damaged checkpoint is named in the error."""

import math
import multiprocessing
import os
import random
import resource
import signal
from dataclasses import replace
from itertools import count
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import refusal
from tiny import put_checkpoint, tiny_spec

from stn_paper.data import datasets
from stn_paper.errors import InputError
from stn_paper.training import batches, checkpoint, loop, records


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


def test_fewer_checkpoints_change_nothing(tiny, monkeypatch):
    saved = []
    monkeypatch.setattr(checkpoint, "save_checkpoint", lambda *_: saved.append(1))
    rare = loop.run(tiny_spec(), "cpu", save_every=1e9)
    assert len(saved) == 1  # of the whole training
    records.record_path(tiny_spec()).unlink()
    assert loop.run(tiny_spec(), "cpu")["epochs"] == rare["epochs"] and len(saved) == 1 + 3


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


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named(tiny, kept_checkpoint, share):
    path = put_checkpoint(kept_checkpoint[: int(share * len(kept_checkpoint))])
    assert checkpoint.epochs_done(tiny_spec()) == 0
    assert str(path) in refusal(loop.run, tiny_spec(), "cpu")


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


@pytest.mark.parametrize("part", ["model", "optimizer", "rng", "state"])
def test_a_checkpoint_that_lacks_a_part_is_named(tiny, kept_checkpoint, part):
    path = put_checkpoint(kept_checkpoint)
    saved = torch.load(path, weights_only=True)
    torch.save(saved | {part: {}}, path)
    with pytest.raises(InputError, match=r"Checkpoint .*\.pt cannot be read"):
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
