"""Transformers in any network: before a layer, several at once, with a small copy for the net, with a lower rate."""

import copy
import io

import numpy as np
import pytest
import timm
import torch
import torchvision
from helpers import refusal
from timm.optim import create_optimizer_v2
from torch import nn

from stn_paper import build_model, with_stn
from stn_paper.errors import InputError
from stn_paper.models import param_groups
from stn_paper.models.transformer import SpatialTransformer


def small():
    """A network with a stage of its own: (B, 3, 48, 48) -> (B, 4); its stage takes (B, 8, 24, 24)."""
    torch.manual_seed(0)
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
    stage = nn.Sequential(nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU()), nn.Dropout(0.5))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    model = nn.Sequential()
    for name, part in (("stem", stem), ("stage", stage), ("head", head)):
        model.add_module(name, part)
    return model


@pytest.mark.parametrize(
    "make, size, layer, channels",
    [
        (lambda: torchvision.models.resnet18(num_classes=4), 80, "layer2", 64),
        (lambda: torchvision.models.efficientnet_b0(num_classes=4), 80, "features.3", 24),
        (lambda: torchvision.models.densenet121(num_classes=4), 80, "features.denseblock1", 64),
        (lambda: timm.create_model("resnet10t", num_classes=4), 80, "layer2", 64),
        (lambda: timm.create_model("convnext_atto", num_classes=4), 80, "stages.0", 40),
        (lambda: timm.create_model("mobilenetv3_small_050", num_classes=4), 80, "blocks.1", 8),
    ],
    ids=["resnet18", "efficientnet_b0", "densenet121", "resnet10t", "convnext", "mobilenet"],
)
def test_a_transformer_before_a_layer_starts_as_the_bare_model_and_trains(make, size, layer, channels):
    model = make().eval()
    names, images = list(model.state_dict()), torch.rand(2, 3, size, size)
    expected = model(images)
    joined = with_stn(model, "stn", size, before=layer)
    assert not joined.training and list(joined.backbone.state_dict()) == names
    torch.testing.assert_close(joined(images), expected, atol=1e-3, rtol=1e-3)
    assert joined.transformer.localization.features[0][0].in_channels == channels
    joined.train()(images).square().sum().backward()
    assert joined.transformer.localization.head[-1].weight.grad.abs().max() > 0


