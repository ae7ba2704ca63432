"""The paper's networks in timm's registry: import this module, then `timm.create_model("lstn_resnet50")`.

| names | backbone |
| --- | --- |
| `stn_`, `vstn_`, `lstn_` + `resnet18` .. `resnet152`, `densenet121`, `densenet169`, `densenet201` | timm's |
| the same + `densenet264` | timm's DenseNet class at a depth that timm does not list |
| the same + `alexnet`, `effb0` .. `effb5` | torchvision's AlexNet, the paper's own EfficientNet |

A model is `TimmTransformer`: `.transformer` warps images, `.backbone` classifies them.
"""

import sys
from dataclasses import asdict
from inspect import signature
from typing import Any

import timm
from timm.models import PretrainedCfg, checkpoint_seq, register_model
from torch import Tensor, nn

from ..errors import InputError, check_whole_number
from .backbones import BACKBONES, build_backbone, check_image_size
from .insertion import OPTIONS as STN_OPTIONS
from .insertion import with_stn
from .localization import LOCALIZATION_NETS

# arguments of `with_stn`; all other arguments of timm.create_model go to the backbone
OPTIONS = ("transform", "applied", "before", "localization_size", *STN_OPTIONS)
BACKBONE_ATTRIBUTES = (
    "num_classes",
    "num_features",
    "head_hidden_size",
    "feature_info",
    "drop_rate",
    "global_pool",
)


class TimmTransformer(nn.Module):
    """A network with timm's methods behind a spatial transformer, as `timm.create_model` returns it.

    It takes (B, in_chans, S, S), where S is the last number of `pretrained_cfg["input_size"]`, and returns logits
    (B, num_classes). `forward_features`, `forward_head` and `forward_intermediates` are those of the backbone;
    AlexNet and the paper's EfficientNets have no `forward_intermediates`, no `feature_info`, and only the pooling
    "avg". Parameters are named "transformer.*" and "backbone.*".

    `timm.create_model` takes `img_size`, the arguments of `with_stn` from `transform` on, and the backbone's arguments.

    >>> import stn_paper.models.timm_models
    >>> model = timm.create_model("lstn_resnet18", num_classes=10, img_size=64, transform="similarity")
    >>> model.forward_features(torch.rand(5, 3, 64, 64)).shape
    torch.Size([5, 512, 2, 2])
    """

    transformer: Any
    backbone: Any  # a network of timm, whose methods no common class declares

    def __init__(self, joined: nn.Module, at_input: bool, pretrained_cfg: dict):
        super().__init__()
        self.transformer, self.backbone = joined.transformer, joined.backbone
        self.at_input = at_input  # False: a hook of the backbone's layer calls the transformer
        self.pretrained_cfg = self.default_cfg = pretrained_cfg

    def __getattr__(self, name):
        """Return the backbone's attribute, for BACKBONE_ATTRIBUTES; called only for names that this module lacks."""
        if name in BACKBONE_ATTRIBUTES:
            return getattr(self.backbone, name)
        return super().__getattr__(name)

    def warped(self, images: Tensor) -> Tensor:
        """Return the backbone's input: the warped images, or the images if their feature maps are warped later."""
        return self.transformer(images) if self.at_input else images

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(self.warped(images))

    def forward_features(self, images: Tensor) -> Tensor:
        return self.backbone.forward_features(self.warped(images))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        return self.backbone.forward_head(features, pre_logits=pre_logits)

    def forward_intermediates(self, images: Tensor, *args, **kwargs):
        if not hasattr(self.backbone, "forward_intermediates"):
            name = self.pretrained_cfg["architecture"]
            raise InputError(f"forward_intermediates is not allowed for {name}: choose a network of timm.")
        return self.backbone.forward_intermediates(self.warped(images), *args, **kwargs)

    def get_classifier(self) -> nn.Module:
        return self.backbone.get_classifier()

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        self.backbone.reset_classifier(num_classes, *([] if global_pool is None else [global_pool]))

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        self.backbone.set_grad_checkpointing(enable)

    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters without weight decay; all are the backbone's."""
        names = getattr(self.backbone, "no_weight_decay", set)()
        return {f"backbone.{name}" for name in names}

    def group_matcher(self, coarse: bool = False) -> dict:
        """Return patterns of parameter names for timm's layer-wise decay; the transformer belongs to the stem."""
        groups = self.backbone.group_matcher(coarse=coarse)
        return {part: _prefixed(pattern, stem=part == "stem") for part, pattern in groups.items()}


def _prefixed(pattern, stem):
    """Return a pattern of the backbone's names, or a list of patterns, for names with the prefix "backbone."."""
    if isinstance(pattern, (list, tuple)):
        return [(_prefixed(first, stem), *rest) for first, *rest in pattern]
    inside = r"^backbone\.(?:" + pattern.removeprefix("^") + ")"
    return rf"^transformer\.|{inside}" if stem else inside


