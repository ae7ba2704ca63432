"""The paper's own EfficientNet-b0..b5, which differs from the published EfficientNet.

It expands channels by a dense 3 x 3 convolution; the published network uses a 1 x 1 convolution. Its scaling steps
differ too. So b0 has 14.0 M parameters instead of 4.0 M. Its parameters equal those of Tables 4, 5 and 7 to the unit.
Source: the networks that the author released (hankshyu/STN-Network, commit 19eb1b2). `backbones` calls `efficientnet`.
"""

from math import ceil
from typing import NamedTuple

from torch import Tensor, nn


class Stage(NamedTuple):
    expansion: int
    channels: int
    repeats: int
    stride: int
    kernel: int


STAGES = (  # b0; the other sizes scale channels and repeats
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1, 3),
)
SCALING = {  # name: (phi, dropout); depth grows as 1.2^phi, width as 1.1^phi
    "effb0": (0, 0.2),
    "effb1": (0.5, 0.2),
    "effb2": (1, 0.3),
    "effb3": (2, 0.3),
    "effb4": (3, 0.4),
    "effb5": (4, 0.4),
}
DROP_PATH = 0.2  # stochastic depth: probability that a training step drops a residual branch of an image


def conv_norm_act(
    in_channels: int, channels: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    """Return a convolution without bias, batch normalization, and, if `act`, SiLU."""
    conv = nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), *([nn.SiLU()] if act else []))


class SqueezeExcitation(nn.Module):
    """Multiply each channel of (B, C, H, W) by a factor in (0, 1) computed from the channels' means."""

    def __init__(self, channels: int, reduced: int):
        super().__init__()
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, reduced, 1),
            nn.SiLU(),
            nn.Conv2d(reduced, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weigh(x)


class InvertedResidual(nn.Module):
    """Dense 3 x 3 expansion, depthwise convolution, squeeze-and-excitation, 1 x 1 projection."""

    def __init__(self, in_channels: int, channels: int, expansion: int, stride: int, kernel: int):
        from torchvision.ops import StochasticDepth  # not at the top: the import takes seconds

        super().__init__()
        hidden = expansion * in_channels
        expand = [conv_norm_act(in_channels, hidden, 3)] if expansion > 1 else []
        self.block = nn.Sequential(
            *expand,
            conv_norm_act(hidden, hidden, kernel, stride, groups=hidden),
            SqueezeExcitation(hidden, in_channels // 4),
            conv_norm_act(hidden, channels, 1, act=False),
        )
        self.residual = stride == 1 and in_channels == channels
        self.drop_path = StochasticDepth(DROP_PATH, "row")

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.block(x)) if self.residual else self.block(x)


def efficientnet(name: str, num_classes: int) -> nn.Sequential:
    """Build the untrained network `name` (effb0..effb5): images (B, 3, H, W) of any size to logits (B, num_classes)."""
    phi, dropout = SCALING[name]
    depth, width = 1.2**phi, 1.1**phi
    channels = int(32 * width)
    layers = [conv_norm_act(3, channels, 3, stride=2)]
    for stage in STAGES:
        out = 4 * ceil(int(stage.channels * width) / 4)
        for repeat in range(ceil(stage.repeats * depth)):
            stride = stage.stride if repeat == 0 else 1
            layers.append(InvertedResidual(channels, out, stage.expansion, stride, stage.kernel))
            channels = out
    last = ceil(1280 * width)
    layers.append(conv_norm_act(channels, last, 1))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(last, num_classes)]
    return nn.Sequential(nn.Sequential(*layers), *head)
