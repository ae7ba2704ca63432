"""Training images that are distorted anew for every batch: equal for equal seeds, also after a stopped run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stn_paper.data import datasets
from stn_paper.data.distortions import DISTORTIONS, JITTER, distort_images, known_theta, new_theta
from stn_paper.errors import InputError
from stn_paper.models.transformer import affine_theta
from stn_paper.training import batches, checkpoint, loop, records
from stn_paper.training.protocol import LOCAL, REDRAWN, Protocol
from stn_paper.training.spec import RunSpec

COUNT = {"train": 60, "validation": 20, "test": 20}


@pytest.fixture
def data(monkeypatch):
    """A hundred embedded digits that are loaded in place of a distorted MNIST."""
    some = np.random.RandomState(0).permutation(5000)[:100]  # they are sorted by class
    pixels, labels = (part[some] for part in datasets.embedded_digits())
    for name in DISTORTIONS:
        row = datasets.DATASETS[f"mnist-{name}"]._replace(splits=COUNT)
        monkeypatch.setitem(datasets.DATASETS, f"mnist-{name}", row)
    digits = torch.from_numpy(pixels.copy())
    images = distort_images(digits[:, None], known_theta("rts", 100), image_size=42).expand(-1, 3, -1, -1)
    return datasets.Images(
        images, torch.tensor(labels), tuple("0123456789"), "0" * 16, 80, undistorted=digits
    )


def spec(name="rts", augmentation=REDRAWN, variant="original", **changes):
    settings = {"max_epochs": 2, "min_epochs": 2, "batch_size": 16, "augmentation": augmentation}
    protocol = Protocol("mine", 42, **(settings | changes))
    return RunSpec(f"mnist-{name}", "mnist-cnn", variant, protocol)


def seen(spec, data, epoch):
    """The training images of an epoch, uint8, in the dataset's order."""
    read = batches.augment(spec, data, epoch)
    return torch.cat([read(part) for part in torch.arange(60).split(16)])


@pytest.mark.parametrize("name", DISTORTIONS)
def test_every_epoch_has_its_own_images_and_a_seed_the_same_ones(data, name):
    first = seen(spec(name), data, 1)
    assert first.shape == (60, 3, 42, 42) and first.dtype == torch.uint8
    assert torch.equal(first, seen(spec(name), data, 1))
    for other in (seen(spec(name), data, 2), seen(replace(spec(name), seed=1), data, 1)):
        assert not torch.equal(first, other)


def test_without_augmentation_a_run_reads_the_images_as_they_are(data):
    assert batches.augment(spec(augmentation=None), data, 1) is None


@pytest.mark.parametrize("name", ["r", "rts", "p", "e"])
def test_new_maps_are_drawn_as_the_known_ones(name):
    known, new = known_theta(name, 3000), new_theta(name, 3000, np.random.RandomState(1))
    assert new.shape == known.shape and new.dtype == known.dtype
    for share in (0.1, 0.25, 0.5, 0.75, 0.9):
        known_quantile, new_quantile = (maps.double().quantile(share, 0) for maps in (known, new))
        assert (known_quantile - new_quantile).abs().max() < 0.1 * known.double().std(0).max()


def test_jitter_moves_by_a_tenth_and_scales_by_a_tenth():
    theta = new_theta(JITTER, 4000, np.random.RandomState(0))
    assert (
        torch.equal(theta[:, 0, 0], theta[:, 1, 1]) and not theta[:, 0, 1].any() and not theta[:, 1, 0].any()
    )
    for values, low, high in ((theta[:, 0, 0], 0.9, 1.1), (theta[:, 0, 2], -0.1, 0.1)):
        assert low <= values.min() < low + 0.01 and high - 0.01 < values.max() <= high


def test_jitter_repeats_the_edge(data):
    white = data._replace(images=torch.full_like(data.images, 255))
    assert (seen(spec(augmentation=JITTER), white, 1) == 255).all()


def test_a_stopped_run_sees_the_same_images_again(data, monkeypatch):
    one, save = spec(variant="stn"), checkpoint.save_checkpoint
    whole = loop.run(one, "cpu", data=data)
    records.record_path(one).unlink()

    def save_and_stop(*parts):
        save(*parts)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, "save_checkpoint", save_and_stop)
        loop.run(one, "cpu", data=data)
    again = loop.run(one, "cpu", data=data)
    assert again["measured"]["resumed"] == 1 and again["epochs"] == whole["epochs"]


def test_the_validation_images_are_not_redrawn(data):
    still = {"learning_rate": 1e-12}  # the weights stay as they are
    plain, redrawn = (loop.run(spec(augmentation=a, **still), "cpu", data=data) for a in (None, REDRAWN))
    first, second = (record["epochs"][0] for record in (plain, redrawn))
    assert first["train_loss"] != second["train_loss"]
    assert first["validation_loss"] == pytest.approx(second["validation_loss"], abs=1e-5)


def test_a_dataset_without_a_distortion_cannot_be_redrawn():
    with pytest.raises(InputError, match="'redrawn' is not allowed for dataset 'gtsrb'"):
        RunSpec("gtsrb", "sign-cnn-bn", "original", Protocol("mine", 32, augmentation=REDRAWN))
    with pytest.raises(InputError, match="Unknown augmentation 'flip'"):
        Protocol("mine", augmentation="flip")


def test_local_normalization_takes_brightness_and_contrast_away():
    torch.manual_seed(0)
    images = torch.randint(60, 120, (4, 3, 32, 32), dtype=torch.uint8)
    plain = batches.normalize(images, LOCAL)
    torch.testing.assert_close(batches.normalize(2 * images - 50, LOCAL), plain, atol=1e-4, rtol=1e-4)
    assert plain.mean().abs() < 0.05 and 0.5 < plain.std() < 1.5
    flat = torch.full((1, 3, 32, 32), 77, dtype=torch.uint8)
    assert batches.normalize(flat, LOCAL).abs().max() < 1e-3


@pytest.mark.parametrize("padding", ["border", -1.0])
def test_a_protocol_sets_the_padding(data, monkeypatch, padding):
    networks = []
    build = loop.build_network
    monkeypatch.setattr(loop, "build_network", lambda *a, **k: networks.append(build(*a, **k)) or networks[0])
    loop.run(spec(variant="stn", padding=padding, max_epochs=1, min_epochs=1), "cpu", data=data)
    assert networks[0].transformer.padding == padding
    image, away = torch.full((1, 3, 42, 42), 0.5), affine_theta(shift=(3.0, 0.0))
    with torch.no_grad():
        networks[0].transformer.localization.head[-1].bias.copy_(away.flatten())
        networks[0].transformer.localization.head[-1].weight.zero_()
        shown = networks[0].eval().transformer(image)
    assert shown[..., 20].unique().tolist() == [0.5 if padding == "border" else -1.0]


def test_a_padding_for_each_channel_is_refused():
    with pytest.raises(InputError, match="padding"):
        Protocol("mine", padding=(0.0, 0.0, 0.0))
