"""The paper's networks in timm's registry, with timm's methods and settings."""

import copy

import pytest
import timm
import torch
from timm.data import resolve_model_data_config
from timm.optim import create_optimizer_v2
from torch import nn

from stn_paper.errors import InputError
from stn_paper.models import timm_models
from stn_paper.models.backbones import BACKBONES
from stn_paper.models.localization import LOCALIZATION_NETS

NAMES = [f"{variant}_{backbone}" for variant in LOCALIZATION_NETS for backbone in BACKBONES]
SMALL = {"lstn_resnet18": 64, "stn_densenet121": 64, "vstn_effb0": 64, "lstn_alexnet": 70}


@pytest.fixture(params=SMALL, scope="module")
def model(request):
    return timm.create_model(request.param, num_classes=4, img_size=SMALL[request.param])


def test_timm_lists_every_net_before_every_backbone():
    listed = timm.list_models(["stn_*", "vstn_*", "lstn_*"])
    assert sorted(NAMES) == sorted(listed) and "lstn_resnet50" in timm.list_models()
    assert timm.list_models("lstn_*", module="timm_models")
    assert not timm.list_models("lstn_*", pretrained=True)


def test_every_name_has_its_backbones_settings():
    for name in NAMES:
        backbone = name.split("_")[1]
        cfg = timm.get_pretrained_cfg(name)
        size = BACKBONES[backbone].image_size
        assert cfg.input_size == (3, size, size) and cfg.architecture == name
        if timm.is_model(backbone):
            original = timm.get_pretrained_cfg(backbone)
            for field in ("mean", "std", "interpolation"):
                assert getattr(cfg, field) == getattr(original, field), (name, field)


@pytest.mark.parametrize("name", ["lstn_resnet152", "lstn_densenet264", "lstn_effb5", "lstn_alexnet"])
def test_the_named_layers_exist_and_large_networks_build(name):
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=7)
    layers = dict(model.named_modules())
    assert isinstance(layers[model.pretrained_cfg["classifier"]], nn.Linear)
    first = layers[model.pretrained_cfg["first_conv"]]
    assert next(m for m in first.modules() if isinstance(m, nn.Conv2d)).in_channels == 3
    assert model.default_cfg is model.pretrained_cfg and model.num_classes == 7
    assert len(model.pretrained_cfg["mean"]) == len(model.pretrained_cfg["std"]) == 3


def test_features_and_head_make_the_logits_which_are_the_backbones(model):
    model.eval()
    images = torch.rand(2, *resolve_model_data_config(model)["input_size"])
    logits = model(images)
    assert logits.shape == (2, 4)
    torch.testing.assert_close(model.forward_head(model.forward_features(images)), logits)
    torch.testing.assert_close(model.backbone(images), logits, atol=1e-3, rtol=1e-3)
    numbers = model.forward_head(model.forward_features(images), pre_logits=True)
    assert numbers.shape == (2, model.num_features) == (2, model.head_hidden_size)


def test_features_see_warped_images(model):
    moved = copy.deepcopy(model).eval()
    images = torch.rand(2, *resolve_model_data_config(model)["input_size"])
    with torch.no_grad():
        moved.transformer.localization.head[-1].bias[2] = 0.5
    warped = moved.transformer(images)
    assert not torch.allclose(warped, images)
    torch.testing.assert_close(moved.forward_features(images), moved.backbone.forward_features(warped))
    torch.testing.assert_close(moved(images), moved.backbone(warped))


def test_the_classifier_is_found_and_replaced(model):
    model = copy.deepcopy(model).eval()
    images = torch.rand(2, *resolve_model_data_config(model)["input_size"])
    assert isinstance(model.get_classifier(), nn.Linear)
    model.reset_classifier(9, "avg")
    assert model(images).shape == (2, 9) and model.num_classes == 9
    model.reset_classifier(0)
    assert model(images).shape == (2, model.num_features)


def test_gradient_checkpoints_leave_the_gradients_as_they_are(model):
    gradients = []
    for checkpoints in (False, True):
        torch.manual_seed(0)
        trained = copy.deepcopy(model).train()
        for part in trained.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
        trained.set_grad_checkpointing(checkpoints)
        assert any(getattr(p, "grad_checkpointing", False) for p in trained.modules()) == checkpoints
        torch.manual_seed(1)
        trained(torch.rand(2, *resolve_model_data_config(model)["input_size"])).square().sum().backward()
        gradients.append([p.grad for p in trained.transformer.parameters()])
    assert all(gradient is not None for gradient in gradients[0])
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-3)


def test_timms_optimizers_take_the_model(model):
    create_optimizer_v2(model, "adamw", lr=1e-3, weight_decay=0.05)
    groups = create_optimizer_v2(model, "adamw", lr=1e-3, layer_decay=0.5).param_groups
    names = {id(p): name for name, p in model.named_parameters()}
    scale = {names[id(p)]: group["lr_scale"] for group in groups for p in group["params"]}
    stem = [value for name, value in scale.items() if name.startswith("transformer.")]
    assert set(stem) == {min(scale.values())} and len(set(scale.values())) > 2


