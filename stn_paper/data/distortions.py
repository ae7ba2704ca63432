"""Digits distorted by known maps: MNIST's distortions of Jaderberg et al. 2015, and our own of `digits`.

`datasets` makes its distorted datasets with these functions. Maps are drawn with NumPy's RandomState, whose stream
never changes. They are thetas by the convention of `models.transforms`: from the canvas, which is the network's input,
to the undistorted digit.

Stated by Jaderberg et al. (section 4.1, Table 1 and appendix A):

- R: rotated by an angle drawn uniformly from -90 to 90 degrees.
- RTS: rotated by -45 to 45 degrees, scaled by 0.7 to 1.2, at a random place on a canvas of 42 x 42.
- P: scaled by 0.75 to 1, then each of the four corners moved by a normal amount with a standard deviation of
  5 pixels.
- E: scaled by 0.75 to 1, then the 16 control points of a thin plate spline, a regular grid, moved by a normal
  amount with a standard deviation of 1.5 pixels.

Chosen here: a canvas of 42 x 42 for all four. In R the digit is in the centre; in the others it is at a random place at
which the digit's scaled, upright box of 28 pixels a side lies on the canvas. The pixels above are pixels of the digit.
P moves the corners of the digit; they are drawn again if the digit would fold or lie behind the horizon. E's control
points are a grid over the canvas. Each image of a dataset is distorted once; a protocol with augmentation draws new
distortions of the training images for each batch (`new_theta`).

We read P and E in two ways: they move corners and a grid of the digit or of the canvas. Two further distortions are
the other reading of P and E, with the digit in the centre. `p-canvas` moves each corner of the canvas by a normal
amount with a standard deviation of 5 pixels of the canvas. `e-digit` moves a grid of control points over an image of 28
pixels, and then enlarges the image to the canvas.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from ..errors import check_choice
from ..models.transformer import CONTROL_POINTS, affine_theta, sample, sampling_grid

DIGIT, CANVAS = 28, 42  # pixels of a side
PIXEL = 2 / DIGIT  # side of a pixel of the digit, in the digit's normalized coordinates
CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])  # of an image, normalized (x, y)
IMAGES_AT_ONCE = 500  # images that are distorted at once


class Distortion(NamedTuple):
    label: str  # short name in tables
    title: str
    kind: str  # kind of the map: a key of `transforms.TRANSFORMS`
    draw: Callable  # (RandomState, count) -> theta of `count` images


def known_theta(name, count, seed=0):
    """Return the first `count` maps of the distortion `name`, a key of DISTORTIONS, from the canvas to the digit.

    (count, 2, 3) for r and rts, (count, 3, 3) for p and p-canvas, (count, 16, 2) for e and e-digit; float32. A
    transformer that undoes a distortion exactly predicts the inverse of its map. Raises InputError for an unknown name.
    Source: Jaderberg et al. 2015, section 4.1 and appendix A.
    """
    draw, random = (
        DISTORTIONS[check_choice("distortion", name, DISTORTIONS)].draw,
        np.random.RandomState(seed),
    )
    maps = [draw(random, 1) for _ in range(count)]  # one by one, so that a map does not depend on `count`
    return torch.tensor(np.concatenate(maps), dtype=torch.float32)


def new_theta(name, count, random):
    """Return `count` maps of a distortion or of JITTER, drawn from the RandomState `random`, for a training batch.

    Shapes as in `known_theta`, which draws the maps of the stored images.

    >>> new_theta("rts", 5, np.random.RandomState(0)).shape
    torch.Size([5, 2, 3])
    """
    draw = _jitter if name == JITTER else DISTORTIONS[check_choice("distortion", name, DISTORTIONS)].draw
    return torch.tensor(draw(random, count), dtype=torch.float32)


def distort_digits(digits, theta, kind, image_size):
    """Yield each digit, uint8 (28, 28), distorted by its map: uint8 (1, image_size, image_size)."""
    for start in range(0, len(digits), IMAGES_AT_ONCE):
        some = slice(start, start + IMAGES_AT_ONCE)
        images = torch.tensor(np.stack(digits[some]))[:, None]
        yield from distort_images(images, theta[some], kind, image_size)


def distort_images(images, theta, kind="affine", image_size=None, padding="zeros"):
    """Warp uint8 images (B, C, H, W) by their maps: uint8 (B, C, S, S), S being `image_size` or by default W."""
    size = image_size or images.shape[-1]
    return sample(images.float(), sampling_grid(theta, size, size, kind), padding).round().byte()


def digits_theta(count, seed=0):
    """Return the known map of each image of `digits`: theta (count, 2, 3) to a digit in the centre of the same canvas.

    Ranges, similar to RTS: rotation within 45 degrees either way, scale 0.7 to 1.2, and shift up to 0.25 in normalized
    coordinates, a quarter of half a side.
    """
    draw = np.random.RandomState(seed).uniform
    return torch.stack(
        [
            affine_theta(draw(-45.0, 45.0), draw(0.7, 1.2), draw(-0.25, 0.25, size=2).tolist())
            for _ in range(count)
        ]
    )


# --- maps: each function draws theta of `count` images ------------------------------------------


def _placed(scale, centre, rotation):
    """Return theta (N, 2, 3) of digits with `scale` (N,), `rotation` (N,) in degrees clockwise and `centre` (N, 2)."""
    angle, half = np.radians(rotation), scale * DIGIT / CANVAS
    cos, sin = np.cos(angle) / half, np.sin(angle) / half
    matrix = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    return np.concatenate([matrix, -matrix @ centre[:, :, None]], -1)


def _centre(random, scale):
    """Draw centres (N, 2), normalized (x, y), at which boxes of `scale` (N,) times 28 pixels lie on the canvas."""
    margin = 1 - scale[:, None] * DIGIT / CANVAS
    return random.uniform(-1, 1, (len(scale), 2)) * margin


def _rotated(random, count):
    return _placed(np.ones(count), np.zeros((count, 2)), random.uniform(-90, 90, count))


def _rotated_scaled_translated(random, count):
    rotation, scale = random.uniform(-45, 45, count), random.uniform(0.7, 1.2, count)
    return _placed(scale, _centre(random, scale), rotation)


def _projective(random, count):
    scale = random.uniform(0.75, 1.0, count)
    centre, half = _centre(random, scale)[:, None], (scale * DIGIT / CANVAS)[:, None, None]
    return _corners_moved(random, count, 5 * PIXEL, lambda moved, some: centre[some] + moved * half[some])


def _projective_canvas(random, count):
    scale = random.uniform(0.75, 1.0, count)
    theta = _corners_moved(random, count, 5 * 2 / CANVAS, lambda moved, some: moved)
    theta[:, :2] *= (CANVAS / DIGIT / scale)[:, None, None]
    return theta


def _corners_moved(random, count, deviation, place):
    """Draw projective maps (count, 3, 3) from the canvas to a square whose corners are moved.

    Each corner moves by a normal amount with the standard deviation `deviation`, along x and y. `place` takes the moved
    corners (K, 4, 2) and the indices of their images, and returns the corners on the canvas. Folded squares are drawn
    again.
    """
    theta, wrong = np.empty((count, 3, 3)), np.arange(count)
    while len(wrong):
        corners = place(CORNERS + random.normal(0, deviation, (len(wrong), 4, 2)), wrong)
        theta[wrong] = _homography(corners)
        depth = corners @ theta[wrong, 2, :2, None] + 1
        wrong = wrong[(depth <= 0).any((1, 2))]
    return theta


def _homography(points):
    """Return the matrices (N, 3, 3), with last element 1, that map points (N, 4, 2), (x, y), to CORNERS."""
    homogeneous = np.concatenate([points, np.ones((*points.shape[:2], 1))], -1)
    to = np.broadcast_to(CORNERS, points.shape)
    rows = [
        np.concatenate([homogeneous, 0 * homogeneous, -to[..., :1] * points], -1),
        np.concatenate([0 * homogeneous, homogeneous, -to[..., 1:] * points], -1),
    ]
    values = np.concatenate([to[..., 0], to[..., 1]], -1)
    solved = np.linalg.solve(np.concatenate(rows, 1), values[..., None])[..., 0]
    return np.concatenate([solved, np.ones((len(points), 1))], -1).reshape(-1, 3, 3)


def _elastic(random, count):
    scale = random.uniform(0.75, 1.0, count)
    theta, control = _placed(scale, _centre(random, scale), np.zeros(count)), CONTROL_POINTS.numpy()
    noise = random.normal(0, 1.5 * PIXEL, (count, *control.shape))
    return control @ theta[:, :, :2].transpose(0, 2, 1) + theta[:, None, :, 2] + noise


def _elastic_digit(random, count):
    scale, control = random.uniform(0.75, 1.0, count), CONTROL_POINTS.numpy()
    return (control + random.normal(0, 1.5 * PIXEL, (count, *control.shape))) / scale[:, None, None]


def _jitter(random, count):
    """Draw shifts by up to a twentieth of the image's side along x and y, and scales of 0.9 to 1.1."""
    scale, shift = random.uniform(0.9, 1.1, count), random.uniform(-0.1, 0.1, (count, 2))
    theta = np.zeros((count, 2, 3))
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = shift
    return theta


JITTER = "jitter"
DISTORTIONS = {  # named as in Jaderberg et al.; the last two are other readings of p and e
    "r": Distortion("R", "Rotated", "affine", _rotated),
    "rts": Distortion("RTS", "Rotated, scaled, translated", "affine", _rotated_scaled_translated),
    "p": Distortion("P", "Projective", "projective", _projective),
    "e": Distortion("E", "Elastic", "tps", _elastic),
    "p-canvas": Distortion("P, canvas", "Corners of the canvas moved", "projective", _projective_canvas),
    "e-digit": Distortion("E, digit", "A grid over the digit moved", "tps", _elastic_digit),
}
