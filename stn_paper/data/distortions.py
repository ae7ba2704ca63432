"""Digits distorted by known maps: MNIST's distortions of Jaderberg et al. 2015, and our own of `digits`.

`datasets` makes its distorted datasets here. Every map is drawn from a seed with NumPy's RandomState, whose
stream never changes, and is a theta of `transformer`'s convention: from the canvas, which a network sees, to
the undistorted digit, which the canvas is read from.

Stated by Jaderberg et al. (section 4.1, Table 1 and appendix A):

- R: turned by an angle drawn uniformly within 90 degrees either way.
- RTS: turned within 45 degrees either way, scaled by 0.7 to 1.2, at a random place on a canvas of 42 x 42.
- P: scaled by 0.75 to 1, then each of the four corners moved by a normal amount with a standard deviation of
  5 pixels.
- E: scaled by 0.75 to 1, then the 16 control points of a thin plate spline, a regular grid, moved by a normal
  amount with a standard deviation of 1.5 pixels.

Chosen here: the canvas of 42 x 42 for all four; R stays in its centre, the others lie at a random place such
that the digit's scaled, upright box of 28 pixels a side lies on the canvas; these pixels are the digit's;
corners of P are drawn again where the digit would be folded or lie behind the horizon; E's control points
are a grid over the canvas; and each image is distorted once.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from ..errors import choose
from ..models.transformer import CONTROL_POINTS, affine_theta, sample, sampling_grid

DIGIT, CANVAS = 28, 42  # pixels of a side
PIXEL = 2 / DIGIT  # one of the digit's, in its normalized coordinates
CORNERS = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])  # of any image, normalized (x, y)
BATCH = 500  # images that are distorted at once


class Distortion(NamedTuple):
    title: str
    kind: str  # of the map, one of `transforms.TRANSFORMS`
    draw: Callable  # RandomState -> theta of one image


def known_theta(name, count, seed=0):
    """The first `count` maps of the distortion `name` (r, rts, p or e) from the canvas to the digit.

    (count, 2, 3) for r and rts, (count, 3, 3) for p, (count, 16, 2) for e; float32. Undoing a distortion
    exactly means predicting its map's inverse.
    """
    draw, random = DISTORTIONS[choose("distortion", name, DISTORTIONS)].draw, np.random.RandomState(seed)
    return torch.tensor(np.stack([draw(random) for _ in range(count)]), dtype=torch.float32)


def distort(digits, theta, kind, image_size):
    """Yield each digit, uint8 (28, 28), as its map shows it: uint8 (1, image_size, image_size)."""
    for start in range(0, len(digits), BATCH):
        some = slice(start, start + BATCH)
        images = torch.tensor(np.stack(digits[some]), dtype=torch.float32)[:, None]
        grid = sampling_grid(theta[some], image_size, image_size, kind)
        yield from sample(images, grid).round().byte()


def digits_theta(count, seed=0):
    """The known map of each image of `digits`: theta (count, 2, 3) to a digit centred on the same canvas.

    Ranges, near RTS: a square of the canvas is read that is turned within 45 degrees either way, has 0.7 to
    1.2 times its sides and is shifted by up to a quarter of half of them.
    """
    draw = np.random.RandomState(seed).uniform
    return torch.stack(
        [
            affine_theta(draw(-45.0, 45.0), draw(0.7, 1.2), draw(-0.25, 0.25, size=2).tolist())
            for _ in range(count)
        ]
    )


# --- one image's map ----------------------------------------------------------------------------


def _placed(scale, centre, rotation=0.0):
    """theta (2, 3) of a digit that is scaled, turned clockwise by degrees and placed at `centre` (x, y)."""
    angle, half = math.radians(rotation), scale * DIGIT / CANVAS
    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]) / half
    return np.column_stack([matrix, -matrix @ centre])


def _centre(random, scale):
    """A random centre (x, y), normalized, of an upright box of `scale` times 28 pixels on the canvas."""
    room = 1 - scale * DIGIT / CANVAS
    return random.uniform(-room, room, 2)


def _rotated(random):
    return _placed(1.0, np.zeros(2), random.uniform(-90, 90))


def _rotated_scaled_translated(random):
    rotation, scale = random.uniform(-45, 45), random.uniform(0.7, 1.2)
    return _placed(scale, _centre(random, scale), rotation)


def _projective(random):
    scale = random.uniform(0.75, 1.0)
    centre = _centre(random, scale)
    while True:
        moved = CORNERS + random.normal(0, 5 * PIXEL, (4, 2))
        shown = centre + moved * scale * DIGIT / CANVAS  # on the canvas
        theta = _homography(shown, CORNERS)
        if (shown @ theta[2, :2] + 1 > 0).all():
            return theta


def _homography(points, images):
    """The matrix (3, 3), its last element 1, that maps four points (x, y) to their images (4, 2)."""
    known = np.column_stack([points, np.ones(4)])
    rows = [[known, 0 * known, -images[:, :1] * points], [0 * known, known, -images[:, 1:] * points]]
    return np.append(np.linalg.solve(np.block(rows), images.T.ravel()), 1.0).reshape(3, 3)


def _elastic(random):
    scale = random.uniform(0.75, 1.0)
    theta, control = _placed(scale, _centre(random, scale)), CONTROL_POINTS.numpy()
    return control @ theta[:, :2].T + theta[:, 2] + random.normal(0, 1.5 * PIXEL, control.shape)


DISTORTIONS = {  # named as in Jaderberg et al.
    "r": Distortion("Rotated", "affine", _rotated),
    "rts": Distortion("Rotated, scaled, translated", "affine", _rotated_scaled_translated),
    "p": Distortion("Projective", "projective", _projective),
    "e": Distortion("Elastic", "tps", _elastic),
}
