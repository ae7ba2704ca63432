"""Weights that are kept are those that the run's record tells of."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file

from stn_paper import load, run
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
    assert record["weights"] == kept.digest(path)
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
    assert len({kept.path_of(spec) for spec in specs}) == len(kept.VARIANTS)


def test_a_kept_network_is_loaded_with_its_transform(committed):
    for name in ("digits-lstn", "digits-stn", "digits-original"):
        network = load(name)
        images = datasets.load("digits", network.image_size).images[::50]
        labels = datasets.load("digits", network.image_size).labels[::50]
        assert not network.training
        with torch.no_grad():
            right = network(network.transform(images)).argmax(1) == labels
        assert (
            right.float().mean() > 0.8
        )  # these images are distorted a little otherwise than those it learned


def test_a_large_network_is_kept_in_half_precision_under_a_megabyte(tmp_path):
    model = build_model("mnist-cnn-400k", "tps", 10).eval()
    path = tmp_path / "large.safetensors"
    kept.save(model, path, "large")
    assert path.stat().st_size < 1e6
    again = build_model("mnist-cnn-400k", "tps", 10).eval()
    again.load_state_dict(load_file(path))
    images = torch.rand(4, 3, 42, 42)
    torch.testing.assert_close(again(images), model(images), atol=1e-2, rtol=1e-2)


def test_every_kept_network_is_small_and_all_of_them_fit_eight_megabytes(tmp_path):
    sizes = []
    for name, spec in kept.NETWORKS.items():
        kept.save(build_model(spec.backbone, spec.variant, 10), tmp_path / name, spec.name)
        sizes.append((tmp_path / name).stat().st_size)
    assert max(sizes) < 1e6 and sum(sizes) < 8e6


def test_an_exchanged_file_and_a_missing_one_are_named(tmp_path, monkeypatch):
    spec = kept.NETWORKS["digits-lstn"]
    monkeypatch.setattr(kept, "WEIGHTS", tmp_path)
    with pytest.raises(InputError, match="'digits-lstn' has no weights here"):
        load("digits-lstn")
    kept.save(build_model(spec.backbone, spec.variant, 10), kept.path_of(spec), spec.name)
    monkeypatch.setattr(kept.records, "find", lambda _: {"weights": "0" * 64})
    with pytest.raises(InputError, match="not the file that the run's record tells of"):
        load("digits-lstn")
    with pytest.raises(InputError, match="Unknown network 'digits-xstn'"):
        load("digits-xstn")


def test_only_the_repositorys_own_runs_keep_their_weights(tmp_path, monkeypatch):
    spec = kept.NETWORKS["digits-rts-affine"]
    assert kept.place_for(spec) is None  # the tests' results lie elsewhere
    monkeypatch.setattr(kept, "results_dir", lambda: kept.WEIGHTS.parent / "results")
    assert kept.place_for(spec) == kept.path_of(spec)
    assert kept.place_for(replace(spec, seed=1)) is None
