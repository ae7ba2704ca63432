"""Families of maps: their grids, numbers, bounds and distance from the identity."""

import importlib.util
import math

import kornia
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stn_paper import SpatialTransformer
from stn_paper.errors import InputError
from stn_paper.models.localization import localization_net
from stn_paper.models.transformer import sampling_grid
from stn_paper.models.transforms import (
    TPS_INVERSE,
    TRANSFORMS,
    affine_theta,
    grid_distance,
    invert,
    pixel_centres,
    to_theta,
)

RESTRICTED = [transform for transform in TRANSFORMS if TRANSFORMS[transform].names]
SIZES = [(28, 28), (33, 57), (64, 64), (101, 7), (224, 224)]


def maps(count, spread=0.4, dtype=torch.float32):
    generator = torch.Generator().manual_seed(3)
    return torch.eye(2, 3, dtype=dtype) + spread * torch.randn(count, 2, 3, generator=generator, dtype=dtype)


def torchs(theta, height, width):
    return F.affine_grid(theta, [len(theta), 1, height, width], align_corners=False)


# --- the affine grid ---


@pytest.mark.parametrize("height, width", SIZES)
def test_the_affine_grid_is_torchs(height, width):
    theta = maps(5)
    ours, theirs, exact = (
        grid.double()
        for grid in (
            sampling_grid(theta, height, width),
            torchs(theta, height, width),
            torchs(theta.double(), height, width),
        )
    )
    assert (ours - exact).abs().max() <= min(3e-7, 1.5 * (theirs - exact).abs().max())
    double = sampling_grid(theta.double(), height, width)
    torch.testing.assert_close(double, exact, atol=1e-14, rtol=0)


