"""The smaller systems: their printed sizes, their shapes, the identity at the start, and that they learn."""

from dataclasses import replace

import pytest
import torch

from stn_paper import build_model, training
from stn_paper.errors import InputError
from stn_paper.models import HEADINGS, variants
from stn_paper.protocol import RunSpec, preset
from stn_paper.systems import SYSTEMS

CLASSES = {"cifar-cnn": 10, "mnist-cnn": 10, "sign-cnn": 43}
CASES = [(system, variant) for system in SYSTEMS for variant in SYSTEMS[system].variants]


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_the_small_cnn_is_the_printed_one():
    model = build_model("cifar-cnn", "affine", 10)
    assert parameters(model) == 1_585_008  # by the document's module list
    printed = [(3, 16), (16, 32), (800, 1024), (1024, 10), (3, 64), (64, 128), (2048, 256), (256, 6)]
    layers = [m for m in model.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    found = {tuple(reversed(layer.weight.shape[:2])) for layer in layers}
    assert found == set(printed) and len(layers) == len(printed)


@pytest.mark.parametrize(
    "system, variant, count",
    [
        ("mnist-cnn", "original", 750 + 10 + 5000 + 20 + 20 * 49 * 50 + 50 + 510),
        ("mnist-cnn", "stn", 55_340 + 1176 + 8 + 2000 + 10 + 10 * 7**2 * 32 + 32 + 32 * 6 + 6),
        ("mnist-cnn", "projective", 74_444 + 2 * 33),
        ("mnist-cnn", "tps", 74_444 + 26 * 33),
        ("sign-cnn", "original", 14_800 + 240_150 + 600_250 + 250 * 300 + 300 + 301 * 43),
    ],
)
def test_parameters_by_hand(system, variant, count):
    assert parameters(build_model(system, variant, CLASSES[system])) == count


@pytest.mark.parametrize("system, variant", CASES)
@pytest.mark.parametrize("larger", [0, 22])
def test_shapes_at_any_size(system, variant, larger):
    size = SYSTEMS[system].image_size + larger
    model = build_model(system, variant, CLASSES[system], size).eval()
    assert model(torch.randn(2, 3, size, size)).shape == (2, CLASSES[system])


@pytest.mark.parametrize("system, variant", [c for c in CASES if c[1] != "original"])
def test_a_transformer_starts_at_the_identity(system, variant):
    model = build_model(system, variant, CLASSES[system]).eval()
    size = SYSTEMS[system].image_size
    images = torch.randn(2, 3, size, size)
    torch.testing.assert_close(model.transformer(images), images, atol=1e-4, rtol=1e-4)
    without = torch.nn.Sequential(
        *(p for n, p in model.named_children() if n not in ("transformer", "inner"))
    )
    torch.testing.assert_close(model(images), without(images), atol=1e-3, rtol=1e-3)


def test_every_variant_has_a_heading_and_the_original_comes_first():
    for system in SYSTEMS:
        assert variants(system)[0] == "original" and set(variants(system)) <= set(HEADINGS)


def test_a_variant_of_another_system_is_refused():
    with pytest.raises(InputError, match="Unknown variant 'two': choose one of original, affine"):
        RunSpec("cifar10", "cifar-cnn", "two", "system")
    with pytest.raises(InputError, match="Unknown dataset of a smaller system 'caltech101'"):
        RunSpec("caltech101", "resnet18", "stn", "system")


@pytest.mark.parametrize(
    "system, variant, images",
    [("cifar-cnn", "affine", 1500), ("mnist-cnn", "tps", 4000), ("sign-cnn", "two", 1500)],
)
def test_a_short_training_on_digits_beats_chance(system, variant, images):
    """Chance is 10 %; the margin is 15 points, on 500 test images of 10 classes."""
    own = preset("system", "digits", variant)
    settings = {"min_epochs": 2, "max_epochs": 2, "batch_size": 20, "image_size": 32, "max_images": images}
    protocol = replace(own, probes=False, **settings)
    record = training.run(RunSpec("digits", system, variant, protocol), "cpu")
    assert record["epochs"][-1]["test_accuracy"] > 25