class Plain(nn.Module):
    """Give timm's methods to a network that lacks them, split into `features`, `neck` and a linear `head`.

    (B, 3, H, W) -> features: feature maps -> neck: (B, num_features) -> head: logits (B, num_classes).
    """

    def __init__(self, features: nn.Module, neck: nn.Module, head: nn.Linear, drop_rate: float | None = None):
        super().__init__()
        self.features, self.neck, self.head = features, neck, head
        self.num_features = self.head_hidden_size = head.in_features
        self.num_classes, self.grad_checkpointing = head.out_features, False
        self.global_pool, self.drop_rate = "avg", 0.0
        for part in self.modules():
            if isinstance(part, nn.Dropout):
                self.drop_rate = part.p = part.p if drop_rate is None else drop_rate
            if isinstance(part, nn.ReLU):
                part.inplace = False  # gradient checkpointing must not change its input

    def forward_features(self, images: Tensor) -> Tensor:
        if self.grad_checkpointing and self.training:
            return checkpoint_seq(self.features, images)
        return self.features(images)

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        numbers = self.neck(features)
        return numbers if pre_logits else self.head(numbers)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(images))

    def get_classifier(self) -> nn.Module:
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the head by a new one of the same type and on the same device, or by nothing for 0 classes.

        Raises InputError for another `global_pool` than "avg".
        """
        if global_pool not in (None, self.global_pool):
            raise InputError(f"global_pool {global_pool!r} is not allowed for this network: give 'avg'.")
        self.num_classes, like = num_classes, next(self.parameters())
        self.head = nn.Identity()
        if num_classes:
            self.head = nn.Linear(self.num_features, num_classes, device=like.device, dtype=like.dtype)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        self.grad_checkpointing = enable

    def group_matcher(self, coarse: bool = False) -> dict:
        return {"stem": r"^features\.0", "blocks": r"^features\.(\d+)"}


def _plain(name, num_classes=1000, in_chans=3, drop_rate=None, **others):
    """Return AlexNet or one of the paper's EfficientNets as `Plain`."""
    for option, value in others.items():
        allowed = ", ".join(("num_classes", "drop_rate", "img_size", *OPTIONS))
        raise InputError(f"{option} {value!r} is not allowed for {name}: give only {allowed}.")
    if in_chans != 3:
        raise InputError(f"in_chans {in_chans!r} is not allowed for {name}: give 3.")
    net: Any = build_backbone(name, num_classes or 1, None)
    if name == "alexnet":
        neck = nn.Sequential(net.avgpool, nn.Flatten(), *net.classifier[:-1])
        plain = Plain(net.features, neck, net.classifier[-1], drop_rate)
    else:
        plain = Plain(net[0], net[1:-1], net[-1], drop_rate)
    if not num_classes:
        plain.reset_classifier(0)
    return plain


def _backbone(name, pretrained, **kwargs):
    """Return the network `name` of BACKBONES with timm's methods; `kwargs` are arguments of `timm.create_model`."""
    if timm.is_model(name):
        return timm.create_model(name, pretrained=pretrained, **kwargs)
    if pretrained:
        raise InputError(f"pretrained True is not allowed for {name}, which has no weights: give False.")
    kwargs = {key: value for key, value in kwargs.items() if key not in SOURCES}
    if name == "densenet264":
        for option in kwargs.keys() - signature(timm.models.DenseNet).parameters.keys():
            raise InputError(f"{option} {kwargs[option]!r} is not allowed for {name}.")
        return timm.models.DenseNet(growth_rate=32, block_config=(6, 12, 64, 48), **kwargs)
    return _plain(name, **kwargs)


SOURCES = ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")  # where timm gets weights from


def _config(name, backbone, cfg):
    """Return timm's settings of the model `name`: those of the backbone, with the paper's image size."""
    cfg = {key: value for key, value in cfg.items() if value is not None}
    for key in ("test_input_size", "test_crop_pct", "url", "hf_hub_id", "tag", "pool_size", "test_pool_size"):
        cfg.pop(key, None)
    if backbone not in IN_TIMM:  # names of layers in Plain; `cfg` has the names of timm's layers
        cfg |= {"first_conv": "features.0", "classifier": "head"}
    if backbone == "densenet264":
        cfg |= {"first_conv": "features.conv0", "classifier": "classifier"}
    named = {key: f"backbone.{cfg[key]}" for key in ("first_conv", "classifier") if key in cfg}
    size = BACKBONES[backbone].image_size
    return cfg | named | {"architecture": name, "input_size": (3, size, size), "fixed_input_size": True}


def _create(name, variant, backbone, pretrained=False, img_size=None, **kwargs):
    """Build the model `name`; `kwargs` are OPTIONS and arguments of the backbone."""
    size = BACKBONES[backbone].image_size if img_size is None else check_whole_number("img_size", img_size)
    check_image_size(backbone, size)
    overlay = kwargs.get("pretrained_cfg_overlay") or {}
    if "input_size" in overlay:
        raise InputError("input_size is not allowed in pretrained_cfg_overlay: give img_size.")
    options = {option: kwargs.pop(option) for option in OPTIONS if option in kwargs}
    network = _backbone(backbone, pretrained, **kwargs)
    channels = kwargs.get("in_chans", 3)
    joined = with_stn(network, variant, size, channels, **options)
    cfg = default_cfgs[name] | {"input_size": (channels, size, size)}
    if weights := getattr(network, "pretrained_cfg", None):
        cfg |= {key: weights[key] for key in ("mean", "std", "interpolation", "crop_pct") if key in weights}
    return TimmTransformer(joined, options.get("before") is None, cfg | overlay)


def _register(variant, backbone):
    name = f"{variant}_{backbone}"

    def create(pretrained=False, **kwargs):
        return _create(name, variant, backbone, pretrained, **kwargs)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"{BACKBONES[backbone].title} behind the paper's {variant}: see `TimmTransformer`."
    cfg = (timm.get_pretrained_cfg(backbone) if backbone in IN_TIMM else None) or PretrainedCfg()
    default_cfgs[name] = _config(name, backbone, asdict(cfg))
    setattr(sys.modules[__name__], name, create)
    register_model(create)


IN_TIMM = tuple(name for name in BACKBONES if timm.is_model(name))  # backbones that timm has too
default_cfgs = {}  # timm reads this name
__all__ = ["TimmTransformer"]
for _variant in LOCALIZATION_NETS:
    for _name in BACKBONES:
        _register(_variant, _name)