@pytest.mark.parametrize("height, width", SIZES)
def test_the_affine_grids_gradient_is_torchs(height, width):
    weight = torch.randn(5, height, width, 2, dtype=torch.float64)
    gradients = []
    for grid in (sampling_grid, torchs):
        theta = maps(5, dtype=torch.float64).requires_grad_()
        (grid(theta, height, width) * weight).sum().backward()
        gradients.append(theta.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("transform", [transform for transform in TRANSFORMS if transform != "tps"])
def test_the_identity_gives_the_exact_pixel_centres(transform, dtype):
    theta = TRANSFORMS[transform].theta(TRANSFORMS[transform].identity[None].to(dtype))
    grid = sampling_grid(theta, 37, 100, transform)
    assert grid.dtype == dtype
    assert torch.equal(grid[0, :, :, 0], pixel_centres(100, theta).expand(37, -1))
    assert torch.equal(grid[0, :, :, 1], pixel_centres(37, theta)[:, None].expand(-1, 100))
    assert torch.equal(pixel_centres(4, torch.zeros(1)), torch.tensor([-0.75, -0.25, 0.25, 0.75]))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_an_empty_batch_gives_an_empty_output(transform):
    stn = SpatialTransformer(localization_net("lstn", 32, transform=transform), transform).eval()
    images = torch.rand(0, 3, 32, 32)
    assert stn(images).shape == images.shape
    assert sampling_grid(stn.theta(images), 5, 6, transform).shape == (0, 5, 6, 2)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_autocast_leaves_the_grid_alone(transform):
    theta = TRANSFORMS[transform].theta(TRANSFORMS[transform].identity[None] + 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        inside = sampling_grid(theta, 9, 9, transform), grid_distance(theta, transform)
    torch.testing.assert_close(
        inside, (sampling_grid(theta, 9, 9, transform), grid_distance(theta, transform))
    )


# --- restricted maps ---


def test_each_transforms_theta_by_hand():
    half, quarter = 0.5, math.pi / 2
    expected = {
        "translation": ([0.3, -0.2], [[1, 0, 0.3], [0, 1, -0.2]]),
        "scale": ([half], [[0.5, 0, 0], [0, 0.5, 0]]),
        "attention": ([half, 0.3, -0.2], [[0.5, 0, 0.3], [0, 0.5, -0.2]]),
        "rotation": ([quarter], [[0, -1, 0], [1, 0, 0]]),
        "similarity": ([half, quarter, 0.3, -0.2], [[0, -0.5, 0.3], [0.5, 0, -0.2]]),
    }
    assert list(expected) == RESTRICTED
    for transform, (numbers, theta) in expected.items():
        torch.testing.assert_close(
            to_theta(torch.tensor([numbers]), transform), torch.tensor([theta]).float()
        )


def test_a_similarity_is_affine_theta_and_kornias():
    numbers = torch.tensor([[0.7, math.radians(30), 0.3, -0.2]])
    theta = to_theta(numbers, "similarity")
    torch.testing.assert_close(theta[0], affine_theta(30, 0.7, (0.3, -0.2)))
    kornias = kornia.geometry.transform.get_affine_matrix2d(
        numbers[:, 2:], torch.zeros(1, 2), numbers[:, :1].expand(1, 2), torch.tensor([30.0])
    )
    torch.testing.assert_close(theta, kornias[:, :2])


@pytest.mark.parametrize("transform", RESTRICTED)
def test_warps_of_restricted_maps_are_kornias(transform):
    images = torch.rand(3, 2, 16, 16, dtype=torch.float64)
    theta = to_theta(
        TRANSFORMS[transform].identity.double()
        + 0.2 * torch.rand(3, len(TRANSFORMS[transform].identity)).double(),
        transform,
    )
    last = torch.tensor([0.0, 0.0, 1.0]).double().expand(3, 1, 3)
    size = torch.tensor([[8.0, 0, 7.5], [0, 8, 7.5], [0, 0, 1]]).double()  # normalized to pixels
    pixels = size @ torch.cat([theta, last], 1) @ size.inverse()
    expected = kornia.geometry.transform.warp_affine(
        images, pixels.inverse()[:, :2], (16, 16), align_corners=True
    )
    ours = F.grid_sample(images, sampling_grid(theta, 16, 16, transform), align_corners=False)
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(invert(invert(theta, transform), transform), theta)


def test_numpys_numbers_give_the_same_theta():
    theta = affine_theta(np.float64(30), np.float64(0.7), (np.float64(0.3), 0.0))
    assert theta.dtype == torch.float32 and torch.equal(theta, affine_theta(30, 0.7, (0.3, 0.0)))


def test_the_constants_are_on_the_cpu_if_the_module_is_imported_under_another_device():
    found = importlib.util.find_spec("stn_paper.models.transforms")
    again = importlib.util.module_from_spec(found)
    with torch.device("meta"):
        found.loader.exec_module(again)
    assert torch.equal(again.TPS_INVERSE, TPS_INVERSE)
    assert all(torch.equal(again.TRANSFORMS[name].identity, row.identity) for name, row in TRANSFORMS.items())


# --- bounds ---


@pytest.mark.parametrize("transform", ["scale", "attention", "rotation", "similarity"])
def test_bounds_hold_start_at_the_identity_and_have_slope_one_there(transform):
    limits = {"max_scale": 2} if transform != "rotation" else {}
    limits |= {"max_angle": 30} if transform in ("rotation", "similarity") else {}
    identity = TRANSFORMS[transform].identity.double()[None]
    assert torch.equal(to_theta(identity, transform, **limits), to_theta(identity, transform))
    slopes = [
        torch.autograd.functional.jacobian(lambda n, kw=kw: to_theta(n, transform, **kw), identity)
        for kw in (limits, {})
    ]
    torch.testing.assert_close(*slopes)
    for far in (-50, 50):
        theta = to_theta(identity + far, transform, **limits)[0, :, :2]
        scale = theta.det().sqrt().item()
        assert math.isclose(scale, 1.0) or 0.499 < scale < 0.501 or 1.999 < scale < 2.001
        assert abs(math.degrees(math.atan2(theta[1, 0], theta[0, 0]))) < 30.001


@pytest.mark.parametrize("transform", ["attention", "similarity"])
def test_bounded_numbers_have_the_right_gradients(transform):
    limits = {"max_scale": 1.5} | ({"max_angle": 45} if transform == "similarity" else {})
    numbers = (
        TRANSFORMS[transform].identity.double() + torch.rand(2, len(TRANSFORMS[transform].identity))
    ).requires_grad_()
    assert torch.autograd.gradcheck(lambda n: to_theta(n, transform, **limits), numbers)


@pytest.mark.parametrize(
    "transform, argument, value",
    [
        ("scale", "max_scale", 1),
        ("scale", "max_scale", math.inf),
        ("scale", "max_scale", math.nan),
        ("scale", "max_scale", 10**400),
        ("scale", "max_scale", "2"),
        ("rotation", "max_angle", 0),
        ("rotation", "max_angle", 181),
        ("rotation", "max_angle", True),
        ("affine", "max_angle", 30),
        ("rotation", "max_scale", 2),
    ],
)
def test_a_wrong_bound_is_named(transform, argument, value):
    with pytest.raises(InputError, match=f"{argument} {value!r} is not allowed"):
        SpatialTransformer(torch.nn.Identity(), transform, **{argument: value})
    with pytest.raises(InputError, match=f"{argument} {value!r} is not allowed"):
        to_theta(torch.zeros(2, len(TRANSFORMS[transform].identity)), transform, **{argument: value})


def test_numpys_numbers_are_bounds():
    numbers = torch.tensor([[9.0, 9.0, 0.0, 0.0]])
    bounded = [to_theta(numbers, "similarity", kind(2), kind(30)) for kind in (float, np.float32)]
    torch.testing.assert_close(*bounded)


# --- distance ---


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_distance_from_the_identity_is_zero_there_and_has_the_right_gradient(transform):
    identity = TRANSFORMS[transform].identity.double()[None]
    assert grid_distance(to_theta(identity, transform), transform).abs().max() < 1e-12
    numbers = (identity + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda n: grid_distance(to_theta(n, transform), transform, points=4), numbers
    )


def test_the_distance_of_a_shift_and_of_a_scale_by_hand():
    shift = affine_theta(shift=(2.0, 0.0))[None]
    torch.testing.assert_close(grid_distance(shift), torch.tensor([4.0]))
    double = affine_theta(scale=2.0)[None]
    places = pixel_centres(16, shift)
    torch.testing.assert_close(grid_distance(double), 2 * places.square().mean()[None])