def test_names_that_weight_decay_leaves_alone_are_the_models_own():
    vit = timm.create_model("test_vit", num_classes=4)
    joined = timm_models.with_stn(vit, "lstn", 160)
    model = timm_models.TimmTransformer(joined, True, vit.pretrained_cfg)
    assert model.no_weight_decay() == {"backbone.pos_embed", "backbone.cls_token"} | {
        f"backbone.{name}" for name in vit.no_weight_decay()
    }
    assert timm.create_model("stn_resnet18", img_size=32).no_weight_decay() == set()


def test_options_of_the_transformer_and_of_the_backbone():
    options = {"transform": "similarity", "padding": "border", "max_angle": 20}
    model = timm.create_model("lstn_resnet18", num_classes=3, in_chans=1, img_size=64, **options)
    assert model.transformer.transform == "similarity" and model.transformer.max_angle == 20
    assert model(torch.rand(2, 1, 64, 64)).shape == (2, 3)
    assert model.pretrained_cfg["input_size"] == (1, 64, 64)
    inner = timm.create_model("stn_resnet18", num_classes=3, img_size=160, before="layer2")
    inner.eval()(torch.rand(2, 3, 160, 160))
    assert inner.transformer.last_theta.shape == (2, 2, 3)
    assert inner.transformer.localization.features[0][0].in_channels == 64
    state = set(inner.state_dict())
    assert len(state) == len(inner.transformer.state_dict()) + len(inner.backbone.state_dict())


def test_the_papers_networks_have_timms_settings():
    assert timm.create_model("lstn_effb0", img_size=64).drop_rate == 0.2
    model = timm.create_model("lstn_effb0", img_size=64, drop_rate=0.4)
    assert (model.drop_rate, model.global_pool) == (0.4, "avg")


def test_a_new_head_has_the_networks_type_and_device():
    model = timm.create_model("lstn_effb0", img_size=64).bfloat16().eval()
    model.reset_classifier(5)
    assert model(torch.rand(2, 3, 64, 64, dtype=torch.bfloat16)).shape == (2, 5)
    model.to("meta").reset_classifier(6, "avg")
    assert model.get_classifier().weight.device.type == "meta"
    for pool in ("", "max"):
        with pytest.raises(InputError, match=f"global_pool '{pool}'"):
            model.reset_classifier(0, pool)
    with pytest.raises(InputError, match="forward_intermediates"):
        model.forward_intermediates(torch.rand(2, 3, 64, 64))


def test_a_bypassed_transformer_and_an_overlay_are_options():
    overlay = {"mean": (0.1, 0.2, 0.3), "crop_mode": "squash"}
    for name in ("lstn_effb0", "lstn_resnet18"):
        model = timm.create_model(name, img_size=64, applied=False, pretrained_cfg_overlay=overlay).eval()
        images = torch.rand(2, 3, 64, 64)
        torch.nn.init.normal_(model.transformer.localization.head[-1].weight)
        torch.testing.assert_close(model(images), model.backbone(images))
        assert overlay.items() <= model.pretrained_cfg.items()


def test_intermediate_features_pass_through():
    model = timm.create_model("lstn_resnet18", num_classes=3, img_size=64).eval()
    images = torch.rand(2, 3, 64, 64)
    _, maps = model.forward_intermediates(images)
    expected = model.backbone.forward_intermediates(model.transformer(images))[1]
    torch.testing.assert_close(maps, expected)
    features = timm.create_model("lstn_resnet18", features_only=True, img_size=64)
    assert [m.shape[1] for m in features(images)] == features.feature_info.channels()


@pytest.mark.parametrize(
    "name, arguments, match",
    [
        ("lstn_effb0", {"pretrained": True}, "pretrained True"),
        ("lstn_effb0", {"in_chans": 1}, "in_chans 1"),
        ("lstn_effb0", {"features_only": True}, "features_only True"),
        ("lstn_densenet264", {"features_only": True, "img_size": 64}, "features_only True"),
        ("lstn_effb0", {"global_pool": ""}, "global_pool ''"),
        ("lstn_effb0", {"pretrained_cfg_overlay": {"input_size": (3, 64, 64)}}, "input_size"),
        ("lstn_resnet18", {"img_size": 64.0}, "img_size 64.0"),
        ("lstn_alexnet", {"img_size": 32}, "at least 63"),
        ("lstn_resnet18", {"img_size": 64, "padding": "zero"}, "padding 'zero'"),
    ],
)
def test_a_wrong_value_is_named(name, arguments, match):
    with pytest.raises(InputError, match=match):
        timm.create_model(name, **arguments)


def test_a_few_steps_of_training_lower_the_loss():
    torch.manual_seed(0)
    model = timm.create_model("lstn_resnet18", num_classes=2, img_size=32)
    optimizer = create_optimizer_v2(model, "adamw", lr=1e-3)
    images = torch.rand(8, 3, 32, 32)
    images[::2, :, :16] = 0
    labels = torch.arange(8) % 2
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
