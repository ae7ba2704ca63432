"""Evaluation: means over images, test images seen once, and copies counted apart."""

import base64
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import tiny_spec
from torch import nn

from stn_paper.data import datasets
from stn_paper.training import evaluation, loop, records


def test_evaluation_is_a_mean_over_images_not_batches():
    logits, labels = torch.randn(10, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 2, 0])
    model = nn.Dropout(0.5)  # which evaluation must switch off
    parts = [(logits[:7], labels[:7]), (logits[7:], labels[7:])]
    loss, right = evaluation.evaluate(model, parts)
    assert loss == pytest.approx(F.cross_entropy(logits, labels).item())
    assert right.tolist() == (logits.argmax(1) == labels).tolist()


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
