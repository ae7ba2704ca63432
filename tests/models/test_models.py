"""Models: variants share the backbone's weights, start as the backbone alone, and train the localization net."""

import re

import pytest
import timm
import torch
import torchvision
from timm.optim import create_optimizer_v2

from stn_paper import build_model, with_stn
from stn_paper.errors import InputError
from stn_paper.models import VARIANTS
from stn_paper.models.transformer import SpatialTransformer
from stn_paper.paths import ROOT


def test_an_unknown_variant_is_named():
    with pytest.raises(InputError, match=r"'l-stn'.*original, stn, vstn, lstn"):
        build_model("resnet18", "l-stn", 10)
    with pytest.raises(InputError, match=r"'original'.*stn, vstn, lstn"):
        with_stn(torch.nn.Identity(), "original", 64)


def test_too_small_an_image_is_named_with_the_smallest():
    with pytest.raises(InputError, match=r"Image size 16 .* at least 18 pixels"):
        build_model("resnet18", "stn", 10, 16)


def test_no_classes_give_the_features_of_a_network_of_timm_only():
    features = build_model("timm/resnet10t", "original", 0, 32)(torch.rand(2, 3, 32, 32))
    assert features.shape == (2, 512)
    for name in ("resnet18", "effb0", "mnist-cnn"):
        with pytest.raises(InputError, match="num_classes 0"):
            build_model(name, "original", 0, 64)


@pytest.mark.parametrize("size", [(64, 64), 64.0, "64", 0, -1, True])
def test_an_image_size_that_is_no_whole_number_is_named(size):
    for build in (
        lambda: build_model("resnet18", "original", 10, size),
        lambda: build_model("mnist-cnn", "lstn", 10, size),
        lambda: with_stn(torch.nn.Identity(), "lstn", size),
    ):
        with pytest.raises(InputError, match=f"Image size {re.escape(repr(size))} "):
            build()


def test_the_transformer_takes_the_mode_of_the_model():
    frozen = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Identity().eval())
    for model in (frozen, torch.nn.Identity().eval()):
        modes = [part.training for part in model.modules()]
        joined = with_stn(model, "lstn", 64)
        parts = [joined, *joined.transformer.modules()]
        assert {part.training for part in parts} == {model.training}
        assert [part.training for part in model.modules()] == modes


def test_the_line_for_timms_optimizers():
    vit = timm.create_model("test_vit", num_classes=4)
    model = with_stn(vit, "lstn", 160)
    line = '{f"backbone.{name}" for name in model.backbone.no_weight_decay()}'
    text = (ROOT / "book/run.md").read_text()
    assert f"names = {line}" in text and "model.no_weight_decay = lambda: names" in text
    before, names = kept_from_decay(model), eval(line, {"model": model})
    model.no_weight_decay = lambda: names
    assert kept_from_decay(model) - before == {"backbone.pos_embed", "backbone.cls_token"}
    assert timm.data.resolve_model_data_config(model.backbone)["input_size"] == (3, 160, 160)


def kept_from_decay(model):
    """Names of the parameters that timm's optimizer does not decay."""
    names = {id(p): name for name, p in model.named_parameters()}
    groups = create_optimizer_v2(model, "adamw", weight_decay=0.05).param_groups
    return {names[id(p)] for group in groups if not group["weight_decay"] for p in group["params"]}


def test_variants_share_the_backbones_first_weights():
    weights = []
    for variant in VARIANTS:
        torch.manual_seed(5)
        model = build_model("resnet18", variant, 10, 64)
        weights.append(getattr(model, "backbone", model).state_dict())
    for other in weights[1:]:
        assert all(torch.equal(a, b) for a, b in zip(weights[0].values(), other.values()))


@pytest.mark.parametrize(
    "bare",
    [
        lambda: torchvision.models.resnet18(num_classes=5),
        lambda: timm.create_model("resnet10t", num_classes=5),
    ],
    ids=["torchvision", "timm"],
)
@pytest.mark.parametrize("variant", [v for v in VARIANTS if v != "original"])
def test_with_stn_starts_as_the_bare_model(bare, variant):
    model = bare().eval()
    images = torch.rand(2, 3, 48, 48)
    torch.testing.assert_close(
        with_stn(model, variant, 48).eval()(images), model(images), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("transform, shape", [("affine", (2, 3)), ("projective", (3, 3)), ("tps", (16, 2))])
def test_with_stn_takes_each_transform_of_map(transform, shape):
    images = torch.rand(2, 1, 28, 28)
    model = with_stn(torch.nn.Flatten(), "stn", 28, in_channels=1, transform=transform)
    assert model.transformer.theta(images).shape == (2, *shape)
    torch.testing.assert_close(model(images), images.flatten(1), atol=1e-4, rtol=0)


def test_the_loss_moves_the_localization_net():
    model = build_model("resnet18", "stn", 5, 32)
    torch.nn.functional.cross_entropy(model(torch.rand(4, 3, 32, 32)), torch.arange(4)).backward()
    assert model.transformer.localization.head[-1].weight.grad.abs().max() > 0


# --- as released: the transformer is bypassed ---


CASES = [("resnet18", "lstn"), ("mnist-cnn", "stn"), ("sign-cnn-bn", "two")]


@pytest.mark.parametrize("backbone, variant", CASES)
def test_a_bypassed_variant_is_the_backbone_with_unused_parameters(backbone, variant):
    released = build_model(backbone, f"{variant}-released", 10, 42).eval()
    applied = build_model(backbone, variant, 10, 42)
    assert [p.shape for p in released.parameters()] == [p.shape for p in applied.parameters()]
    images = torch.randn(4, 3, 42, 42)
    parts = [p for name, p in released.named_children() if name not in ("transformer", "inner")]
    assert torch.equal(released(images), torch.nn.Sequential(*parts)(images))
    released(images).sum().backward()
    idle = [part for part in released.modules() if isinstance(part, SpatialTransformer)]
    assert idle and all(p.grad is None for part in idle for p in part.parameters())
    assert all(p.grad is not None for part in parts for p in part.parameters())


def test_a_variant_is_bypassed_by_one_argument():
    model = build_model("resnet18", "stn", 10, 42, applied=False)
    assert not model.transformer.applied and build_model("resnet18", "stn", 10, 42).transformer.applied
    images = torch.randn(2, 3, 42, 42)
    torch.nn.init.normal_(model.transformer.localization.head[-1].weight)  # theta is no longer the identity
    assert torch.equal(model.transformer(images), images)
    assert not with_stn(torch.nn.Identity(), "lstn", 42, applied=False).transformer.applied


@pytest.mark.parametrize(("argument", "value"), [("applied", "False"), ("padding", "zero")])
def test_a_wrong_option_of_a_network_is_named(argument, value):
    for backbone, variant in (("resnet18", "original"), ("mnist-cnn", "stn")):
        with pytest.raises(InputError, match=repr(value)):
            build_model(backbone, variant, 10, 64, **{argument: value})


def test_the_original_has_no_bypassed_variant():
    with pytest.raises(InputError, match="Unknown variant 'original-released': choose one of original, stn"):
        build_model("resnet18", "original-released", 10)
