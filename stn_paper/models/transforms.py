"""The families of maps that a spatial transformer can apply: their numbers, theta, grids and inverses.

**Convention** of the whole package:

- Coordinates are normalized, (x, y) in that order: x grows to the right, y downwards, -1 and +1 are
  the outer *edges* of the image (`align_corners=False`), 0 is its centre.
- In an image that is not square, a map that rotates these coordinates also shears the picture.
- theta maps a pixel of the **output** to the point of the **input** that it is read from.
- A localization net predicts the *numbers* of a map; `TRANSFORMS[transform].theta` turns them into theta:

  - `affine`, 6 numbers: a 2 x 3 matrix, row by row; (x_in, y_in) = theta (x_out, y_out, 1). A scale of 0.5
    therefore shows the central half of the input at twice its size, and a shift of +1 in x moves the
    content half an image to the left.
  - Restricted affine maps; theta is a 2 x 3 matrix as well: `translation` (x, y), `scale` (scale),
    `attention` (scale, x, y), `rotation` (angle), `similarity` (scale, angle, x, y). The scale is the same for
    both axes; the angle is in radians, clockwise on the screen, as in `affine_theta`.
  - `projective`, 8 numbers: a 3 x 3 matrix, row by row, without its last element, which is 1;
    (x, y, w) = theta (x_out, y_out, 1) and (x_in, y_in) = (x, y) / w. If w is not positive, the point lies
    behind the horizon and reads as outside the image.
  - `tps`, 32 numbers: a thin plate spline with 16 control points, a regular 4 x 4 grid over [-1, 1] of the
    output, row by row. The numbers are the input points (x_in, y_in) of the control points, in the same order; the
    spline is the map through these points that bends least (Jaderberg et al. 2015, section 3.2).
"""

import math
from collections.abc import Callable
from functools import cache, lru_cache, partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError, check_choice, check_whole_number, is_finite_number
from .guards import check_numbers, exact, is_running, without_autocast

HORIZON = 1e-6  # a point of a projective map lies behind the horizon unless its w is larger
OUTSIDE = 2.0  # a coordinate outside an image of any size
ITERATIONS = 30  # steps of the search for a spline's inverse


class Transform(NamedTuple):
    """A family of maps."""

    identity: Tensor  # the numbers of the map that leaves an image as it is
    theta: Callable[[Tensor], Tensor]  # numbers (..., n) -> theta (..., 2, 3), (..., 3, 3) or (..., 16, 2)
    grid: Callable[[Tensor, int, int], Tensor]  # theta, height, width -> (..., height, width, 2)
    names: tuple[str, ...] = ()  # names of a restricted map's numbers


def affine_theta(
    rotation: float = 0.0, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)
) -> Tensor:
    """Return theta (2, 3) of the map that reads a rotated, scaled and shifted square of the input.

    The square is rotated by `rotation` (degrees, clockwise on the screen), has `scale` times the image's
    sides and is centred at `shift` (x, y, normalized). The content of the output moves
    in the opposite direction. In an image that is not square, the map also shears the picture.
    Source: Jaderberg et al. 2015, section 3.2. Raises InputError for a number that is not finite, and for a shift that
    is not a pair.

    >>> affine_theta(rotation=90, scale=0.5, shift=(0.25, 0)).round(decimals=3)
    tensor([[ 0.0000, -0.5000,  0.2500],
            [ 0.5000,  0.0000,  0.0000]])
    """
    try:
        x, y = shift
    except (TypeError, ValueError):
        raise InputError(f"shift {shift!r} is not allowed: give two numbers, (x, y).") from None
    for name, value in (("rotation", rotation), ("scale", scale), ("shift", x), ("shift", y)):
        if not is_finite_number(value):
            raise InputError(f"{name} {value!r} is not allowed: give a finite number.")
    angle = math.radians(rotation)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    rows = [[cos, -sin, x], [sin, cos, y]]
    return torch.tensor(rows, dtype=torch.get_default_dtype())  # NumPy's numbers would give float64


@cache
def _theta_shape(transform):
    family = TRANSFORMS[transform]
    return tuple(family.theta(family.identity).shape)


