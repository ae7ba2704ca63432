"""The known maps of distorted digits: they have the stated ranges, never change, and are undone by their inverses."""

import math

import numpy as np
import pytest
import torch
from helpers import correlation

from stn_paper.data.datasets import embedded_digits
from stn_paper.data.distortions import CORNERS, DISTORTIONS, distort_digits, known_theta
from stn_paper.errors import InputError
from stn_paper.models.transformer import CONTROL_POINTS, inverse_grid, invert, sample

DIGITS = embedded_digits()[0][::50]
COUNT = 4000
HALF = 28 / 42  # of the canvas's sides: the box of a digit at scale 1


@pytest.fixture(scope="module")
def maps():
    return {name: known_theta(name, COUNT).double() for name in DISTORTIONS}


def shown(name):
    """Distorted digits (N, 1, 42, 42), as float32, and their maps."""
    theta = known_theta(name, len(DIGITS))
    return torch.stack(list(distort_digits(DIGITS, theta, DISTORTIONS[name].kind, 42))), theta


def fills(values, low, high):
    tolerance = 0.01 * (high - low)
    return low - 1e-5 <= values.min() < low + tolerance and high - tolerance < values.max() <= high + 1e-5


def placement(theta):
    """(degrees clockwise, scale, centre (x, y)) of the digits on the canvas, from affine maps (N, 2, 3)."""
    forward = invert(theta)
    rotation = torch.rad2deg(torch.atan2(forward[:, 1, 0], forward[:, 0, 0]))
    scale = forward[:, :, 0].norm(dim=1) / HALF
    torch.testing.assert_close(torch.linalg.det(forward[:, :, :2]), (scale * HALF) ** 2)  # not sheared
    return rotation, scale, forward[:, :, 2]


def test_every_map_is_of_its_kind(maps):
    shapes = {"r": (2, 3), "rts": (2, 3), "p": (3, 3), "e": (16, 2), "p-canvas": (3, 3), "e-digit": (16, 2)}
    assert {name: theta.shape[1:] for name, theta in maps.items()} == shapes
    kinds = {(2, 3): "affine", (3, 3): "projective", (16, 2): "tps"}
    assert {name: d.kind for name, d in DISTORTIONS.items()} == {n: kinds[s] for n, s in shapes.items()}


def test_r_turns_by_90_degrees_either_way_and_does_nothing_else(maps):
    rotation, scale, centre = placement(maps["r"])
    assert fills(rotation, -90, 90) and centre.abs().max() < 1e-6
    torch.testing.assert_close(scale, torch.ones_like(scale), atol=1e-6, rtol=0)


def test_rts_fills_its_ranges_and_stays_on_the_canvas(maps):
    rotation, scale, centre = placement(maps["rts"])
    assert fills(rotation, -45, 45) and fills(scale, 0.7, 1.2)
    assert fills(centre / (1 - scale * HALF)[:, None], -1, 1)  # from one edge of the canvas to the other


def corners_of(theta):
    """The places (N, 4, 2), clockwise, of the digit's corners on the canvas under projective maps (N, 3, 3)."""
    corners = torch.tensor([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], dtype=torch.float64)
    points = corners @ invert(theta, "projective").mT
    return points[..., :2] / points[..., 2:]


def test_p_moves_each_corner_by_5_of_the_digits_pixels(maps):
    corners = corners_of(maps["p"]) * 21  # pixels of the canvas
    square = torch.tensor([[-14, -14], [14, -14], [14, 14], [-14, 14]]).double()
    scale = torch.einsum("nij,ij->n", corners, square) / square.square().sum()
    assert scale.mean() == pytest.approx(0.875, abs=0.01)
    twist = corners[:, 0] - corners[:, 1] + corners[:, 2] - corners[:, 3]  # of a moved square it is 0
    square_scale = (1 - 0.75**3) / 0.75  # the mean of the scale's square
    assert twist.std().item() == pytest.approx(2 * 5 * math.sqrt(square_scale), rel=0.03)
    assert twist.mean(0).abs().max() < 0.5
    mean_square_shift = (10.5**3 - 7**3) / 3 / 3.5  # of 21 - 14 scale, the largest shift of the centre
    spread = math.sqrt(mean_square_shift / 3 + 5**2 / 4 * square_scale)
    assert corners.mean(1).std(0).tolist() == pytest.approx([spread] * 2, rel=0.03)


