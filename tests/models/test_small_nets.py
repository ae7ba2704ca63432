"""The smaller systems: printed numbers of parameters, shapes, the identity at the start, and that they learn."""

import pytest
import torch

from stn_paper import build_model
from stn_paper.errors import InputError
from stn_paper.models import HEADINGS, variants
from stn_paper.models.small_nets import SYSTEMS
from stn_paper.training import loop, optimizers
from stn_paper.training.spec import RunSpec

CLASSES = {
    "cifar-cnn": 10,
    "clutter-cnn": 10,
    "lenet": 10,
    "mnist-cnn": 10,
    "mnist-cnn-400k": 10,
    "placement-cnn": 10,
    "sequence-cnn": 10,
    "sign-cnn-bn": 43,
}
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
        ("lenet", "stn", 74_444),
        ("clutter-cnn", "original", 1600 + 38_448 + 768 * 256 + 256 + 2570),
        ("clutter-cnn", "out20", 320 + 9248 + 288 * 256 + 256 + 2570 + 520 + 10_020 + 1620 * 50 + 50 + 306),
        ("mnist-cnn-400k", "original", 832 + 64 + 51_264 + 128 + 64 * 49 * 112 + 112 + 1130),
        ("mnist-cnn-400k", "constant", 832 + 64 + 51_264 + 128 + 64 * 49 * 112 + 112 + 1130 + 6),
        (
            "sign-cnn-bn",
            "original",
            3648 + 96 + 41_568 + 192 + 166_080 + 384 + 3073 * 256 - 256 + 256 + 257 * 43,
        ),
    ],
)
def test_parameters_by_hand(system, variant, count):
    assert parameters(build_model(system, variant, CLASSES[system])) == count


@pytest.mark.parametrize("system, variant", CASES)
@pytest.mark.parametrize("larger", [0, 22])
def test_every_network_gives_logits_at_its_own_size_and_a_larger_one(system, variant, larger):
    size = SYSTEMS[system].image_size + larger
    with torch.device("meta"):
        model = build_model(system, variant, CLASSES[system], size).eval()
        logits = model(torch.zeros(2, 3, size, size))
    labels = (3,) if system == "sequence-cnn" else ()
    assert logits.shape == (2, CLASSES[system], *labels)


@pytest.mark.parametrize(
    "system, variant",
    [c for c in CASES if c[1] not in ("original", "out20", "rnn", "ffn", "feature", "shared")],
)
def test_a_transformer_starts_at_the_identity(system, variant):
    model = build_model(system, variant, CLASSES[system]).eval()
    size = SYSTEMS[system].image_size
    images = torch.randn(2, 3, size, size)
    shown = model.transformer(images)  # of a grey network one channel
    torch.testing.assert_close(shown, images[:, : shown.shape[1]], atol=1e-4, rtol=1e-4)
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
    with pytest.raises(InputError, match="'caltech101' has no smaller system"):
        RunSpec("caltech101", "resnet18", "stn", "system")


@pytest.mark.parametrize(
    "system, variant",
    [("cifar-cnn", "affine"), ("mnist-cnn", "tps"), ("mnist-cnn-400k", "tps"), ("sign-cnn-bn", "two")],
)
def test_every_system_can_overfit_ten_pictures(system, variant):
    """A guess is right once in ten."""
    torch.manual_seed(0)
    size = SYSTEMS[system].image_size
    images = torch.nn.functional.interpolate(torch.randn(10, 3, 3, 3), size)  # nine coloured squares each
    labels = torch.arange(10)
    model = build_model(system, variant, 10)
    optimizer = optimizers.OPTIMIZER_CLASSES["adam"](model.parameters(), lr=0.001, fused=True)
    step = loop.training_step(model.train())
    for _ in range(30):
        step(optimizer, images, labels)
    assert (model.eval()(images).argmax(1) == labels).sum() >= 8