def check_theta(theta: Tensor, transform: str) -> None:
    """Raise InputError unless theta holds maps of this transform: (B, ...), or (B, N, ...) for N maps an image.

    Whole numbers are refused, because they cannot hold the points between pixels. Nothing is checked while torch traces
    or compiles the call, because theta then has no values.
    """
    if not is_running(theta):
        return
    if not theta.is_floating_point():
        raise InputError(f"theta of type {theta.dtype} is not allowed: give floating-point numbers.")
    shape = _theta_shape(transform)
    if theta.ndim not in (3, 4) or tuple(theta.shape[-2:]) != shape:
        numbers = ", ".join(map(str, shape))
        raise InputError(
            f"theta of shape {tuple(theta.shape)} is not allowed for {transform}: give (B, {numbers}), or "
            f"(B, N, {numbers}) for N maps an image."
        )


# --- composition, inverses and distance ---------------------------------------------------------


def _matrices(transform, purpose):
    """Return `transform` if its theta is a matrix, else raise InputError; the error names the `purpose`."""
    if check_choice("transform", transform, TRANSFORMS) == "tps":
        others = ", ".join(name for name in TRANSFORMS if name != "tps")
        raise InputError(f"Transform 'tps' is not allowed for {purpose}: choose one of {others}.")
    return transform


@torch.fx.wrap
def compose(first: Tensor, second: Tensor, transform: str = "affine") -> Tensor:
    """Return theta of two warps in a row: `first` warps the image, `second` warps the result.

    `first`, `second` and the result have the same shape, see `sampling_grid`. The result has the type of `first`. The
    composed map samples the image only once, so that the second warp can show points that the first warp moved out of
    the image.
    Source: Lin and Lucey 2017 (IC-STN). Raises InputError for a spline, an unknown transform and a theta of another
    shape.

    >>> compose(affine_theta(scale=0.5)[None], affine_theta(shift=(0.5, 0))[None])
    tensor([[[0.5000, 0.0000, 0.2500],
             [0.0000, 0.5000, 0.0000]]])
    """
    projective = _matrices(transform, "a composition") == "projective"
    for theta in (first, second):
        check_theta(theta, transform)
    with without_autocast(first):
        a = exact(first)
        b = second.to(a.dtype)
        if projective:
            return (a @ b).to(first.dtype)
        return (a[..., :2] @ b + F.pad(a[..., 2:], (2, 0))).to(first.dtype)


@torch.fx.wrap
def invert(theta: Tensor, transform: str = "affine") -> Tensor:
    """Return theta of the exact inverse maps, from input to output coordinates; for theta, see `sampling_grid`.

    The inverse of a projective map is the inverse matrix, not scaled to a last element of 1: scaling could change its
    sign, and with the sign the points behind the horizon. The inverse of a spline is not a spline, see `inverse_grid`.
    Computed in at least float32, on CUDA in float64; the result has theta's type. Raises InputError for a spline, an
    unknown transform, a theta of another shape and a map without an inverse, which collapses the image to a line.

    >>> invert(affine_theta(scale=0.5, shift=(0.25, 0))[None])
    tensor([[[ 2.0000,  0.0000, -0.5000],
             [ 0.0000,  2.0000,  0.0000]]])
    """
    projective = _matrices(transform, "an exact inverse") == "projective"
    check_theta(theta, transform)
    with without_autocast(theta):
        given = exact(theta)
        try:
            matrix = torch.linalg.inv(given if projective else given[..., :2])
        except torch.linalg.LinAlgError:
            raise InputError(
                "theta has a map without an inverse: give maps whose determinant is not 0."
            ) from None
        if projective:
            return matrix.to(theta.dtype)
        return torch.cat([matrix, -matrix @ given[..., 2:]], -1).to(theta.dtype)


@torch.no_grad()
def inverse_grid(theta: Tensor, height: int, width: int, transform: str = "affine") -> Tensor:
    """Return the grid (B, height, width, 2) that undoes the maps: for each input pixel, the output point that shows it.

    For theta, see `sampling_grid`; N maps an image give (B, N, height, width, 2). A spline must not fold; its inverse
    is found step by step in float64, starting from the inverse of its affine part. Not differentiable. Raises
    InputError as `sampling_grid` does.

    >>> theta = affine_theta(rotation=20).expand(len(images), 2, 3)
    >>> undone = sample(warp(images, theta), inverse_grid(theta, 64, 64))
    """
    check_choice("transform", transform, TRANSFORMS)
    check_theta(theta, transform)
    check_whole_number("Height", height)
    check_whole_number("Width", width)
    with without_autocast(theta):
        if transform != "tps":
            back = invert(exact(theta), transform)
            return TRANSFORMS[transform].grid(back, height, width).to(theta.dtype)
        places = (theta.cpu() if theta.is_mps else theta).double().flatten(0, -3)  # MPS has no float64
        pixels = _pixels(height, width, places.device)
        control = CONTROL_POINTS.to(places)
        affine = torch.linalg.pinv(F.pad(control, (0, 1), value=1.0)) @ places  # (B, 3, 2), least squares
        back = torch.linalg.inv(affine[:, :2])
        points = (pixels - affine[:, 2:]) @ back
        for _ in range(ITERATIONS):
            reached = _tps_weights(points.flatten(0, 1)).view(*points.shape[:2], 16) @ places
            points = points + (pixels - reached) @ back
        return points.to(theta).view(*theta.shape[:-2], height, width, 2)


