"""Backbones by name, each with the input size that the paper states for it.

`build_model` calls `build_backbone`. To add a backbone, add a row to `BACKBONES`. timm and torchvision are imported
only where they are needed, because their import takes seconds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from ..errors import InputError, check_choice, check_whole_number
from .efficientnet import efficientnet
from .small_nets import SYSTEMS


class Backbone(NamedTuple):
    title: str  # the paper's spelling, with its misprints corrected
    image_size: int  # the paper's, in pixels of a side
    build: Callable[[str, int], nn.Module]  # (name, num_classes) -> nn.Module
    smallest: int = 1  # the smallest image size that the network can take


def _torchvision(name, num_classes):
    from torchvision import models

    return getattr(models, name)(weights=None, num_classes=num_classes)


def _densenet264(_, num_classes):
    """DenseNet-264 of Huang et al., in the last row of Table 4; torchvision does not have it."""
    from torchvision import models

    return models.DenseNet(32, (6, 12, 64, 48), num_classes=num_classes)


BACKBONES = {
    "alexnet": Backbone("AlexNet", 224, _torchvision, smallest=63),
    "effb0": Backbone("EfficientNet-b0", 224, efficientnet),
    "effb1": Backbone("EfficientNet-b1", 240, efficientnet),
    "effb2": Backbone("EfficientNet-b2", 260, efficientnet),
    "effb3": Backbone("EfficientNet-b3", 300, efficientnet),
    "effb4": Backbone("EfficientNet-b4", 380, efficientnet),
    "effb5": Backbone("EfficientNet-b5", 456, efficientnet),
    "resnet18": Backbone("ResNet-18", 224, _torchvision),
    "resnet34": Backbone("ResNet-34", 224, _torchvision),
    "resnet50": Backbone("ResNet-50", 224, _torchvision),
    "resnet101": Backbone("ResNet-101", 224, _torchvision),
    "resnet152": Backbone("ResNet-152", 224, _torchvision),
    "densenet121": Backbone("DenseNet-121", 224, _torchvision, smallest=29),
    "densenet169": Backbone("DenseNet-169", 224, _torchvision, smallest=29),
    "densenet201": Backbone("DenseNet-201", 224, _torchvision, smallest=29),
    "densenet264": Backbone("DenseNet-264", 224, _densenet264, smallest=29),
}
TIMM = "timm/"  # any other backbone is timm/<any timm name>


def check_backbone(name: str) -> str:
    """Return `name` if it is a backbone of the paper, a smaller system or timm/<name>, else raise InputError."""
    if not str(name).startswith(TIMM):
        return check_choice("backbone", name, [*BACKBONES, *SYSTEMS, f"{TIMM}<name>"])
    try:
        known = _timm_config(name) is not None
    except RuntimeError:  # a known network of timm with an unknown tag of weights
        known = False
    if not known:
        raise InputError(f"Unknown backbone {name!r}: timm.list_models() lists the allowed names.")
    return name


def _timm_config(name):
    import timm

    return timm.get_pretrained_cfg(name.removeprefix(TIMM))


def title(name: str) -> str:
    """Return the paper's spelling of the backbone `name`; a timm name is returned unchanged."""
    row = BACKBONES.get(name) or SYSTEMS.get(name)
    return row.title if row else name


def input_size(name: str) -> int:
    """Return the image size, in pixels of a side, that the paper, the smaller system or timm states for `name`."""
    if row := BACKBONES.get(name) or SYSTEMS.get(name):
        return row.image_size
    return _timm_config(check_backbone(name)).input_size[-1]


def labels_of(name: str) -> int:
    """Return how many labels the network `name` predicts for an image: 1, or 3 for digit sequences."""
    return SYSTEMS[name].labels if name in SYSTEMS else 1


def check_image_size(name: str, image_size: int) -> int:
    """Return `image_size`, pixels of a side, if the network `name` can take it, else raise InputError."""
    row = BACKBONES.get(name) or SYSTEMS.get(name)
    image_size = check_whole_number("Image size", image_size)
    if row and image_size < row.smallest:
        raise InputError(
            f"Image size {image_size} is too small for {row.title}: "
            f"at least {row.smallest} pixels a side are needed."
        )
    return image_size


def build_backbone(name: str, num_classes: int, image_size: int | None) -> nn.Module:
    """Build an untrained backbone from (B, 3, image_size, image_size) to logits (B, num_classes).

    Raises InputError for an unknown name. It does not check the image size; `check_image_size` does.
    """
    if row := BACKBONES.get(check_backbone(name)):
        return row.build(name, num_classes)
    import timm

    fixed = _timm_config(name).fixed_input_size  # for example vision transformers
    size: dict[str, Any] = {"img_size": image_size} if fixed else {}
    return timm.create_model(name.removeprefix(TIMM), num_classes=num_classes, **size)