def test_the_feature_maps_that_enter_the_layer_are_warped():
    model = small().eval()
    images = torch.rand(2, 3, 48, 48)
    joined = with_stn(model, "constant", 48, before="stage", transform="translation")
    with torch.no_grad():
        joined.transformer.localization.numbers.copy_(torch.tensor([2 * 3 / 24, 0.0]))  # three columns
    features = model.stem(images)
    moved = nn.functional.pad(features[..., 3:], (0, 3))
    seen = []
    model.stage[0][0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    joined(images)
    torch.testing.assert_close(seen[0], moved, atol=1e-4, rtol=0)


def test_measuring_leaves_the_model_as_it_was():
    model = small()
    model.stem.eval()
    modes = [part.training for part in model.modules()]
    state = copy.deepcopy(model.state_dict())
    joined = with_stn(model, "stn", 48, before="stage")
    assert joined.training and [part.training for part in model.modules()] == modes
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    assert len(model.stage[0][0]._forward_pre_hooks) == 1 and not model.stem[0]._forward_pre_hooks


def test_copies_and_files_have_a_transformer_of_their_own():
    joined = with_stn(small().eval(), "stn", 48, before="stage", padding="border")
    torch.nn.init.normal_(joined.transformer.localization.head[-1].weight, std=0.1)
    images = torch.rand(2, 3, 48, 48)
    expected = joined(images)
    file = io.BytesIO()
    torch.save(joined, file)
    file.seek(0)
    for duplicate in (copy.deepcopy(joined), torch.load(file, weights_only=False)):
        torch.testing.assert_close(duplicate(images), expected)
        torch.nn.init.normal_(joined.transformer.localization.head[-1].weight)
        torch.testing.assert_close(duplicate(images), expected)  # not moved by the first one's weights
        assert duplicate.transformer.last_theta is not None
        torch.nn.init.zeros_(duplicate.transformer.localization.head[-1].weight)
        assert not torch.allclose(duplicate(images), expected)
        joined.load_state_dict(duplicate.state_dict())


def test_several_transformers_in_one_network():
    model = torchvision.models.resnet18(num_classes=4).eval()
    images = torch.rand(2, 3, 80, 80)
    expected = model(images)
    for before, variant in (("layer2", "stn"), ("layer1", "lstn"), (None, "lstn")):
        model = with_stn(model, variant, 80, before=before)
    transformers = [part for part in model.modules() if isinstance(part, SpatialTransformer)]
    assert len(transformers) == 3
    torch.testing.assert_close(model(images), expected, atol=1e-3, rtol=1e-3)
    assert all(part.last_theta.shape == (2, 2, 3) for part in transformers)
    model.train()(images).square().sum().backward()
    assert all(part.localization.head[-1].bias.grad.abs().max() > 0 for part in transformers)


@pytest.mark.parametrize("before", [None, "stage"])
def test_the_transformer_is_on_the_models_device(before):
    # "meta" stands for a GPU
    model = with_stn(small().to("meta"), "lstn", 48, before=before, localization_size=48)
    assert {p.device.type for p in model.parameters()} == {"meta"}
    assert model(torch.zeros(2, 3, 48, 48, device="meta")).shape == (2, 4)


def test_gradient_checkpoints_do_not_skip_the_transformer():
    model = timm.create_model("resnet10t", num_classes=4)
    joined = with_stn(model, "constant", 64, before="layer2", transform="translation")
    model.set_grad_checkpointing()
    joined(torch.rand(2, 3, 64, 64)).square().sum().backward()
    assert joined.transformer.localization.numbers.grad.abs().max() > 0


def test_options_reach_the_transformer():
    model = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten())
    options = {"output_size": 30, "padding": 0.5, "antialias": True, "max_angle": 20, "keep_graph": True}
    joined = with_stn(model, "lstn", 64, transform="similarity", localization_size=32, **options)
    images = torch.rand(2, 3, 90, 70)  # of any size, as the net sees a copy
    assert joined(images).shape == (2, 48)
    assert joined.transformer(images).shape == (2, 3, 30, 30)
    assert joined.transformer.penalty().requires_grad


@pytest.mark.parametrize("variant", ["stn", "vstn", "lstn"])
def test_images_one_pixel_larger_are_refused(variant):
    model = with_stn(nn.Flatten(), variant, np.int64(224)).eval()
    assert model(torch.rand(1, 3, 224, 224)).shape == (1, 3 * 224 * 224)
    with pytest.raises(InputError, match=r"225 x 225 pixels .* for 224 pixels"):
        model(torch.rand(1, 3, 225, 225))


def test_numpys_whole_numbers_are_image_sizes():
    size = np.int64(64)
    assert build_model("resnet18", "lstn", 4, size)(torch.rand(2, 3, 64, 64)).shape == (2, 4)
    with pytest.raises(InputError, match="not allowed"):
        with_stn(nn.Flatten(), "stn", np.float64(64))


@pytest.mark.parametrize(
    "layer, match",
    [
        ("layer9", "'layer9': choose one of stem, stage, head, or"),
        ("", "''"),
        (5, "5"),
        ("head.2", r"its input is \(1, 8\)"),
    ],
)
def test_a_wrong_layer_is_named(layer, match):
    with pytest.raises(InputError, match=match):
        with_stn(small(), "stn", 48, before=layer)


def test_layers_without_images_are_named():
    vit = timm.create_model("test_vit", num_classes=4)
    with pytest.raises(InputError, match=r"'blocks.0' .*\(1, \d+, 64\)"):
        with_stn(vit, "stn", 160, before="blocks.0")
    model = timm.create_model("resnet10t", num_classes=4)
    model.idle = nn.ReLU()
    with pytest.raises(InputError, match="'idle' is not allowed: the network does not call it"):
        with_stn(model, "stn", 64, before="idle")


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_layer_that_is_called_several_times_is_refused(name):
    with pytest.raises(InputError, match=r"'layer1.0.relu' is not allowed: .* [23] times"):
        with_stn(torchvision.models.get_model(name), "constant", 32, before="layer1.0.relu")


