"""The networks of the smaller systems, from other documents than the paper.

`build_model` builds them by their names in `SYSTEMS`. The protocol `system` has the settings of their training. All
take (B, 3, S, S), grey images as three equal channels, and return logits (B, num_classes); `sequence_cnn` returns
(B, num_classes, digits).
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from ..errors import InputError
from . import guards
from .localization import (
    ABLATIONS,
    CONSTANT,
    LOCALIZATION_NETS,
    Row,
    build_layers,
    feature_size,
    localization,
    localization_net,
    minimum_size,
)
from .transformer import SpatialTransformer, sampling_grid, warp

PAPER_NETS = (*LOCALIZATION_NETS, *ABLATIONS, CONSTANT)  # variants that `localization_net` builds


class Grey(nn.Module):
    """Keep one channel (B, 1, H, W) of grey images (B, 3, H, W), whose three channels are equal."""

    def forward(self, images):
        return images[:, :1].contiguous()


class GreyTransformer(SpatialTransformer):
    """A transformer of grey images (B, 3, H, W): it warps and returns one channel (B, 1, h, w)."""

    def forward(self, images):
        return super().forward(images[:, :1].contiguous())

    def theta(self, images):
        return super().theta(images[:, :1].contiguous())


class System(NamedTuple):
    title: str
    image_size: int
    smallest: int  # the smallest image size that the network can take; a localization net may need more
    variants: tuple[str, ...]  # names out of models.HEADINGS
    build: Callable[[str, int, int], nn.Module]  # (variant, num_classes, image_size) -> nn.Module
    labels: int = 1  # labels that the network predicts for an image


def _classifier(first, second, hidden, num_classes, image_size, dropout=0.5):
    """Return two 5 x 5 convolutions of `first` and `second` channels and two linear layers, with dropout."""
    side = ((image_size - 4) // 2 - 4) // 2
    return nn.Sequential(
        nn.Conv2d(3, first, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(first, second, 5),
        nn.Dropout2d(dropout),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * side**2, hidden),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, num_classes),
    )


def cifar_cnn(variant: str, num_classes: int, image_size: int) -> nn.Module:
    """Two convolutions and two linear layers for CIFAR-10, alone or behind a transformer with a wide localization net.

    The document prints the layers, but not the places of ReLU and dropout. Here they are where PyTorch's tutorial on
    spatial transformers has them, because the document uses the tutorial's names of layers.
    """
    backbone = _classifier(16, 32, 1024, num_classes, image_size)
    if variant == "original":
        return backbone
    rows = Row("conv", 7, 64), Row("pool", 2, 64, 2), Row("conv", 5, 128), Row("pool", 2, 128, 2)
    transformer = SpatialTransformer(localization(rows, image_size, hidden=256))
    return nn.Sequential(OrderedDict(transformer=transformer, backbone=backbone))


def mnist_cnn(variant: str, num_classes: int, image_size: int, dropout: float = 0.5) -> nn.Module:
    """Two convolutions and two linear layers for distorted digits, alone or behind one transformer.

    The document names no layers; here they are the layers of PyTorch's tutorial. The localization net is one of the
    paper's three with affine maps, or the paper's STN with projective maps or thin plate splines. With dropout,
    these small layers underfit: without a transformer, their test error on mnist-rts is 10 %.
    """
    backbone = _classifier(10, 20, 50, num_classes, image_size, dropout)
    if variant == "original":
        return backbone
    net, transform = (variant, "affine") if variant in PAPER_NETS else ("stn", variant)
    transformer = SpatialTransformer(localization_net(net, image_size, transform=transform), transform)
    return nn.Sequential(OrderedDict(transformer=transformer, backbone=backbone))


DIGIT_ROWS = Row("conv+bn", 5, 32), Row("pool", 2, 32, 2), Row("conv+bn", 5, 64), Row("pool", 2, 64, 2)
DIGIT_LOCALIZATION = Row("conv+bn", 5, 16, 2, 2), Row("pool", 2, 16, 2), Row("conv+bn", 5, 32)


def mnist_cnn_400k(variant: str, num_classes: int, image_size: int) -> nn.Module:
    """About 400,000 weights for distorted digits: two convolutions, two linear layers, alone or behind a transformer.

    Jaderberg et al. 2015 state the number of weights and two convolutions with pooling; batch normalization and the
    localization net of the variants affine, projective and tps are ours. The other variants have the paper's
    localization nets, which here read one grey channel.
    """
    side = feature_size(DIGIT_ROWS, image_size)
    backbone = nn.Sequential(
        Grey(),
        build_layers(DIGIT_ROWS, 1),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(64 * side**2, 112),
        nn.ReLU(),
        nn.Linear(112, num_classes),
    )
    if variant == "original":
        return backbone
    if variant in PAPER_NETS:
        transformer = GreyTransformer(localization_net(variant, image_size, in_channels=1))
    else:
        net = localization(DIGIT_LOCALIZATION, image_size, 1, hidden=48, transform=variant)
        transformer = GreyTransformer(net, variant)
    return nn.Sequential(OrderedDict(transformer=transformer, backbone=backbone))


# reads a feature map, not images
PLACED_LOCALIZATION = (Row("conv+bn", 3, 32), Row("pool", 2, 32, 2), Row("conv+bn", 3, 32))


class PlacedTransformer(SpatialTransformer):
    """A transformer whose localization net reads a feature map: the output of the layers `features`.

    It takes grey images (B, 3, H, W) and returns their feature map, warped; with `warps_input`, it returns the feature
    map of the warped images.
    """

    def __init__(self, features, localization, warps_input):
        super().__init__(localization)
        self.features, self.warps_input = features, warps_input

    def forward(self, images):
        images = images[:, :1].contiguous()
        if not self.applied:
            return self.features(images)
        if self.warps_input:
            return self.features(super().forward(images))
        maps = self.features(images)
        theta = super().theta(maps)
        guards.keep_theta(self, theta, sampling_grid)
        return warp(maps, theta, padding=self.padding)

    def theta(self, images):
        return super().theta(self.features(images[:, :1].contiguous()))


def _check_smallest(system, variant, image_size, least):
    """Raise InputError for an image size below `least` pixels a side."""
    if image_size < least:
        raise InputError(
            f"Image size {image_size} is too small for {variant} of {system}: "
            f"at least {least} pixels a side are needed."
        )


def placement_cnn(variant: str, num_classes: int, image_size: int) -> nn.Module:
    """`mnist_cnn_400k`, alone or with a transformer whose localization net reads the first convolution's feature map.

    The variant `feature` warps this feature map. The variant `shared` warps the input, and the convolution runs again
    on the warped input with the same weights. Raises InputError for an image size that is too small for the
    localization net. Source: Finnveden, Jansson and Lindeberg 2020.
    """
    whole: Any = mnist_cnn_400k("original", num_classes, image_size)
    if variant == "original":
        return whole
    grey, convolutions, *head = whole
    features, rest = nn.Sequential(grey, *convolutions[:2]), nn.Sequential(convolutions[2:], *head)
    _check_smallest(
        "placement-cnn", variant, image_size, minimum_size((*DIGIT_ROWS[:2], *PLACED_LOCALIZATION))
    )
    side = feature_size(DIGIT_ROWS[:2], image_size)
    net = localization(PLACED_LOCALIZATION, side, 32, hidden=48)
    transformer = PlacedTransformer(features, net, warps_input=variant == "shared")
    return nn.Sequential(OrderedDict(transformer=transformer, backbone=rest))


# reads images of half the side
CLUTTER_LOCALIZATION = (Row("conv", 5, 20), Row("pool", 2, 20, 2), Row("conv", 5, 20))
CLUTTER_ROWS = {  # side in pixels of the transformer's output -> the classifier's convolutions
    60: (Row("conv", 7, 32), Row("pool", 2, 32, 2), Row("conv", 5, 48), Row("pool", 2, 48, 2)),
    20: (Row("conv", 3, 32), Row("pool", 2, 32, 2), Row("conv", 3, 32), Row("pool", 2, 32, 2)),
}


def clutter_cnn(variant: str, num_classes: int, image_size: int) -> nn.Module:
    """Two convolutions and two linear layers for digits in clutter, alone or behind a transformer.

    Alone, and with an output of 60 pixels (out60), the classifier is that of MatConvNet's example, which halves its
    input first. With an output of 20 pixels (out20), a third of the side, it is that of Lasagne's example. Both
    examples have the same localization net.
    """
    seen = 20 if variant == "out20" else image_size
    rows, inside = CLUTTER_ROWS[20 if variant == "out20" else 60], seen if variant == "out20" else seen // 2
    backbone = nn.Sequential(
        *(
            Grey(),
            nn.Identity() if variant == "out20" else nn.AvgPool2d(2),
            build_layers(rows, 1),
            nn.Flatten(),
        ),
        *(nn.Linear(rows[-1].channels * feature_size(rows, inside) ** 2, 256), nn.ReLU()),
        *(nn.Dropout(0.5), nn.Linear(256, num_classes)),
    )
    if variant == "original":
        return backbone
    net = localization(CLUTTER_LOCALIZATION, image_size // 2, 1, hidden=50)
    output_size = seen if seen != image_size else None
    transformer = GreyTransformer(net, output_size=output_size, localization_size=image_size // 2)
    return nn.Sequential(OrderedDict(transformer=transformer, backbone=backbone))


SEQUENCE_LOCALIZATION = (  # reads images of half the side
    *(Row("conv", 3, 20), Row("pool", 2, 20, 2), Row("conv", 3, 20), Row("pool", 2, 20, 2)),
    Row("conv", 3, 20),
)


class SequenceReader(nn.Module):
    """Classify `digits` digits of an image: (B, 3, S, S) -> logits (B, num_classes, digits).

    If `transformer` returns several glimpses, `classifier` reads one digit in each glimpse; else it reads all digits
    at once.
    """

    def __init__(self, transformer, classifier, digits):
        super().__init__()
        self.transformer, self.classifier, self.digits = transformer, classifier, digits

    def forward(self, images):
        seen = self.transformer(images)
        logits = self.classifier(seen.flatten(0, 1) if seen.ndim == 5 else seen)
        return logits.view(len(images), self.digits, -1).transpose(1, 2)


def sequence_cnn(variant: str, num_classes: int, image_size: int, digits: int = 3) -> nn.Module:
    """A network for three digits in clutter: alone, behind one map for the whole row, or behind a map for each digit.

    `rnn` is the RNN-SPN of Sønderby et al. 2015: a GRU of width 256 predicts the maps, and the classifier reads each
    glimpse, of a third of the input's side. `ffn` is their FFN-SPN, with an output of half the side. The layers are
    theirs; their code has no network without a transformer, so `original` is ours. Returns logits (B, num_classes,
    digits). Raises InputError for an image size that is too small for the variant.
    """
    divisor, width = {"original": (1, 32), "ffn": (2, 96), "rnn": (3, 32)}[variant]
    side, outputs = image_size // divisor, num_classes * (1 if variant == "rnn" else digits)
    rows = (
        *(Row("conv", 3, width), Row("pool", 2, width, 2), Row("conv", 3, width), Row("pool", 2, width, 2)),
        *(Row("conv", 3, width), *([Row("pool", 2, width, 2)] if variant == "original" else [])),
    )
    _check_smallest("sequence-cnn", variant, image_size, divisor * minimum_size(rows))
    features = feature_size(rows, side)
    classifier = nn.Sequential(
        *(Grey(), build_layers(rows, 1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(width * features**2, 400), nn.ReLU(), nn.Linear(400, outputs)),
    )
    if variant == "original":
        return SequenceReader(nn.Identity(), classifier, digits)
    half = image_size // 2
    glimpses = digits if variant == "rnn" else None
    net = localization(SEQUENCE_LOCALIZATION, half, 1, hidden=200, glimpses=glimpses)
    transformer = GreyTransformer(net, output_size=side, localization_size=half)
    return SequenceReader(transformer, classifier, digits)


SIGN_ROWS = (
    (Row("conv+bn", 5, 48, padding=2), Row("pool", 2, 48, 2)),
    (
        *(Row("conv+bn", 3, 96, padding=1), Row("pool", 2, 96, 2)),
        *(Row("conv+bn", 3, 192, padding=1), Row("pool", 2, 192, 2)),
    ),
)
SIGN_LOCALIZATIONS = (  # at the input, and at the feature map of the first convolution
    (
        *(Row("conv+bn", 5, 24, 2, 2), Row("pool", 2, 24, 2)),
        *(Row("conv+bn", 3, 48, padding=1), Row("pool", 2, 48, 2)),
    ),
    (
        *(Row("conv+bn", 3, 48, padding=1), Row("pool", 2, 48, 2)),
        *(Row("conv+bn", 3, 48, padding=1), Row("pool", 2, 48, 2)),
    ),
)


def sign_cnn_bn(variant: str, num_classes: int, image_size: int) -> nn.Module:
    """Three convolutions and two linear layers for traffic signs, with none, one or two transformers.

    The first transformer warps the input, the second the feature map of the first convolution. The published networks
    have local contrast normalization after each convolution; here batch normalization replaces it, and the
    convolutions are narrower and padded.
    """
    first, second = (build_layers(rows, channels) for rows, channels in zip(SIGN_ROWS, (3, 48)))
    middle = feature_size(SIGN_ROWS[0], image_size)
    side = feature_size(SIGN_ROWS[1], middle)
    parts = OrderedDict()
    if variant != "original":
        net = localization(SIGN_LOCALIZATIONS[0], image_size, hidden=64)
        parts["transformer"] = SpatialTransformer(net)
    parts["first"] = first
    if variant == "two":
        parts["inner"] = SpatialTransformer(localization(SIGN_LOCALIZATIONS[1], middle, 48, hidden=64))
    parts["second"] = second
    parts["head"] = nn.Sequential(
        *(nn.Flatten(), nn.Dropout(0.5), nn.Linear(192 * side**2, 256), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(256, num_classes),
    )
    return nn.Sequential(parts)


SYSTEMS = {
    "cifar-cnn": System("Small CNN", 32, 16, ("original", "affine"), cifar_cnn),
    "mnist-cnn": System(
        "Digit CNN", 42, 16, ("original", "stn", "vstn", "lstn", "projective", "tps"), mnist_cnn
    ),
    "clutter-cnn": System("Clutter CNN", 60, 36, ("original", "out60", "out20"), clutter_cnn),
    "lenet": System(
        "Digit CNN without dropout", 42, 16, ("original", "stn"), partial(mnist_cnn, dropout=0.0)
    ),
    "mnist-cnn-400k": System(
        "Larger digit CNN",
        42,
        16,
        ("original", "affine", "projective", "tps", "stn", "vstn", "lstn"),
        mnist_cnn_400k,
    ),
    "placement-cnn": System(
        "Digit CNN, deep localization", 42, 16, ("original", "feature", "shared"), placement_cnn
    ),
    "sequence-cnn": System("Sequence CNN", 100, 22, ("original", "ffn", "rnn"), sequence_cnn, 3),
    "sign-cnn-bn": System("Sign CNN with batch norm", 32, 8, ("original", "one", "two"), sign_cnn_bn),
}
