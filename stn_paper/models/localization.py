"""The paper's three localization nets; each is a table that can be compared with the paper's Tables 1 to 3.

`transformer.SpatialTransformer` calls them. `with_stn` and `build_model` build them.
"""

from collections import OrderedDict
from functools import partial
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import InputError, check_choice, check_whole_number
from .guards import NormedLayer, check_sides
from .transforms import TRANSFORMS

HIDDEN = 32  # width of the first of the two linear layers, paper section 3
RECURRENT = 256  # width of the recurrent layer that predicts several maps, Sønderby et al. 2015


class Row(NamedTuple):
    """One row of Tables 1 to 3. ReLU follows "pool" and "conv+relu"; batch norm and ReLU follow "conv+bn"."""

    kind: str
    kernel: int
    channels: int
    stride: int = 1
    padding: int = 0

    def output_size(self, size: int) -> int:
        """Return the side in pixels of this row's output, given the side of its input."""
        return (size + 2 * self.padding - self.kernel) // self.stride + 1


STN = (  # Table 1: two convolutions with large kernels
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
ABLATIONS = {  # ours: L-STN without one of its parts, and STN with one of these parts
    "lstn-no-bn": tuple(row._replace(kind="conv+relu") for row in LSTN),
    "lstn-no-1x1": tuple(row for row in LSTN if row.kernel > 1),
    "stn-bn": tuple(row._replace(kind="conv+bn") if row.kind == "conv" else row for row in STN),
}
CONSTANT = "constant"  # no localization net: one learned map for all images, as a control


class ConstantMap(nn.Module):
    """A control in place of a localization net: the learned numbers of one map, the same for every image.

    Takes any (B, C, H, W) and returns (B, n); n is 6 for affine maps. It starts at the identity. If it raises a
    network's accuracy, the gain does not need a map for each image. Raises InputError for an unknown transform.

    >>> ConstantMap("attention")(torch.rand(2, 3, 64, 64))
    tensor([[1., 0., 0.],
            [1., 0., 0.]], grad_fn=<ExpandBackward0>)
    """

    def __init__(self, transform: str = "affine"):
        super().__init__()
        identity = TRANSFORMS[check_choice("transform", transform, TRANSFORMS)].identity
        self.numbers = nn.Parameter(torch.tensor(identity.tolist()))  # on torch's current default device

    def forward(self, images: Tensor) -> Tensor:
        return self.numbers.expand(images.shape[0], -1)


class RecurrentHead(nn.Module):
    """Predict the numbers of N maps an image: a GRU reads the features N times, a linear layer reads each GRU output.

    Takes features (B, `features`) and returns (B, `glimpses`, `numbers`). Each map can depend on the maps before it.
    Raises InputError for `glimpses` that are not a whole number from 1. Source: Sønderby et al. 2015 (RNN-SPN).

    >>> RecurrentHead(90, glimpses=3, numbers=6)(torch.rand(5, 90)).shape
    torch.Size([5, 3, 6])
    """

    def __init__(self, features: int, glimpses: int, numbers: int, hidden: int = RECURRENT):
        super().__init__()
        self.glimpses = check_whole_number("glimpses", glimpses)
        self.gru = nn.GRU(features, hidden, batch_first=True)
        self.linear = nn.Linear(hidden, numbers)

    def forward(self, features: Tensor) -> Tensor:
        states, _ = self.gru(features[:, None].expand(-1, self.glimpses, -1))  # (B, N, hidden)
        return self.linear(states)


def feature_size(rows: tuple[Row, ...], image_size: int) -> int:
    """Return the side of the last feature map in pixels, or 0 if `image_size` is too small."""
    size = image_size
    for row in rows:
        size = max(row.output_size(size), 0)
    return size


def minimum_size(rows: tuple[Row, ...]) -> int:
    """Return the smallest image side, in pixels, that a localization net of these rows can take."""
    return next(size for size in count(1) if feature_size(rows, size))


def localization_net(
    variant: str,
    image_size: int,
    in_channels: int = 3,
    transform: str = "affine",
    glimpses: int | None = None,
) -> nn.Module:
    """Build the localization net of paper section 3: feature layers, Linear(32), ReLU, Linear(6).

    It takes (B, in_channels, image_size, image_size) and returns the numbers of a map of the family `transform`
    (see `transforms`): (B, 6) for affine, the paper's family; from (B, 1) for scale to (B, 32) for tps. The last layer
    starts with zero weights and the identity as bias, so that an untrained net predicts the identity.

    - `variant`: stn (Table 1), vstn (Table 2), lstn (Table 3), a key of ABLATIONS, or constant.
    - `image_size`: pixels of a side; the first linear layer has the size that it needs.
    - `glimpses`: predict so many maps an image. A GRU of width 256 then replaces the first linear layer (Sønderby et
      al. 2015). The output of a net for affine maps is (B, glimpses, 6).

    Raises InputError for an unknown variant or transform, for an image size that is not a whole number or is too
    small for the layers, for `glimpses` that are not a whole number from 1, and for `glimpses` of a constant map. The
    net raises InputError for images of another size. Source: paper section 3, Tables 1 to 3.

    >>> localization_net("lstn", image_size=64)(torch.rand(5, 3, 64, 64)).shape
    torch.Size([5, 6])
    """
    if variant == CONSTANT:
        check_whole_number("Image size", image_size)
        if glimpses is not None:
            raise InputError(f"glimpses {glimpses!r} is not allowed for a constant map: give None.")
        return ConstantMap(transform)
    nets = LOCALIZATION_NETS | ABLATIONS
    rows = nets[check_choice("localization net", variant, [*nets, CONSTANT])]
    return localization(rows, image_size, in_channels, transform=transform, glimpses=glimpses)


def localization(
    rows: tuple[Row, ...],
    image_size: int,
    in_channels: int = 3,
    hidden: int = HIDDEN,
    transform: str = "affine",
    glimpses: int | None = None,
) -> nn.Module:
    """Build a localization net from the rows of its feature layers; `hidden` is the width of its first linear layer.

    Input, output, start at the identity and errors are those of `localization_net`.
    """
    identity = TRANSFORMS[check_choice("transform", transform, TRANSFORMS)].identity
    image_size = check_whole_number("Image size", image_size)
    check_whole_number("in_channels", in_channels)
    if feature_size(rows, image_size) < 1:
        raise InputError(
            f"Image size {image_size} is too small for the localization net: "
            f"at least {minimum_size(rows)} pixels a side are needed."
        )
    features = rows[-1].channels * feature_size(rows, image_size) ** 2
    if glimpses is None:
        first = nn.Linear(features, hidden)  # made before `last`: the order decides the weights of a seed
        last = nn.Linear(hidden, len(identity))
        head = nn.Sequential(nn.Flatten(), first, nn.ReLU(), last)
    else:
        recurrent = RecurrentHead(features, glimpses, len(identity))
        head, last = nn.Sequential(nn.Flatten(), recurrent), recurrent.linear
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(identity)
    net = nn.Sequential(OrderedDict(features=build_layers(rows, in_channels), head=head))
    net.register_forward_pre_hook(partial(check_sides, image_size))
    return net


def build_layers(rows: tuple[Row, ...], in_channels: int) -> nn.Sequential:
    """Return the rows as layers: (B, in_channels, H, W) -> (B, C, h, w), where C is the last row's channels."""
    inputs = (in_channels, *(row.channels for row in rows))
    return nn.Sequential(*(_layer(row, channels) for row, channels in zip(rows, inputs)))


def _layer(row, in_channels):
    if row.kind == "pool":
        return nn.Sequential(nn.MaxPool2d(row.kernel, row.stride), nn.ReLU())
    conv = nn.Conv2d(in_channels, row.channels, row.kernel, row.stride, row.padding)
    if row.kind == "conv":
        return nn.Sequential(conv)
    if row.kind == "conv+relu":
        return nn.Sequential(conv, nn.ReLU())
    return NormedLayer(conv, nn.BatchNorm2d(row.channels), nn.ReLU())