@pytest.mark.parametrize(
    "arguments, named", [(("resnet18", "stn", 48), "'resnet18'"), ((nn.ReLU(), "stn", 48, 0), "0")]
)
def test_a_wrong_model_and_number_of_channels_are_named(arguments, named):
    with pytest.raises(InputError, match=named):
        with_stn(*arguments[:3], **dict(zip(["in_channels"], arguments[3:])))


@pytest.mark.parametrize("number", [-1, "10", 2.5])
def test_a_wrong_number_of_classes_is_named(number):
    with pytest.raises(InputError, match=f"num_classes {number!r}"):
        build_model("resnet18", "lstn", number, 64)


def test_a_feature_map_too_small_is_named_with_its_size():
    with pytest.raises(InputError, match=r"before 'layer4' has 4 x 4 pixels. .* at least 18"):
        with_stn(torchvision.models.resnet18(), "stn", 64, before="layer4")
    joined = with_stn(
        torchvision.models.resnet18(num_classes=4), "stn", 64, before="layer4", localization_size=18
    )
    assert joined(torch.rand(2, 3, 64, 64)).shape == (2, 4)


def test_an_option_that_with_stn_does_not_take_is_named():
    for name in ("return_theta", "return_grid", "paddings"):
        with pytest.raises(InputError, match=name):
            with_stn(nn.Flatten(), "stn", 48, **{name: True})


@pytest.mark.parametrize(
    ("name", "channels"),
    [*((name, 3) for name in timm.list_models("test_*")), ("test_vit", 1), ("test_resnet", 4)],
)
def test_small_networks_of_timms_families_take_a_step_behind_a_transformer(name, channels):
    model = timm.create_model(name, num_classes=4, in_chans=channels)
    size = model.pretrained_cfg["input_size"][-1]
    joined = with_stn(model, "lstn", size, channels, keep_graph=True)
    optimizer = torch.optim.SGD(param_groups(joined, 0.01))
    (joined(torch.rand(2, channels, size, size)).square().sum() + joined.transformer.penalty()).backward()
    optimizer.step()
    state = {key: value.clone() for key, value in joined.state_dict().items()}
    loaded = with_stn(timm.create_model(name, num_classes=4, in_chans=channels), "lstn", size, channels)
    loaded.load_state_dict(state)
    images = torch.rand(2, channels, size, size)
    torch.testing.assert_close(loaded.eval()(images), joined.eval()(images))


@pytest.mark.parametrize("options", [{"num_classes": 0}, {"features_only": True}])
def test_networks_without_a_head_pass_their_features_on(options):
    model = timm.create_model("test_resnet", **options).eval()
    images = torch.rand(2, 3, 160, 160)
    torch.testing.assert_close(with_stn(model, "lstn", 160)(images), model(images), atol=1e-3, rtol=1e-3)


# --- rates ---


def test_localization_nets_learn_more_slowly_under_any_optimizer():
    model = with_stn(with_stn(small(), "stn", 48, before="stage"), "lstn", 48)
    others, slow = param_groups(model, lr=0.5, localization_rate=0.02)
    assert (others["lr"], slow["lr"]) == (0.5, 0.01)
    nets = [part.localization for part in model.modules() if isinstance(part, SpatialTransformer)]
    assert {id(p) for p in slow["params"]} == {id(p) for net in nets for p in net.parameters()}
    assert len(others["params"]) + len(slow["params"]) == len(list(model.parameters()))
    for make in (torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop):
        make(param_groups(model, 0.1), weight_decay=0.1)
    create_optimizer_v2(param_groups(model, 0.1), "adamw", lr=0.1)


def test_a_network_without_a_transformer_has_one_group():
    (group,) = param_groups(small(), 0.1)
    assert len(group["params"]) == len(list(small().parameters()))


def test_numpys_numbers_are_rates_that_a_checkpoint_can_hold():
    optimizer = torch.optim.SGD(param_groups(with_stn(small(), "stn", 48), np.float32(0.5), np.float32(0.25)))
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    assert [group["lr"] for group in torch.load(file, weights_only=True)["param_groups"]] == [0.5, 0.125]


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), "1", 10**400])
def test_a_wrong_rate_is_named(wrong):
    for rates in ((wrong, 0.1), (0.1, wrong)):
        assert f" {wrong!r} " in refusal(param_groups, small(), *rates)
