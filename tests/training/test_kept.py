"""Kept weights: the record has their digest, damaged files are refused, and they reach the recorded accuracy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import real
from safetensors import safe_open
from safetensors.torch import load_file

from stn_paper import load, run
from stn_paper.data import datasets
from stn_paper.errors import InputError
from stn_paper.models import build_model
from stn_paper.training import kept, records
from stn_paper.training.batches import normalize
from stn_paper.training.protocol import LAST_EPOCH, Protocol
from stn_paper.training.spec import RunSpec


def test_a_run_keeps_the_weights_of_its_record(tmp_path):
    protocol = Protocol(
        "short", 42, 8, max_epochs=1, min_epochs=1, selection=LAST_EPOCH, max_images=40, test_once=True
    )
    spec, path = RunSpec("digits", "mnist-cnn", "lstn", protocol), tmp_path / "short.safetensors"
    record = run(spec, "cpu", weights=str(path))
    assert run(spec, "cpu", weights=path) == record
    with pytest.raises(InputError, match=f"other.safetensors cannot be written: {spec.name} has a record"):
        run(spec, "cpu", weights=tmp_path / "other.safetensors")
    assert record["weights"] == kept.file_digest(path)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"run": spec.name, "digest": kept._tensors_digest(load_file(path))}
    model = build_model("mnist-cnn", "lstn", 10, 42)
    model.load_state_dict(load_file(path))
    data = datasets.load_images("digits", 42)
    test = datasets.split("digits", data, protocol.split_seed, **protocol.limits).test
    with torch.no_grad():
        logits = model.eval()(normalize(data.images[test]))
    assert F.cross_entropy(logits, data.labels[test]).item() == pytest.approx(
        record["test"]["loss"], rel=1e-4
    )
    right = (logits.argmax(1) == data.labels[test]).float().mean().item()
    assert 100 * right == pytest.approx(record["test"]["accuracy"], abs=1e-3)


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path, monkeypatch):
    """Each of fifty flipped bits, in the names, the weights or the metadata."""
    content, random = (
        kept.weights_path(kept.playground_spec("original")).read_bytes(),
        np.random.RandomState(0),
    )
    path = tmp_path / "changed.safetensors"
    path.write_bytes(content)
    monkeypatch.setattr(kept, "weights_path", lambda variant: path)
    whole, refused = kept.load("digits-original").state_dict(), 0
    for place in (*random.randint(0, 4000, 25), *random.randint(0, len(content), 25)):
        changed = bytearray(content)
        changed[place] ^= 1 << random.randint(8)
        path.write_bytes(changed)
        try:
            read = kept.load("digits-original").state_dict()
        except InputError:
            refused += 1
        else:  # the bit is in the padding of the header
            assert all(torch.equal(read[name], whole[name]) for name in whole)
    assert refused > 40


def test_weights_of_another_run_are_not_taken(monkeypatch, tmp_path):
    path = tmp_path / "other.safetensors"
    kept.save_weights(kept.load("digits-lstn"), path, "another run")
    monkeypatch.setattr(kept, "weights_path", lambda variant: path)
    with pytest.raises(InputError, match="of another run"):
        kept.load("digits-lstn")


def test_the_networks_of_the_playground_share_all_settings():
    specs = [kept.playground_spec(variant) for variant in kept.PLAYGROUND_VARIANTS]
    assert len({(s.dataset, s.backbone, s.protocol, s.seed) for s in specs}) == 1
    assert len({kept.weights_path(spec) for spec in specs}) == len(kept.PLAYGROUND_VARIANTS)


def test_a_kept_network_is_loaded_with_its_transform():
    for name, least in (("digits-lstn", 0.9), ("digits-stn", 0.9), ("digits-original", 0.6)):
        network = load(name)
        images = datasets.load_images("digits", network.image_size).images[::50]
        labels = datasets.load_images("digits", network.image_size).labels[::50]
        assert not network.training
        with torch.no_grad():
            right = network(network.transform(images)).argmax(1) == labels
        # these images are distorted a little otherwise than those it learned
        assert right.float().mean() > least


def test_images_larger_than_a_kept_networks_are_named():
    network = load("digits-lstn")
    with pytest.raises(InputError, match=r"64 pixels a side .* at most 42"):
        network.transform(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_a_large_network_is_kept_in_half_precision_under_a_megabyte(tmp_path):
    model = build_model("mnist-cnn-400k", "tps", 10).eval()
    path = tmp_path / "large.safetensors"
    kept.save_weights(model, path, "large")
    assert path.stat().st_size < 1e6
    again = build_model("mnist-cnn-400k", "tps", 10).eval()
    again.load_state_dict(load_file(path))
    images = torch.rand(4, 3, 42, 42)
    torch.testing.assert_close(again(images), model(images), atol=1e-2, rtol=1e-2)


def test_every_kept_network_is_small_and_all_of_them_fit_eight_megabytes(tmp_path):
    sizes = []
    for name, spec in kept.NETWORKS.items():
        kept.save_weights(build_model(spec.backbone, spec.variant, 10), tmp_path / name, spec.name)
        sizes.append((tmp_path / name).stat().st_size)
    assert max(sizes) < 1e6 and sum(sizes) < 8e6


def test_an_exchanged_file_and_a_missing_one_are_named(tmp_path, monkeypatch):
    spec = kept.NETWORKS["digits-lstn"]
    monkeypatch.setattr(kept, "WEIGHTS", tmp_path)
    with pytest.raises(InputError, match="'digits-lstn' has no weights here"):
        load("digits-lstn")
    kept.save_weights(build_model(spec.backbone, spec.variant, 10), kept.weights_path(spec), spec.name)
    monkeypatch.setattr(kept.records, "find", lambda _: {"weights": "0" * 64})
    with pytest.raises(InputError, match="digest that the run's record states"):
        load("digits-lstn")
    with pytest.raises(InputError, match="Unknown network 'digits-xstn'"):
        load("digits-xstn")


def test_only_the_repositorys_own_runs_keep_their_weights(tmp_path, monkeypatch):
    spec = kept.NETWORKS["digits-rts-affine"]
    assert kept.weights_path_to_keep(spec) is None  # the tests' results lie elsewhere
    monkeypatch.setattr(kept, "results_dir", lambda: kept.WEIGHTS.parent / "results")
    assert kept.weights_path_to_keep(spec) == kept.weights_path(spec)
    assert kept.weights_path_to_keep(replace(spec, seed=1)) is None
    monkeypatch.setattr(kept, "results_dir", lambda: kept.WEIGHTS.parent / "other results")
    assert kept.weights_path_to_keep(spec) is None


def test_kept_weights_reach_the_accuracy_of_their_committed_record(committed):
    real("mnist")
    record = records.find(kept.playground_spec("lstn"))
    before = torch.backends.cuda.matmul.allow_tf32 = False
    # a few images lie so near a border between classes that another processor may decide them otherwise
    assert kept.evaluate_kept("digits-lstn") == pytest.approx(
        records.selected_result(record)["test"], abs=0.05
    )
    assert torch.backends.cuda.matmul.allow_tf32 is before
