"""The families of maps that a spatial transformer can apply: their numbers, theta, grids and inverses.

**Convention**, kept by everything in this package:

- Coordinates are normalized, (x, y) in that order: x grows to the right, y downwards, -1 and +1 are
  the outer *edges* of the image (`align_corners=False`), 0 is its centre.
- theta maps a pixel of the **output** to the point of the **input** it is read from.
- A localization net gives the *numbers* of a map; `TRANSFORMS[transform].theta` turns them into theta:

  - `affine`, 6 numbers: a 2 x 3 matrix, row by row; (x_in, y_in) = theta (x_out, y_out, 1). A scale of 0.5
    therefore shows the central half of the input at twice its size, and a shift of +1 in x moves the
    content half an image to the left.
  - Restricted affine maps, whose theta is a 2 x 3 matrix as well: `translation` (x, y), `scale` (scale),
    `attention` (scale, x, y), `rotation` (angle), `similarity` (scale, angle, x, y). One scale holds for
    both axes; the angle is in radians, clockwise on the screen, as in `affine_theta`.
  - `projective`, 8 numbers: a 3 x 3 matrix, row by row, without its last element, which is 1;
    (x, y, w) = theta (x_out, y_out, 1) and (x_in, y_in) = (x, y) / w. Where w is not positive, behind the
    horizon, there is nothing to read: the point lies outside.
  - `tps`, 32 numbers: a thin plate spline with 16 control points, the regular 4 x 4 grid over [-1, 1] of the
    output, row by row. The numbers say where each is read from, (x_in, y_in) after each other; the spline
    is the least bent map through them (Jaderberg et al. 2015, section 3.2).
"""

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError, check_choice, check_whole_number
from .guards import check_numbers, exact, without_autocast

HORIZON = 1e-6  # w of a projective map must be larger for a point to be seen
OUTSIDE = 2.0  # a coordinate that reads as padding, whatever the image's size
ITERATIONS = 30  # of the search for a spline's inverse


class Transform(NamedTuple):
    """A family of maps."""

    identity: Tensor  # the numbers of the map that leaves an image as it is
    theta: Callable[[Tensor], Tensor]  # numbers (..., n) -> theta (..., 2, 3), (..., 3, 3) or (..., 16, 2)
    grid: Callable[[Tensor, int, int], Tensor]  # theta, height, width -> (..., height, width, 2)
    names: tuple[str, ...] = ()  # of a restricted map's numbers


