"""Runs with three labels an image: accuracy is counted by digit, and records are complete."""

import base64

import numpy as np
import pytest
import torch

from stn_paper.data import datasets, scenes
from stn_paper.training import diagnostics, evaluation, loop
from stn_paper.training.protocol import LAST_EPOCH, Protocol
from stn_paper.training.spec import RunSpec


@pytest.fixture
def data(monkeypatch):
    """A hundred and twenty sequences of embedded digits."""
    row = datasets.DATASETS["mnist-sequence"]._replace(splits={"train": 80, "validation": 20, "test": 20})
    monkeypatch.setitem(datasets.DATASETS, "mnist-sequence", row)
    some = np.random.RandomState(0).permutation(5000)[:120]
    pixels, labels = (part[some] for part in datasets.embedded_digits())
    images, labels, start = scenes.digit_sequences(pixels, labels, 100)
    images = torch.from_numpy(np.stack(list(images)))[:, None]
    return datasets.Images(images, torch.tensor(labels), tuple("0123456789"), "0" * 16, start)


@pytest.mark.parametrize("variant", ["original", "ffn", "rnn"])
def test_a_run_reads_three_digits_and_keeps_its_looks(data, variant):
    protocol = Protocol(
        "mine",
        100,
        20,
        max_epochs=1,
        min_epochs=1,
        selection=LAST_EPOCH,
        test_once=True,
        schedule="one-cycle",
    )
    record = loop.run(RunSpec("mnist-sequence", "sequence-cnn", variant, protocol), "cpu", data=data)
    assert record["epochs"][0]["train_loss"] == pytest.approx(np.log(10), abs=0.4)  # per digit
    assert 0 <= record["test"]["accuracy"] < 40 and len(base64.b64decode(record["test"]["correct"])) == 3
    kept = record["glimpses"]
    assert (
        len(kept["images"]) == len(kept["labels"]) == len(kept["predicted"]) and len(kept["labels"][0]) == 3
    )
    assert ("theta" in kept) == (variant != "original")
    if variant != "original":
        maps = {"ffn": 1, "rnn": 3}[variant]
        assert np.shape(kept["theta"][0]) == (maps, 2, 3)
        assert len(record["epochs"][0]["theta"]["mean"]) == 6 * maps


def test_an_accuracy_is_per_digit():
    logits = torch.eye(10)[torch.tensor([[1, 2, 3], [4, 5, 6]])].transpose(1, 2)  # (2, 10, 3)
    labels = torch.tensor([[1, 2, 3], [4, 5, 9]])
    loss, right = evaluation.evaluate(torch.nn.Identity(), [(logits, labels)])
    assert right.tolist() == [[True, True, True], [True, True, False]]
    assert evaluation.percent_true(right) == pytest.approx(100 * 5 / 6, abs=1e-3)
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item())


def test_the_spread_of_several_maps_is_the_mean_of_each():
    same = torch.eye(2, 3).expand(4, 2, 3).clone()
    moved = same.clone()
    moved[:2, 0, 2] = 1.0
    from stn_paper.models.transformer import sampling_grid

    one, two = (diagnostics.grid_statistics(sampling_grid(maps, 5, 5), 100) for maps in (same, moved))
    both = diagnostics.grid_statistics(sampling_grid(torch.stack([same, moved], 1), 5, 5), 100)
    assert one["spread"][0] == 0 < two["spread"][0]
    assert both["spread"][0] == pytest.approx(two["spread"][0] / 2, abs=1e-3)