def grid_distance(theta: Tensor, transform: str = "affine", points: int = 16) -> Tensor:
    """Return the mean squared distance (B,) of each map's grid from the identity's grid, in normalized units.

    The grids have `points` x `points` points. A shift by the whole image, 2 in x, gives 4. N maps an image give
    (B, N). Differentiable in theta. Raises InputError for an unknown transform, a theta of another shape, and `points`
    that is not a whole number from 1.

    >>> grid_distance(affine_theta(shift=(2, 0))[None])
    tensor([4.])
    """
    family = TRANSFORMS[check_choice("transform", transform, TRANSFORMS)]
    check_theta(theta, transform)
    check_whole_number("points", points)
    with without_autocast(theta):
        identity = family.theta(family.identity[None].to(theta))
        moved = family.grid(theta, points, points) - family.grid(identity, points, points)
        return moved.square().sum(-1).mean((-1, -2))


# --- bounds -------------------------------------------------------------------------------------


def check_steps(transform: str, steps: int) -> int:
    """Return `steps` if it is a whole number from 1 that the transform allows, else raise InputError.

    Splines do not compose, so that only 1 is allowed for `tps`.
    """
    steps = check_whole_number("steps", steps)
    if steps > 1:
        _matrices(transform, f"{steps} steps")
    return steps


def check_bounds(
    transform: str, max_scale: float | None, max_angle: float | None
) -> tuple[float | None, float | None]:
    """Return both bounds; raise InputError for a bound out of range, or of a number that `transform` does not have."""
    limits = {"scale": ("max_scale", max_scale, 1, math.inf), "angle": ("max_angle", max_angle, 0, 180)}
    for name, (argument, value, low, high) in limits.items():
        if value is None:
            continue
        if not is_finite_number(value) or not low < value <= high:
            most = f" and at most {high}" if high < math.inf else ""
            raise InputError(
                f"{argument} {value!r} is not allowed: give a number above {low}{most}, or None."
            )
        bounded = [other for other, family in TRANSFORMS.items() if name in family.names]
        if transform not in bounded:
            raise InputError(
                f"{argument} {value!r} is not allowed for {transform} maps: only {', '.join(bounded)} take it."
            )
    return max_scale, max_angle


@torch.fx.wrap
def to_theta(
    numbers: Tensor,
    transform: str = "affine",
    max_scale: float | None = None,
    max_angle: float | None = None,
) -> Tensor:
    """Return theta (B, 2, 3) of a localization net's numbers (B, n); (B, 3, 3) for projective, (B, 16, 2) for tps.

    N maps an image, (B, N, n), give (B, N, 2, 3). `max_scale` keeps a restricted map's scale inside
    [1 / max_scale, max_scale]: scale = exp(L tanh((number - 1) / L)) with L = log(max_scale). `max_angle` keeps its
    angle inside +- max_angle degrees: angle = A tanh(number / A), A being max_angle in radians. Both formulas leave
    the identity unchanged and have slope 1 there. None sets no bound.
    Raises InputError for an unknown transform, for a bound that the transform does not take, and for another n than the
    transform's.

    >>> to_theta(torch.tensor([[9.0]]), "scale", max_scale=2)
    tensor([[[2., -0., 0.],
             [0., 2., 0.]]])
    """
    family = TRANSFORMS[check_choice("transform", transform, TRANSFORMS)]
    check_numbers(numbers, transform, family.identity)
    if max_scale is not None or max_angle is not None:
        check_bounds(transform, max_scale, max_angle)
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
    """Return the coordinates (count,) of `count` pixels in a row or column, with the type and device of `like`."""
    return torch.arange(1 - count, count, 2, dtype=like.dtype, device=like.device) / count


