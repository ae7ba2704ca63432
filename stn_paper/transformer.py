"""The spatial transformer: theta -> sampling grid -> sampled image (paper Figure 1).

**Convention**, kept by everything in this package:

- Coordinates are normalized, (x, y) in that order: x grows to the right, y downwards, -1 and +1 are
  the outer *edges* of the image (`align_corners=False`), 0 is its centre.
- theta is a 2 x 3 matrix that maps a pixel of the **output** to the point of the **input** it is read
  from: (x_in, y_in) = theta (x_out, y_out, 1). A scale of 0.5 in theta therefore shows the central half
  of the input at twice its size, and a shift of +1 in x moves the content half an image to the left.
- Sampling is bilinear; what lies outside the input reads as 0 (`padding_mode="zeros"`), which is mid-grey
  for images normalized with mean 0.5.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

ALIGN_CORNERS = False
PADDING_MODE = "zeros"
INTERPOLATION = "bilinear"


def sampling_grid(theta, height, width):
    """Input points (B, height, width, 2) that the output's pixels are read from, for theta (B, 2, 3)."""
    return F.affine_grid(theta, (len(theta), 1, height, width), align_corners=ALIGN_CORNERS)


def sample(images, grid):
    """Read images (B, C, H, W) at grid (B, h, w, 2): returns (B, C, h, w). Differentiable in both."""
    return F.grid_sample(images, grid, INTERPOLATION, PADDING_MODE, align_corners=ALIGN_CORNERS)


def affine_theta(rotation=0.0, scale=1.0, shift=(0.0, 0.0)):
    """theta (2, 3) that reads a turned, scaled and shifted square of the input.

    The square is turned by `rotation` (degrees, clockwise on the screen), has `scale` times the image's
    sides and is centred at `shift` (x, y, normalized). What the output shows moves the opposite way.
    """
    angle = math.radians(rotation)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return torch.tensor([[cos, -sin, shift[0]], [sin, cos, shift[1]]])


class SpatialTransformer(nn.Module):
    """Warp each image by the affine map that `localization` predicts for it (Jaderberg et al. 2015).

    `localization` is any module from (B, C, H, W) to (B, 6), such as `localization_net` builds.
    Input and output are (B, C, H, W); direction, units and padding are this module's convention.
    Source: paper Figure 1 and section 2.A.
    """

    def __init__(self, localization):
        super().__init__()
        self.localization = localization

    def theta(self, images):
        """The predicted maps, (B, 2, 3), from the output's to the input's normalized coordinates."""
        return self.localization(images).view(-1, 2, 3)

    def forward(self, images):
        return sample(images, sampling_grid(self.theta(images), *images.shape[-2:]))
