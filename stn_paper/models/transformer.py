"""The spatial transformer: theta -> sampling grid -> sampled image (paper Figure 1).

**Convention**, kept by everything in this package:

- Coordinates are normalized, (x, y) in that order: x grows to the right, y downwards, -1 and +1 are
  the outer *edges* of the image (`align_corners=False`), 0 is its centre.
- theta maps a pixel of the **output** to the point of the **input** it is read from. What its numbers mean,
  in the order in which a localization net gives them, depends on the kind of map (`KINDS`):

  - `affine`, 6 numbers: a 2 x 3 matrix, row by row; (x_in, y_in) = theta (x_out, y_out, 1). A scale of 0.5
    therefore shows the central half of the input at twice its size, and a shift of +1 in x moves the
    content half an image to the left.
  - `projective`, 8 numbers: a 3 x 3 matrix, row by row, without its last element, which is 1;
    (x, y, w) = theta (x_out, y_out, 1) and (x_in, y_in) = (x, y) / w. Where w is not positive, behind the
    horizon, there is nothing to read: the point lies outside.
  - `tps`, 32 numbers: a thin plate spline with 16 control points, the regular 4 x 4 grid over [-1, 1] of the
    output, row by row. The numbers say where each is read from, (x_in, y_in) after each other; the spline
    is the least bent map through them (Jaderberg et al. 2015, section 3.2).
- Sampling is bilinear; what lies outside the input reads as 0 (`padding_mode="zeros"`), which is mid-grey
  for images normalized with mean 0.5.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import choose

ALIGN_CORNERS = False
PADDING_MODE = "zeros"
INTERPOLATION = "bilinear"
HORIZON = 1e-6  # w of a projective map must be larger for a point to be seen
OUTSIDE = 2.0  # a coordinate that reads as 0, whatever the image's size
STEPS = 30  # of the search for a spline's inverse


class Kind(NamedTuple):
    identity: torch.Tensor  # the numbers of the map that leaves an image as it is
    theta: Callable  # as many numbers for each of B images -> theta (B, ...), as `grid` takes it
    grid: Callable  # theta, height, width -> (B, height, width, 2)


def sampling_grid(theta, height, width, kind="affine"):
    """Input points (B, height, width, 2) that the output's pixels are read from.

    theta is (B, 2, 3) for `affine`, (B, 3, 3) for `projective`, (B, 16, 2) for `tps`. Its precision is the
    points', under autocast too, and on CUDA they are computed in float64: as a product in bfloat16 or TF32,
    the identity would move the pixels of a large image.
    """
    chosen = KINDS[choose("kind of map", kind, KINDS)]
    with _without_autocast(theta):
        return chosen.grid(theta.double() if theta.is_cuda else theta, height, width).to(theta.dtype)


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


def invert(theta, kind="affine"):
    """The inverse maps, exactly, from the input's to the output's coordinates; theta as in `sampling_grid`.

    A projective map's is the inverse matrix as it is: scaling it to a last element of 1 could turn its sign,
    and with it what lies behind the horizon. A spline's is no spline: see `inverse_grid`.
    """
    if choose("kind of map with an exact inverse", kind, ("affine", "projective")) == "projective":
        return torch.linalg.inv(theta)
    matrix = torch.linalg.inv(theta[..., :2])
    return torch.cat([matrix, -matrix @ theta[..., 2:]], -1)


@torch.no_grad()
def inverse_grid(theta, height, width, kind="affine"):
    """The grid (B, height, width, 2) that undoes the maps: the output points that show the input's pixels.

    Those of a spline, which must not fold, are searched for in float64, starting from its affine part.
    """
    if choose("kind of map", kind, KINDS) != "tps":
        return sampling_grid(invert(theta, kind), height, width, kind)
    wanted, places = _centres(height, width, torch.float64, theta.device), theta.double()
    control = CONTROL_POINTS.to(places)
    affine = torch.linalg.pinv(F.pad(control, (0, 1), value=1.0)) @ places  # (B, 3, 2), least squares
    back = torch.linalg.inv(affine[:, :2])
    found = (wanted - affine[:, 2:]) @ back
    for _ in range(STEPS):
        reached = _tps_weights(found.flatten(0, 1)).view(*found.shape[:2], -1) @ places
        found = found + (wanted - reached) @ back
    return found.to(theta).view(-1, height, width, 2)


# --- the kinds of maps --------------------------------------------------------------------------


def _centres(height, width, dtype, device):
    """The pixels of an image as points (height * width, 2)."""
    return _affine_grid(torch.eye(2, 3, dtype=dtype, device=device)[None], height, width).view(-1, 2)


def _affine_grid(theta, height, width):
    size = theta.shape[0], 1, height, width  # len would fix the batch of an exported program
    return F.affine_grid(theta, size, align_corners=ALIGN_CORNERS)


def _projective_grid(theta, height, width):
    pixels = F.pad(_centres(height, width, theta.dtype, theta.device), (0, 1), value=1.0)
    points = pixels @ theta.mT  # (B, height * width, 3)
    seen = points[..., 2:] > HORIZON
    grid = points[..., :2] / torch.where(seen, points[..., 2:], 1.0)  # finite, and so is its gradient
    return torch.where(seen, grid, OUTSIDE).view(-1, height, width, 2)


def _tps_grid(theta, height, width):
    kept = not torch.compiler.is_compiling()  # what is made while a program is traced must not be kept
    weights = _tps_pixels if kept else _tps_pixels.__wrapped__
    return (weights(height, width, theta.dtype, theta.device) @ theta).view(-1, height, width, 2)


@lru_cache(maxsize=16)
def _tps_pixels(height, width, dtype, device):
    """Weights (height * width, 16) of an image's pixels, computed in float64."""
    with torch.inference_mode(False):  # whoever asks first, others may train with it
        weights = _tps_weights(_centres(height, width, torch.float64, "cpu"))
        return weights.to(dtype).to(device)