@pytest.mark.parametrize("name", ["p", "p-canvas"])
def test_p_never_folds_a_digit(maps, name):
    corners = corners_of(maps[name])
    sides = corners.roll(-1, 1) - corners
    turns = sides[:, :, 0] * sides.roll(-1, 1)[:, :, 1] - sides[:, :, 1] * sides.roll(-1, 1)[:, :, 0]
    assert turns.min() > 0  # clockwise at each corner: convex
    weights = torch.cat([corners, torch.ones(COUNT, 4, 1)], 2) @ maps[name][:, 2, :, None]
    assert weights.min() > 0  # in front of the horizon


def test_p_of_the_canvas_moves_its_corners_by_5_of_its_pixels():
    for seed in range(20):
        draw = np.random.RandomState(seed)
        scale, moved = draw.uniform(0.75, 1.0), CORNERS + draw.normal(0, 5, (4, 2)) / 21
        (theta,) = known_theta("p-canvas", 1, seed).double()
        points = torch.tensor(np.c_[moved, np.ones(4)]) @ theta.T
        assert (points[:, :2] / points[:, 2:]).numpy() == pytest.approx(CORNERS / HALF / scale, abs=1e-4)


@pytest.mark.parametrize(
    "name, pixels, side",
    [("e", 1.5, 42 / 28), ("e-digit", 1.5 * math.sqrt(4 / 3), 1.0)],  # 4/3: the mean of the squared 1 / scale
)
def test_e_moves_each_control_point_by_1_5_pixels(maps, name, pixels, side):
    homogeneous = torch.nn.functional.pad(CONTROL_POINTS, (0, 1), value=1.0)
    affine = torch.linalg.pinv(homogeneous) @ maps[name]
    residual = (maps[name] - homogeneous @ affine) * 14  # pixels; three of 16 directions are the affine map's
    assert residual.square().mean().sqrt().item() == pytest.approx(pixels * math.sqrt(13 / 16), rel=0.01)
    assert residual.mean(0).abs().max() < 0.1
    mean = side * math.log(1 / 0.75) / 0.25  # of the side / scale
    assert affine[:, [0, 1], [0, 1]].mean().item() == pytest.approx(mean, rel=0.01)
    assert affine[:, [0, 1], [1, 0]].mean().abs() < 0.01


@pytest.mark.parametrize("name", DISTORTIONS)
def test_maps_follow_their_seed(name):
    assert torch.equal(known_theta(name, 3, seed=1), known_theta(name, 3, seed=1))
    assert torch.equal(known_theta(name, 3), known_theta(name, 5)[:3])
    assert not torch.equal(known_theta(name, 3, seed=1), known_theta(name, 3))


@pytest.mark.parametrize(
    "name, numbers",
    [
        ("r", [1.4823968, 0.2291277, 0.0]),
        ("rts", [1.4141455, 0.1086411, -0.0885982]),
        ("p", [1.5025703, -1.1357154, -0.2538905]),
        ("e", [-2.2310061, -1.6897846, -0.9511256]),
        ("p-canvas", [2.4648989, -0.2814254, 0.5178481]),
        ("e-digit", [-1.0375792, -0.9396001, -0.6496464]),
    ],
)
def test_maps_never_change(name, numbers):
    assert known_theta(name, 1).flatten()[:3].tolist() == pytest.approx(numbers, abs=1e-5)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_the_inverse_brings_the_digit_back(name):
    images, theta = shown(name)
    undone = sample(images.float(), inverse_grid(theta, 28, 28, DISTORTIONS[name].kind))
    similarity = correlation(undone, torch.tensor(DIGITS))
    assert similarity.median() > 0.96 and similarity.quantile(0.05) > 0.85
    others = sample(images.float(), inverse_grid(theta.roll(1, 0), 28, 28, DISTORTIONS[name].kind))
    # another digit's map does not
    assert correlation(others, torch.tensor(DIGITS)).nan_to_num().median() < 0.6


def test_distortions_differ_and_are_bytes():
    images = [shown(name)[0] for name in DISTORTIONS]
    assert all(i.dtype == torch.uint8 and i.shape == (100, 1, 42, 42) for i in images)
    for i, first in enumerate(images):
        assert all(correlation(first, other).median() < 0.9 for other in images[:i])


def test_r_at_no_angle_is_the_digit_in_the_middle():
    theta = torch.eye(2, 3)[None] / HALF
    shown = next(distort_digits(DIGITS[:1], theta, "affine", 42))
    assert np.array_equal(shown[0, 7:35, 7:35], DIGITS[0])
    assert shown.sum() == DIGITS[0].sum()


def test_an_unknown_distortion_is_named():
    with pytest.raises(InputError, match="distortion 'tc': choose one of r, rts, p, e, p-canvas, e-digit"):
        known_theta("tc", 1)
