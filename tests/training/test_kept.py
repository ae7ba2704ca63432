"""Weights that are kept are those that the run's record tells of."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file

from stn_paper import run
from stn_paper.data import datasets
from stn_paper.errors import InputError
from stn_paper.models import build_model
from stn_paper.training import kept
from stn_paper.training.batches import normalize
from stn_paper.training.spec import LAST_EPOCH, Protocol, RunSpec


def test_a_run_keeps_the_weights_that_its_record_is_of(tmp_path):
    protocol = Protocol(
        "short", 42, 8, max_epochs=1, min_epochs=1, selection=LAST_EPOCH, max_images=40, test_once=True
    )
    spec, path = RunSpec("digits", "mnist-cnn", "lstn", protocol), tmp_path / "short.safetensors"
    record = run(spec, "cpu", weights=path)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"run": spec.name, "digest": kept._digest(load_file(path))}
    model = build_model("mnist-cnn", "lstn", 10, 42)
    model.load_state_dict(load_file(path))
    data = datasets.load("digits", 42)
    test = datasets.split("digits", data, protocol.split_seed, **protocol.limits).test
    with torch.no_grad():
        logits = model.eval()(normalize(data.images[test]))
    assert F.cross_entropy(logits, data.labels[test]).item() == pytest.approx(
        record["test"]["loss"], rel=1e-4
    )
    right = (logits.argmax(1) == data.labels[test]).float().mean().item()
    assert 100 * right == pytest.approx(record["test"]["accuracy"], abs=1e-3)


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path, monkeypatch):
    """Each of fifty, wherever it lies: in the names, the weights or the metadata."""
    content, random = kept.path_of("original").read_bytes(), np.random.RandomState(0)
    path = tmp_path / "changed.safetensors"
    path.write_bytes(content)
    monkeypatch.setattr(kept, "path_of", lambda variant: path)
    whole, found = kept.load("original").state_dict(), 0
    for place in (*random.randint(0, 4000, 25), *random.randint(0, len(content), 25)):
        changed = bytearray(content)
        changed[place] ^= 1 << random.randint(8)
        path.write_bytes(changed)
        try:
            read = kept.load("original").state_dict()
        except InputError:
            found += 1
        else:  # in the spaces of the header
            assert all(torch.equal(read[name], whole[name]) for name in whole)
    assert found > 40


def test_weights_of_another_run_are_not_taken(monkeypatch):
    path = kept.path_of("stn")
    monkeypatch.setattr(kept, "path_of", lambda variant: path)
    with pytest.raises(InputError):
        kept.load("lstn")


def test_the_networks_of_the_playground_share_all_settings():
    specs = [kept.spec_of(variant) for variant in kept.VARIANTS]
    assert len({(s.dataset, s.backbone, s.protocol, s.seed) for s in specs}) == 1
    assert len({kept.path_of(variant) for variant in kept.VARIANTS}) == len(kept.VARIANTS)
