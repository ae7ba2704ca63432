"""The paper's three localization nets, each a table of rows to be read beside Tables 1 to 3.

`transformer.SpatialTransformer` calls them; users reach them through `with_stn` and `build_model`.
"""

from collections import OrderedDict
from functools import partial
from itertools import count
from typing import NamedTuple

import torch
from torch import nn

from ..errors import InputError, choose, whole
from .guards import is_proxy
from .transforms import KINDS

HIDDEN = 32  # width of the first of the two linear layers, paper section 3


class Row(NamedTuple):
    """One row of Tables 1 to 3. A "pool" is followed by ReLU, a "conv+bn" by batch norm and ReLU."""

    kind: str
    kernel: int
    channels: int
    stride: int = 1
    padding: int = 0

    def output_size(self, size):
        """Pixels of a side after this row, from pixels of a side before it."""
        return (size + 2 * self.padding - self.kernel) // self.stride + 1


STN = (  # Table 1: two wide convolutions
    Row("conv", 7, 8),
    Row("pool", 2, 8, stride=2),
    Row("conv", 5, 10),
    Row("pool", 2, 10, stride=2),
)
VSTN = (  # Table 2: the same receptive fields from stacked 3 x 3 convolutions
    Row("conv", 3, 8),
    Row("conv", 3, 8),
    Row("conv", 3, 8),
    Row("pool", 2, 8, stride=2),
    Row("conv", 3, 10),
    Row("conv", 3, 10),
    Row("pool", 2, 10, stride=2),
)
LSTN = (  # Table 3: strides instead of pooling, 1 x 1 encoders (to 4) and decoders (to 8 or 10)
    Row("conv+bn", 3, 4, stride=2, padding=1),
    Row("conv+bn", 1, 8),
    Row("conv+bn", 3, 8),
    Row("conv+bn", 1, 4),
    Row("conv+bn", 1, 8),
    Row("conv+bn", 3, 8),
    Row("conv+bn", 1, 4),
    Row("conv+bn", 1, 8),
    Row("conv+bn", 3, 8, stride=2, padding=1),
    Row("conv+bn", 1, 4),
    Row("conv+bn", 1, 8),
    Row("conv+bn", 3, 8, padding=1),
    Row("conv+bn", 1, 4),
    Row("conv+bn", 1, 8),
    Row("conv+bn", 3, 8),
    Row("conv+bn", 1, 4),
    Row("conv+bn", 1, 10),
)
LOCALIZATION_NETS = {"stn": STN, "vstn": VSTN, "lstn": LSTN}
CONSTANT = "constant"  # no localization net: one learned map for all images, as a control


class ConstantMap(nn.Module):
    """Stand-in for a localization net: learned numbers of one map, the same for every image.

    Returns (B, n) from any (B, C, H, W): n is 6 for affine maps. It starts at the identity. What a network
    gains behind it needs no look at the image.
    """

    def __init__(self, kind="affine"):
        super().__init__()
        self.numbers = nn.Parameter(KINDS[choose("kind of map", kind, KINDS)].identity.clone())

    def forward(self, images):
        return self.numbers.expand(images.shape[0], -1)


def feature_size(rows, image_size):
    """Pixels of a side of the last feature map, or 0 if `image_size` (pixels of a side) is too small."""
    size = image_size
    for row in rows:
        size = max(row.output_size(size), 0)
    return size


def minimum_size(rows):
    """The smallest image side, in pixels, that a localization net of these rows can take."""
    return next(size for size in count(1) if feature_size(rows, size))


def localization_net(variant, image_size, in_channels=3, kind="affine"):
    """Build the localization net of paper section 3: feature rows, then Linear(32), ReLU, Linear(6).

    Takes (B, in_channels, image_size, image_size), returns the numbers of the `kind` of map (`transforms`):
    (B, 6) for affine, the paper's; from (B, 1) for scale to (B, 32) for tps. The last layer starts with zero
    weight and the identity as bias, so that an untrained net leaves the image as it is.

    Source: Tables 1 (stn), 2 (vstn) and 3 (lstn); the linear layer is sized from `image_size`.
    Raises InputError for an unknown variant or kind, or an image size that is no whole number or too small
    for the rows, and the net raises one for images of another side than the linear layer is sized for.
    """
    if variant == CONSTANT:
        whole("Image size", image_size)
        return ConstantMap(kind)
    rows = LOCALIZATION_NETS[choose("localization net", variant, [*LOCALIZATION_NETS, CONSTANT])]
    return localization(rows, image_size, in_channels, kind=kind)


def localization(rows, image_size, in_channels=3, hidden=HIDDEN, kind="affine"):
    """Feature rows, Linear(hidden), ReLU, and a linear layer to the numbers of the `kind` of map.

    Input, output and errors are those of `localization_net`, and so is the start at the identity.
    """
    identity = KINDS[choose("kind of map", kind, KINDS)].identity
    image_size = whole("Image size", image_size)
    if feature_size(rows, image_size) < 1:
        raise InputError(
            f"Image size {image_size} is too small for the localization net: "
            f"at least {minimum_size(rows)} pixels a side are needed."
        )
    head = nn.Sequential(
        nn.Flatten(),
        nn.Linear(rows[-1].channels * feature_size(rows, image_size) ** 2, hidden),
        nn.ReLU(),
        last := nn.Linear(hidden, len(identity)),
    )
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(identity)
    net = nn.Sequential(OrderedDict(features=layers(rows, in_channels), head=head))
    net.register_forward_pre_hook(partial(_check_sides, image_size))
    return net


def _check_sides(image_size, net, inputs):
    """Raise InputError for images of another side than the linear layer is sized for."""
    if is_proxy(inputs[0]):
        return
    height, width = inputs[0].shape[-2:]
    if height != image_size or width != image_size:
        raise InputError(
            f"Images of {height} x {width} pixels do not fit a localization net for {image_size} pixels "
            "a side: resize them, or build the net for their size."
        )


def layers(rows, in_channels):
    """The rows as layers for feature maps of so many channels."""
    inputs = (in_channels, *(row.channels for row in rows))
    return nn.Sequential(*(_layer(row, channels) for row, channels in zip(rows, inputs)))


def _layer(row, in_channels):
    if row.kind == "pool":
        return nn.Sequential(nn.MaxPool2d(row.kernel, row.stride), nn.ReLU())
    conv = nn.Conv2d(in_channels, row.channels, row.kernel, row.stride, row.padding)
    if row.kind != "conv+bn":
        return nn.Sequential(conv)
    norm = nn.BatchNorm2d(row.channels)
    norm.register_forward_pre_hook(_contiguous)
    return nn.Sequential(conv, norm, nn.ReLU())


def _contiguous(norm, inputs):
    """Hands a batch norm on a CPU its maps channel by channel.

    In channels-last ones it takes fewer channels than a vector has numbers one at a time: the gradient of
    (20, 8, 110, 110) took 16 times as long (torch 2.14, AVX-512). The next convolution puts them back.
    """
    if not inputs[0].is_cuda:
        return (inputs[0].contiguous(),)
