"""Smaller systems with a spatial transformer, from documents beside the paper: each network in a screen.

`build_model` calls them by the names of `SYSTEMS`; the protocol `system` has their settings. All take
(B, 3, S, S), grey images as three equal channels, and return logits (B, num_classes).
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from .localization import (
    ABLATIONS,
    CONSTANT,
    LOCALIZATION_NETS,
    Row,
    feature_size,
    layers,
    localization,
    localization_net,
)
from .transformer import SpatialTransformer


class System(NamedTuple):
    title: str
    image_size: int
    smallest: int  # pixels of a side that the network can take; a localization net may need more
    variants: tuple[str, ...]  # names out of models.HEADINGS
    build: Callable[[str, int, int], nn.Module]  # (variant, num_classes, image_size) -> nn.Module


def _classifier(first, second, hidden, num_classes, image_size):
    """Two 5 x 5 convolutions of `first` and `second` channels and two linear layers, with dropout."""
    side = ((image_size - 4) // 2 - 4) // 2
    return nn.Sequential(
        nn.Conv2d(3, first, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(first, second, 5),
        nn.Dropout2d(0.5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * side**2, hidden),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(hidden, num_classes),
    )


def cifar_cnn(variant: str, num_classes: int, image_size: int) -> nn.Module:
    """Two convolutions and two linear layers for CIFAR-10, and a wide localization net before them.

    The layers are those that the document prints; where ReLU and dropout stand between them it does not say,
    and they stand here as in PyTorch's tutorial on spatial transformers, whose names for layers it uses.
    """
    backbone = _classifier(16, 32, 1024, num_classes, image_size)
    if variant == "original":
        return backbone
    rows = Row("conv", 7, 64), Row("pool", 2, 64, 2), Row("conv", 5, 128), Row("pool", 2, 128, 2)
    transformer = SpatialTransformer(localization(rows, image_size, hidden=256))
    return nn.Sequential(OrderedDict(transformer=transformer, backbone=backbone))


def mnist_cnn(variant: str, num_classes: int, image_size: int) -> nn.Module:
    """Two convolutions and two linear layers for distorted digits, alone or behind one transformer.

    The document names no layers; these are those of PyTorch's tutorial. The localization net is the paper's
    (stn, vstn, lstn with affine maps), or STN with projective maps or thin plate splines.
    """
    backbone = _classifier(10, 20, 50, num_classes, image_size)
    if variant == "original":
        return backbone
    net, transform = (
        (variant, "affine") if variant in (*LOCALIZATION_NETS, *ABLATIONS, CONSTANT) else ("stn", variant)
    )
    transformer = SpatialTransformer(localization_net(net, image_size, transform=transform), transform)
    return nn.Sequential(OrderedDict(transformer=transformer, backbone=backbone))


SIGN_ROWS = (  # three convolutions, each followed by pooling and ReLU
    (Row("conv", 7, 100), Row("pool", 2, 100, 2)),
    (Row("conv", 4, 150), Row("pool", 2, 150, 2), Row("conv", 4, 250), Row("pool", 2, 250, 2)),
)


def sign_cnn(variant: str, num_classes: int, image_size: int) -> nn.Module:
    """Three convolutions and two linear layers for traffic signs, with none, one or two transformers.

    The first transformer stands at the input, the second on the feature map of the first convolution.
    Widths are those of one column of the ensemble of 25 that the document compares with; a localization net
    has two convolutions of its own.
    """
    first, second = (layers(rows, channels) for rows, channels in zip(SIGN_ROWS, (3, 100)))
    middle = feature_size(SIGN_ROWS[0], image_size)
    side = feature_size(SIGN_ROWS[1], middle)
    parts = OrderedDict()
    if variant != "original":
        rows = Row("conv", 5, 50), Row("pool", 2, 50, 2), Row("conv", 5, 100), Row("pool", 2, 100, 2)
        parts["transformer"] = SpatialTransformer(localization(rows, image_size, hidden=100))
    parts["first"] = first
    if variant == "two":
        rows = Row("conv", 3, 100), Row("pool", 2, 100, 2), Row("conv", 3, 100), Row("pool", 2, 100, 2)
        parts["inner"] = SpatialTransformer(localization(rows, middle, 100, hidden=100))
    parts["second"] = second
    parts["head"] = nn.Sequential(
        nn.Flatten(), nn.Linear(250 * side**2, 300), nn.ReLU(), nn.Dropout(0.5), nn.Linear(300, num_classes)
    )
    return nn.Sequential(parts)


SYSTEMS = {
    "cifar-cnn": System("Small CNN", 32, 16, ("original", "affine"), cifar_cnn),
    "mnist-cnn": System(
        "Digit CNN", 42, 16, ("original", "stn", "vstn", "lstn", "projective", "tps"), mnist_cnn
    ),
    "sign-cnn": System("Sign CNN", 32, 32, ("original", "one", "two"), sign_cnn),
}