def affine_theta(
    rotation: float = 0.0, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    """Return theta (2, 3) that reads a turned, scaled and shifted square of the input.

    The square is turned by `rotation` (degrees, clockwise on the screen), has `scale` times the image's
    sides and is centred at `shift` (x, y, normalized). What the output shows moves the opposite way.
    Source: Jaderberg et al. 2015, section 3.2.

    >>> affine_theta(rotation=90, scale=0.5, shift=(0.25, 0)).round(decimals=3)
    tensor([[ 0.0000, -0.5000,  0.2500],
            [ 0.5000,  0.0000,  0.0000]])
    """
    angle = math.radians(rotation)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    rows = [[cos, -sin, shift[0]], [sin, cos, shift[1]]]
    return torch.tensor(rows, dtype=torch.get_default_dtype())  # of NumPy's numbers too


# --- composition, inverses and distance ---------------------------------------------------------


def _matrices(transform, purpose):
    """Return `transform` if its theta is a matrix, else raise InputError that names the `purpose`."""
    return check_choice(f"transform {purpose}", transform, [name for name in TRANSFORMS if name != "tps"])


@torch.fx.wrap
def compose(first: Tensor, second: Tensor, transform: str = "affine") -> Tensor:
    """Return the map of two warps in a row: `first` warps the image, `second` the result.

    theta as in `sampling_grid`, and as many numbers come back: the product of the two matrices. So the image
    is sampled once, and what the first warp moved out of the frame can come back in.
    Source: Lin and Lucey 2017 (IC-STN). Raises InputError for a spline or an unknown transform.

    >>> compose(affine_theta(scale=0.5)[None], affine_theta(shift=(0.5, 0))[None])
    tensor([[[0.5000, 0.0000, 0.2500],
             [0.0000, 0.5000, 0.0000]]])
    """
    with without_autocast(first):
        a, b = exact(first), exact(second)
        if _matrices(transform, "that composes") == "projective":
            return (a @ b).to(first.dtype)
        return (a[..., :2] @ b + F.pad(a[..., 2:], (2, 0))).to(first.dtype)


def invert(theta: Tensor, transform: str = "affine") -> Tensor:
    """Return the exact inverse maps, from the input's to the output's coordinates; theta as in `sampling_grid`.

    A projective map's is the inverse matrix as it is: scaling it to a last element of 1 could turn its sign,
    and with it what lies behind the horizon. A spline's is no spline: see `inverse_grid`.
    Raises InputError for a spline or an unknown transform.

    >>> invert(affine_theta(scale=0.5, shift=(0.25, 0))[None])
    tensor([[[ 2.0000,  0.0000, -0.5000],
             [ 0.0000,  2.0000,  0.0000]]])
    """
    if _matrices(transform, "with an exact inverse") == "projective":
        return torch.linalg.inv(theta)
    matrix = torch.linalg.inv(theta[..., :2])
    return torch.cat([matrix, -matrix @ theta[..., 2:]], -1)


@torch.no_grad()
def inverse_grid(theta: Tensor, height: int, width: int, transform: str = "affine") -> Tensor:
    """Return the grid (B, height, width, 2) that undoes the maps: the output points that show the input's pixels.

    A spline must not fold. Its inverse is searched for in float64, starting from the inverse of its affine part.
    Raises InputError for an unknown transform.

    >>> theta = affine_theta(rotation=20).expand(len(images), 2, 3)
    >>> undone = sample(warp(images, theta), inverse_grid(theta, 64, 64))
    """
    with without_autocast(theta):
        if check_choice("transform", transform, TRANSFORMS) != "tps":
            back = invert(exact(theta), transform)
            return TRANSFORMS[transform].grid(back, height, width).to(theta.dtype)
        places = (theta.cpu() if theta.is_mps else theta).double()  # MPS has no float64
        wanted = _pixels(height, width, places.device)
        control = CONTROL_POINTS.to(places)
        affine = torch.linalg.pinv(F.pad(control, (0, 1), value=1.0)) @ places  # (B, 3, 2), least squares
        back = torch.linalg.inv(affine[:, :2])
        found = (wanted - affine[:, 2:]) @ back
        for _ in range(ITERATIONS):
            reached = _tps_weights(found.flatten(0, 1)).view(*found.shape[:2], -1) @ places
            found = found + (wanted - reached) @ back
        return found.to(theta).unflatten(1, (height, width))


def grid_distance(theta: Tensor, transform: str = "affine", points: int = 16) -> Tensor:
    """Return the mean squared distance (B,) of each map's grid from the identity's, in normalized units.

    It is measured at `points` x `points` pixels of the output; a shift by the whole image, 2 in x, gives 4.
    N maps an image give (B, N). Differentiable in theta. Raises InputError for an unknown transform.

    >>> grid_distance(affine_theta(shift=(2, 0))[None])
    tensor([4.])
    """
    family = TRANSFORMS[check_choice("transform", transform, TRANSFORMS)]
    with without_autocast(theta):
        identity = family.theta(family.identity[None].to(theta))
        moved = family.grid(theta, points, points) - family.grid(identity, points, points)
        return moved.square().sum(-1).mean((-1, -2))


# --- bounds -------------------------------------------------------------------------------------


def check_steps(transform: str, steps: int) -> int:
    """Return `steps`, a whole number from 1, and 1 for a transform that does not compose, else raise InputError."""
    steps = check_whole_number("steps", steps)
    if steps > 1:
        _matrices(transform, f"for {steps} steps")
    return steps


def check_bounds(
    transform: str, max_scale: float | None, max_angle: float | None
) -> tuple[float | None, float | None]:
    """Return both bounds. Raises InputError for a bound out of range, or for a number that `transform` lacks."""
    limits = {"scale": ("max_scale", max_scale, 1, math.inf), "angle": ("max_angle", max_angle, 0, 180)}
    for name, (argument, value, low, high) in limits.items():
        if value is None:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not low < value <= high or math.isinf(value):
            to = f" to {high}" if high < math.inf else ""
            raise InputError(f"{argument} {value!r} is not allowed: give a number above {low}{to}, or None.")
        bounded = [other for other, family in TRANSFORMS.items() if name in family.names]
        if transform not in bounded:
            raise InputError(
                f"{argument} {value!r} is not allowed for {transform} maps: {', '.join(bounded)} have it."
            )
    return max_scale, max_angle


@torch.fx.wrap
def to_theta(
    numbers: Tensor,
    transform: str = "affine",
    max_scale: float | None = None,
    max_angle: float | None = None,
) -> Tensor:
    """Return theta of a localization net's numbers (B, n): (B, 2, 3), or (B, 3, 3) projective, (B, 16, 2) tps.

    `max_scale` keeps a restricted map's scale inside [1 / max_scale, max_scale], `max_angle` its angle inside
    +- max_angle degrees: scale = exp(L tanh((number - 1) / L)) with L = log(max_scale), and angle =
    A tanh(number / A). Both are exact at the identity and have slope 1 there. None leaves a number free.
    N maps an image, (B, N, n), give (B, N, 2, 3). Raises InputError for an unknown transform, or for another
    number of numbers than it has.

    >>> to_theta(torch.tensor([[9.0]]), "scale", max_scale=2)
    tensor([[[2., -0., 0.],
             [0., 2., 0.]]])
    """
    family = TRANSFORMS[check_choice("transform", transform, TRANSFORMS)]
    check_numbers(numbers, transform, family.identity)
    if max_scale is not None or max_angle is not None:
        columns = dict(zip(family.names, numbers.unbind(-1)))
        if max_scale is not None:
            limit = math.log(max_scale)
            columns["scale"] = (limit * ((columns["scale"] - 1) / limit).tanh()).exp()
        if max_angle is not None:
            limit = math.radians(max_angle)
            columns["angle"] = limit * (columns["angle"] / limit).tanh()
        numbers = torch.stack(list(columns.values()), -1)
    return family.theta(numbers)


# --- matrices -----------------------------------------------------------------------------------


def pixel_centres(count: int, like: Tensor) -> Tensor:
    """Return the normalized places (count,) of the pixels of a row or column, of the type and device of `like`."""
    return torch.arange(1 - count, count, 2, dtype=like.dtype, device=like.device) / count


def _products(matrix, height, width):
    """matrix (..., n, 3) times (x, y, 1) of each pixel: (..., n, height, width).

    Each product is a number of the pixel's row plus one of its column. So there is no product for each
    pixel, nor in the gradient, and a map without rotation or shear is computed exactly.
    """
    x, y = pixel_centres(width, matrix), pixel_centres(height, matrix)
    along_x, along_y, shift = matrix.unsqueeze(-1).unbind(-2)  # each (..., n, 1)
    rows, columns = torch.addcmul(shift, y, along_y), x * along_x  # (..., n, height), (..., n, width)
    return rows.unsqueeze(-1) + columns.unsqueeze(-2)


def _affine_grid(theta, height, width):
    return _products(theta, height, width).movedim(theta.ndim - 2, -1)


def _projective_grid(theta, height, width):
    x, y, w = _products(theta, height, width).unbind(-3)
    seen = (w > HORIZON)[..., None]
    grid = torch.stack([x, y], -1) / torch.where(seen, w[..., None], 1.0)  # finite, and so is its gradient
    return torch.where(seen, grid, OUTSIDE)


def _similarity_theta(numbers, names):
    """theta (B, 2, 3) of the numbers (B, n) called `names`, out of scale, angle, x and y."""
    given = dict(zip(names, numbers.unbind(-1)))
    zero = torch.zeros_like(numbers[..., 0])
    scale, angle = given.get("scale", zero + 1), given.get("angle", zero)
    x, y = given.get("x", zero), given.get("y", zero)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    return torch.stack([cos, -sin, x, sin, cos, y], -1).unflatten(-1, (2, 3))


def _restricted(*names):
    identity = torch.tensor([float(name == "scale") for name in names])
    return Transform(identity, partial(_similarity_theta, names=names), _affine_grid, names)


def _affine_matrix(numbers):
    return numbers.unflatten(-1, (2, 3))


def _projective_matrix(numbers):
    return F.pad(numbers, (0, 1), value=1.0).unflatten(-1, (3, 3))


# --- thin plate splines -------------------------------------------------------------------------


def _tps_places(numbers):
    return numbers.unflatten(-1, (16, 2))


def _tps_grid(theta, height, width):
    # What is made while a program is traced must not be kept
    kept = not (torch.compiler.is_compiling() or torch.jit.is_tracing())
    weights = _tps_pixels if kept else _tps_pixels.__wrapped__
    return (weights(height, width, theta.dtype, theta.device) @ theta).unflatten(-2, (height, width))


@lru_cache(maxsize=16)
def _tps_pixels(height, width, dtype, device):
    """Weights (height * width, 16) of an image's pixels, computed in float64."""
    with torch.inference_mode(False):  # whoever asks first, others may train with it
        return _tps_weights(_pixels(height, width, "cpu")).to(dtype).to(device)


def _pixels(height, width, device):
    """The pixels of an image as points (height * width, 2), row by row, in float64."""
    like = torch.empty(0, dtype=torch.float64, device=device)
    x, y = pixel_centres(width, like), pixel_centres(height, like)
    return torch.stack([x.repeat(height), y.repeat_interleave(width)], -1)


def _tps_weights(points):
    """Share (N, 16) of each control point's place in the place of each of the points (N, 2), in float64.

    A spline is linear in the places of its control points, so that its shares hold for every theta.
    """
    return _tps_terms(points) @ TPS_INVERSE.to(points)


def _tps_terms(points):
    """r^2 log r^2 of the distances r to the control points, then 1, x and y: (N, 19) of points (N, 2)."""
    squared = (points[:, None] - CONTROL_POINTS.to(points)).square().sum(-1)
    bending = squared * squared.clamp_min(torch.finfo(points.dtype).tiny).log()  # 0 at a control point
    return torch.cat([bending, torch.ones_like(points[:, :1]), points], 1)


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

TRANSFORMS = {
    "translation": _restricted("x", "y"),
    "scale": _restricted("scale"),
    "attention": _restricted("scale", "x", "y"),
    "rotation": _restricted("angle"),
    "similarity": _restricted("scale", "angle", "x", "y"),
    "affine": Transform(torch.eye(2, 3).flatten(), _affine_matrix, _affine_grid),
    "projective": Transform(torch.eye(3).flatten()[:8], _projective_matrix, _projective_grid),
    "tps": Transform(CONTROL_POINTS.flatten().float(), _tps_places, _tps_grid),
}