def _products(matrix, height, width):
    """Return matrix (..., n, 3) times (x, y, 1) of each pixel: (..., n, height, width).

    Each product is a number that depends on the pixel's row plus a number that depends on its column. So nothing is
    multiplied pixel by pixel, also in the gradient, and a map without rotation or shear is computed exactly.
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
    grid = torch.stack([x, y], -1) / torch.where(seen, w[..., None], 1.0)  # keeps the gradient finite, too
    return torch.where(seen, grid, OUTSIDE)


def _similarity_theta(numbers, names):
    """Return theta (B, 2, 3) of numbers (B, n) with the given `names`, out of scale, angle, x and y."""
    given = dict(zip(names, numbers.unbind(-1)))
    zero = torch.zeros_like(numbers[..., 0])
    scale, angle = given.get("scale", zero + 1), given.get("angle", zero)
    x, y = given.get("x", zero), given.get("y", zero)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    return torch.stack([cos, -sin, x, sin, cos, y], -1).unflatten(-1, (2, 3))


def _restricted(*names):
    identity = torch.tensor([float(name == "scale") for name in names], device="cpu")
    return Transform(identity, partial(_similarity_theta, names=names), _affine_grid, names)


def _affine_matrix(numbers):
    return numbers.unflatten(-1, (2, 3))


def _projective_matrix(numbers):
    return F.pad(numbers, (0, 1), value=1.0).unflatten(-1, (3, 3))


# --- thin plate splines -------------------------------------------------------------------------


def _tps_places(numbers):
    return numbers.unflatten(-1, (16, 2))


def _tps_grid(theta, height, width):
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    weights = _tps_pixels.__wrapped__ if traced else _tps_pixels  # a traced tensor must not enter the cache
    return (weights(height, width, theta.dtype, theta.device) @ theta).unflatten(-2, (height, width))


@lru_cache(maxsize=16)
def _tps_pixels(height, width, dtype, device):
    """Return the weights (height * width, 16) of `_tps_weights` for the pixels of an image."""
    with torch.inference_mode(False):  # a later call may need gradients through the cached tensor
        return _tps_weights(_pixels(height, width, "cpu")).to(dtype).to(device)


def _pixels(height, width, device):
    """Return the coordinates (height * width, 2) of an image's pixels, row by row, in float64."""
    like = torch.empty(0, dtype=torch.float64, device=device)
    x, y = pixel_centres(width, like), pixel_centres(height, like)
    return torch.stack([x.repeat(height), y.repeat_interleave(width)], -1)


def _tps_weights(points):
    """Return weights (N, 16), float64: weights @ theta are the input points of the output points (N, 2).

    A spline is linear in theta, so that the same weights hold for every theta.
    """
    return _tps_terms(points) @ TPS_INVERSE.to(points)


def _tps_terms(points):
    """Return the spline's terms (N, 19) at points (N, 2): r^2 log r^2 for each control point at distance r; 1, x, y."""
    squared = (points[:, None] - CONTROL_POINTS.to(points)).square().sum(-1)
    bending = squared * squared.clamp_min(torch.finfo(points.dtype).tiny).log()  # 0 at a control point
    return torch.cat([bending, torch.ones_like(points[:, :1]), points], 1)


def _tps_inverse():
    """Return the coefficients (19, 16) of the spline's terms; column j is for theta 1 at control point j, 0 elsewhere.

    The spline must pass through the 16 given points, and its 16 bending terms must have no affine part.
    """
    terms = _tps_terms(CONTROL_POINTS)
    system = torch.cat([terms, F.pad(terms[:, 16:].T, (0, 3))])
    return torch.linalg.inv(system)[:, :16]


# "cpu": this module may be imported while another default device is set
_LINE = torch.linspace(-1, 1, 4, dtype=torch.float64, device="cpu")
CONTROL_POINTS = torch.cartesian_prod(_LINE, _LINE).flip(1)  # (16, 2): x grows first
TPS_INVERSE = _tps_inverse()

TRANSFORMS = {
    "translation": _restricted("x", "y"),
    "scale": _restricted("scale"),
    "attention": _restricted("scale", "x", "y"),
    "rotation": _restricted("angle"),
    "similarity": _restricted("scale", "angle", "x", "y"),
    "affine": Transform(torch.eye(2, 3, device="cpu").flatten(), _affine_matrix, _affine_grid),
    "projective": Transform(torch.eye(3, device="cpu").flatten()[:8], _projective_matrix, _projective_grid),
    "tps": Transform(CONTROL_POINTS.flatten().float(), _tps_places, _tps_grid),
}
