"""Every backbone builds and has Table 4's parameters to the unit; errors name wrong names and image sizes."""

import pytest
import torch

from stn_paper.analysis.paper import table
from stn_paper.errors import InputError
from stn_paper.models import build_model
from stn_paper.models.backbones import BACKBONES, build_backbone, check_backbone, input_size, title

B_SIZES = {"effb1": 240, "effb2": 260, "effb3": 300, "effb4": 380, "effb5": 456}


def meta_logits(name, num_classes, size):
    with torch.device("meta"):
        model = build_backbone(name, num_classes, size)
        return model(torch.zeros(2, 3, size, size))


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_gives_logits_and_has_the_parameters_of_table_4(name):
    with torch.device("meta"):
        model = build_backbone(name, 10, 64)
        assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 10)
    printed = table(4).set_index("backbone")["parameters"]
    if name in printed:
        assert sum(p.numel() for p in model.parameters()) == int(printed[name])


def test_input_sizes_are_the_papers():
    printed = [*table(4)["backbone"], *table(9)["backbone"]]
    assert {name: input_size(name) for name in printed} == {n: B_SIZES.get(n, 224) for n in printed}


@pytest.mark.parametrize("name, size", [("timm/resnet10t", 64), ("timm/vit_tiny_patch16_224", 64)])
def test_timm_backbones_give_logits(name, size):
    assert meta_logits(name, 7, size).shape == (2, 7)


def test_a_vision_transformer_works_behind_a_transformer():
    model = build_model("timm/vit_tiny_patch16_224", "lstn", 7, 64)
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 7)


def test_timm_names_keep_their_own_size_and_title():
    assert input_size("timm/resnet10t") == 176
    assert title("timm/resnet10t") == "timm/resnet10t"
    assert title("resnet18") == "ResNet-18"


@pytest.mark.parametrize("name", ["resnet19", "ResNet-18", "", None, 18])
def test_an_unknown_backbone_is_named_with_the_allowed_ones(name):
    with pytest.raises(InputError) as error:
        check_backbone(name)
    assert repr(name) in str(error.value)
    assert all(allowed in str(error.value) for allowed in [*BACKBONES, "timm/<name>"])


@pytest.mark.parametrize("name", ["timm/", "timm/resnet19", "timm/resnet18.no_such_weights"])
@pytest.mark.parametrize("ask", [check_backbone, input_size, lambda name: build_backbone(name, 2, 64)])
def test_an_unknown_timm_backbone_is_named(name, ask):
    with pytest.raises(InputError, match=f"Unknown backbone '{name}': .*timm.list_models"):
        ask(name)


@pytest.mark.parametrize(
    ("name", "smallest"),
    [
        ("alexnet", 63),
        *((name, 29) for name in BACKBONES if "densenet" in name),
        *((name, 1) for name in ("resnet18", "resnet50", "effb0")),
        *(("cifar-cnn", 16), ("clutter-cnn", 36), ("lenet", 16), ("mnist-cnn", 16), ("mnist-cnn-400k", 16)),
        *(("placement-cnn", 16), ("sequence-cnn", 22), ("sign-cnn-bn", 8)),
    ],
)
def test_each_network_takes_the_smallest_image_and_none_below(name, smallest):
    with torch.device("meta"):
        model = build_model(name, "original", 10, smallest).eval()
        assert model(torch.zeros(1, 3, smallest, smallest)).shape[:2] == (1, 10)
    allowed = f"at least {smallest} pixels" if smallest > 1 else "whole number from 1"
    with pytest.raises(InputError, match=f"Image size {smallest - 1} .*{allowed}"):
        build_model(name, "original", 10, smallest - 1)


@pytest.mark.parametrize(("name", "variant"), [("cifar-cnn", "affine"), ("mnist-cnn", "tps")])
def test_too_small_an_image_for_a_system_s_localization_net_is_named(name, variant):
    with pytest.raises(InputError, match=r"Image size 17 is too small for the localization net: at least 18"):
        build_model(name, variant, 10, 17)