def test_each_glimpse_of_the_recurrent_network_is_a_digit():
    model = build_model("sequence-cnn", "rnn", 10).eval()
    images = torch.rand(2, 3, 100, 100)
    assert model.transformer(images).shape == (2, 3, 1, 33, 33)
    assert model.transformer.theta(images).shape == (2, 3, 2, 3)
    logits = model(images)
    for digit in range(3):
        glimpse = model.transformer(images)[:, digit]
        torch.testing.assert_close(model.classifier(glimpse), logits[:, :, digit])
    assert build_model("sequence-cnn", "ffn", 10).transformer(images).shape == (2, 1, 50, 50)


def test_outputs_of_a_third_of_the_sides_start_as_the_shrunken_image():
    model = build_model("clutter-cnn", "out20", 10).eval()
    images = torch.rand(2, 1, 60, 60).expand(-1, 3, -1, -1)
    torch.testing.assert_close(model.transformer(images), images[:, :1, 1::3, 1::3], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("variant", ["feature", "shared"])
def test_a_transformer_on_features_starts_as_the_network_alone(variant):
    torch.manual_seed(0)
    alone = build_model("placement-cnn", "original", 10).eval()
    torch.manual_seed(0)
    placed = build_model("placement-cnn", variant, 10).eval()
    images = torch.rand(2, 1, 42, 42).expand(-1, 3, -1, -1)
    torch.testing.assert_close(placed(images), alone(images), atol=1e-4, rtol=1e-4)
    assert placed.transformer.theta(images).shape == (2, 2, 3)
    assert placed.transformer(images).shape == (2, 32, 19, 19)


@pytest.mark.parametrize("variant", ["feature", "shared"])
def test_a_bypassed_transformer_on_features_does_nothing(variant):
    model = build_model("placement-cnn", f"{variant}-released", 10).eval()
    images = torch.rand(2, 1, 42, 42).expand(-1, 3, -1, -1)
    before = model(images)
    torch.nn.init.normal_(model.transformer.localization.head[-1].bias)
    assert torch.equal(model(images), before)


@pytest.mark.parametrize("variant", ["feature", "shared"])
def test_a_transformer_on_features_reads_the_padding_that_is_asked_for(variant):
    outputs = []
    for padding in ("zeros", "border"):
        torch.manual_seed(0)
        model = build_model("placement-cnn", variant, 10, padding=padding).eval()
        with torch.no_grad():
            model.transformer.localization.head[-1].bias.mul_(3)  # three times the image's sides
            outputs.append(model.transformer(torch.ones(1, 3, 42, 42)))
        assert model.transformer.last_theta[0, 0, 0] == 3
    assert not torch.allclose(*outputs)


@pytest.mark.parametrize(
    ("system", "variant"), [("clutter-cnn", "out20"), ("sequence-cnn", "ffn"), ("sequence-cnn", "rnn")]
)
def test_a_transformer_with_another_output_size_cannot_be_bypassed(system, variant):
    with pytest.raises(InputError, match=f"bypassed {variant} is not allowed for {system}"):
        build_model(system, f"{variant}-released", 10)


@pytest.mark.parametrize(("variant", "smallest"), [("original", 22), ("ffn", 36), ("rnn", 54)])
def test_an_image_too_small_for_a_sequence_is_named(variant, smallest):
    build_model("sequence-cnn", variant, 10, smallest)(torch.rand(1, 3, smallest, smallest))
    with pytest.raises(
        InputError, match=f"Image size {smallest - 1} is too small .* at least {smallest} pixels"
    ):
        build_model("sequence-cnn", variant, 10, smallest - 1)


def test_the_same_map_acts_on_the_feature_map_or_on_the_input():
    images = torch.rand(2, 1, 42, 42).expand(-1, 3, -1, -1)
    quarter = torch.tensor([0.0, 1.0, 0.0, -1.0, 0.0, 0.0])
    for variant, same in (("feature", False), ("shared", True)):
        model = build_model("placement-cnn", variant, 10).eval().transformer
        with torch.no_grad():
            model.localization.head[-1].bias.copy_(quarter)
            of_rotated = model.features(images.rot90(1, (2, 3)))
        found = any(
            torch.allclose(model(images), model.features(images.rot90(k, (2, 3))), atol=1e-4) for k in (1, 3)
        )
        assert found is same and of_rotated.shape == (2, 32, 19, 19)