def _tps_weights(points):
    """Share (N, 16) of each control point's place in the place of each of the points (N, 2), in float64.

    A spline is linear in the places of its control points, so that its shares hold for every theta.
    """
    return _tps_terms(points) @ TPS_INVERSE.to(points)


def _tps_terms(points):
    """r^2 log r^2 of the distances r to the control points, then 1, x and y: (N, 19) of points (N, 2)."""
    squared = (points[:, None] - CONTROL_POINTS.to(points)).square().sum(-1)
    return torch.cat([torch.xlogy(squared, squared), torch.ones_like(points[:, :1]), points], 1)


def _tps_inverse():
    """Coefficients (19, 16) of the spline's terms for each control point that moves by 1 alone.

    The spline must meet the control points' places, and its 16 bending terms must carry no affine part.
    """
    terms = _tps_terms(CONTROL_POINTS)
    system = torch.cat([terms, F.pad(terms[:, 16:].T, (0, 3))])
    return torch.linalg.inv(system)[:, :16]


_LINE = torch.linspace(-1, 1, 4, dtype=torch.float64)
CONTROL_POINTS = torch.cartesian_prod(_LINE, _LINE).flip(1)  # (16, 2): x grows first
TPS_INVERSE = _tps_inverse()

KINDS = {
    "affine": Kind(torch.eye(2, 3).flatten(), lambda numbers: numbers.view(-1, 2, 3), _affine_grid),
    "projective": Kind(
        torch.eye(3).flatten()[:8],
        lambda numbers: F.pad(numbers, (0, 1), value=1.0).view(-1, 3, 3),
        _projective_grid,
    ),
    "tps": Kind(CONTROL_POINTS.flatten().float(), lambda numbers: numbers.view(-1, 16, 2), _tps_grid),
}


# --- the module ---------------------------------------------------------------------------------


class SpatialTransformer(nn.Module):
    """Warp each image by the map that `localization` predicts for it (Jaderberg et al. 2015).

    `localization` is any module from (B, C, H, W) to the numbers of the `kind` of map: (B, 6) for affine,
    (B, 8) for projective, (B, 32) for tps; `localization_net` builds such modules.
    Input and output are (B, C, H, W); direction, units and padding are this module's convention.
    With `applied` off, images pass as they are, and the localization net gets no gradient.
    The output has the images' type, if that is a floating one. Grid and sampling are float32 at least;
    `.half()` rounds the localization net's computation of theta, autocast does not.
    Source: paper Figure 1 and section 2.A.
    """

    def __init__(self, localization, kind="affine", applied=True):
        super().__init__()
        self.localization = localization
        self.kind = choose("kind of map", kind, KINDS)
        self.applied = applied

    def theta(self, images):
        """The predicted maps from the output's to the input's normalized coordinates.

        (B, 2, 3) for affine, (B, 3, 3) for projective, (B, 16, 2) for tps.
        """
        with _without_autocast(images):
            weight = next(self.parameters(), _widened(images))  # of the type that the net computes in
            return KINDS[self.kind].theta(_widened(self.localization(images.to(weight.dtype))))

    def forward(self, images):
        if not self.applied:
            return images
        grid, wide = sampling_grid(self.theta(images), *images.shape[-2:], self.kind), _widened(images)
        output = sample(wide, grid.to(wide.dtype))
        return output.to(images.dtype) if images.is_floating_point() else output


def _without_autocast(tensor):
    """Places in an image need more than bfloat16's eight bits."""
    kind = tensor.device.type
    amp = torch.amp.is_autocast_available(kind)
    return torch.autocast(kind, enabled=False) if amp else nullcontext()


def _widened(images):
    return images.to(torch.promote_types(images.dtype, torch.float32))
