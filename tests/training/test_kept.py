"""Weights that are kept are those that the run's record tells of."""

import json

import pytest
import torch
import torch.nn.functional as F
from helpers import real
from safetensors import safe_open
from safetensors.torch import load_file

from stn_paper import run
from stn_paper.data import datasets
from stn_paper.errors import InputError
from stn_paper.models import build_model
from stn_paper.paths import ROOT
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
        assert file.metadata() == {"run": spec.name}
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


def test_the_networks_of_the_playground_share_all_settings():
    specs = [kept.spec_of(variant) for variant in kept.VARIANTS]
    assert len({(s.dataset, s.backbone, s.protocol, s.seed) for s in specs}) == 1
    assert len({kept.path_of(variant) for variant in kept.VARIANTS}) == len(kept.VARIANTS)


def test_kept_weights_reach_the_accuracy_of_their_committed_record():
    real("mnist")
    spec = kept.spec_of("lstn")
    record = json.loads((ROOT / f"results/{spec.dataset}/{spec.name}.json").read_text())
    # a few images lie so near a border between classes that another processor may decide them otherwise
    assert kept.accuracy_of("lstn") == pytest.approx(record["test"]["accuracy"], abs=0.05)


def test_weights_that_are_not_there_are_one_sentence(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="'vstn'"):
        kept.load("vstn")
    monkeypatch.setattr(kept, "WEIGHTS", tmp_path)
    with pytest.raises(InputError, match=str(tmp_path)):
        kept.load("lstn")
