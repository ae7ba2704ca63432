"""The transformer moves pixels as its convention says, and agrees with kornia, SciPy and a sampler in NumPy."""

import re

import kornia
import numpy as np
import pytest
import torch
from scipy.interpolate import RBFInterpolator

from stn_paper import SpatialTransformer
from stn_paper.errors import InputError
from stn_paper.models import transformer, transforms
from stn_paper.models.localization import localization_net
from stn_paper.models.transformer import (
    CONTROL_POINTS,
    TRANSFORMS,
    affine_theta,
    compose,
    grid_distance,
    inverse_grid,
    invert,
    sample,
    sampling_grid,
)
from stn_paper.training.hardware import PRECISION_MODES, check_device, compute_in


def warp(images, theta):
    """`images` (B, C, H, W) under one theta (2, 3) for all."""
    return sample(images, sampling_grid(theta.expand(len(images), 2, 3).to(images), *images.shape[-2:]))


def one_pixel(size, row, column):
    image = torch.zeros(1, 1, size, size)
    image[0, 0, row, column] = 1
    return image


def random_theta(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    identity = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    return identity + 0.4 * torch.randn(count, 2, 3, generator=generator)


def random_numbers(transform, count, spread=0.1, seed=0):
    """The numbers (count, parameters), float64, of random maps near the identity."""
    generator = torch.Generator().manual_seed(seed)
    identity = TRANSFORMS[transform].identity.double()
    return identity + spread * torch.randn(count, len(identity), generator=generator, dtype=torch.float64)


def in_each_transform(theta):
    """Affine maps, theta (B, 2, 3), as theta of each transform of GENERAL."""
    last = torch.tensor([0.0, 0.0, 1.0]).to(theta).expand(len(theta), 1, 3)
    control = CONTROL_POINTS.to(theta) @ theta[:, :, :2].mT + theta[:, None, :, 2]
    return {"affine": theta, "projective": torch.cat([theta, last], 1), "tps": control}


def centres(height, width):
    """Pixel centres (height * width, 2) in float64, computed from the words of the convention."""
    y, x = ((torch.arange(n, dtype=torch.float64) + 0.5) * 2 / n - 1 for n in (height, width))
    return torch.stack([x.repeat(height), y.repeat_interleave(width)], 1)


def numpy_bilinear(image, theta):
    """Sample an image (H, W) in NumPy: pixel centres at (i + 0.5) * 2 / n - 1, zeros outside."""
    height, width = image.shape
    out = np.zeros_like(image)
    for i in range(height):
        for j in range(width):
            x, y = theta @ np.array([(j + 0.5) * 2 / width - 1, (i + 0.5) * 2 / height - 1, 1])
            column, row = (x + 1) * width / 2 - 0.5, (y + 1) * height / 2 - 0.5
            for r in (int(np.floor(row)), int(np.floor(row)) + 1):
                for c in (int(np.floor(column)), int(np.floor(column)) + 1):
                    if 0 <= r < height and 0 <= c < width:
                        out[i, j] += image[r, c] * (1 - abs(row - r)) * (1 - abs(column - c))
    return out


def test_the_convention_is_pinned():
    assert (transformer.ALIGN_CORNERS, transformer.PADDING_MODE) == (False, "zeros")
    assert transformer.INTERPOLATION == "bilinear"


GENERAL = ("affine", "projective", "tps")  # each holds all affine maps
# shape of one image's theta
SHAPES = {transform: (2, 3) for transform in TRANSFORMS} | {"projective": (3, 3), "tps": (16, 2)}


def test_the_transforms_of_maps_have_their_numbers_of_parameters():
    assert {name: len(transform.identity) for name, transform in TRANSFORMS.items()} == {
        "translation": 2,
        "scale": 1,
        "attention": 3,
        "rotation": 1,
        "similarity": 4,
        "affine": 6,
        "projective": 8,
        "tps": 32,
    }


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_an_untrained_transformer_is_the_identity_at_every_precision(transform):
    """That each localization net gives the identity's numbers, `test_localization` says."""
    device = check_device("auto")  # on CUDA, a product in TF32 moves pixels too
    images = torch.rand(3, 3, 40, 40, device=device)
    stn = SpatialTransformer(localization_net("lstn", 40, transform=transform), transform).to(device)
    for precision in PRECISION_MODES:
        with compute_in(precision, device.type):
            for mode in (stn.train(), stn.eval()):
                torch.testing.assert_close(mode(images), images, rtol=0, atol=1e-4)
            assert stn.theta(images).shape == (3, *SHAPES[transform])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_in_half_precision_an_untrained_transformer_is_the_identity_within_rounding(transform, dtype):
    images = torch.rand(2, 3, 40, 40).to(dtype)
    stn = SpatialTransformer(localization_net("lstn", 40, transform=transform), transform).to(dtype)
    output = stn(images)
    assert output.dtype == dtype and stn.theta(images).dtype == torch.float32
    torch.testing.assert_close(output, images, rtol=0, atol=4 * torch.finfo(dtype).eps)


def test_a_localization_without_parameters_gets_widened_images():
    seen = []
    stn = SpatialTransformer(
        lambda images: seen.append(images.dtype) or torch.eye(2, 3).view(1, 6).expand(2, 6)
    )
    images = torch.rand(2, 3, 8, 8)
    for dtype in (torch.bfloat16, torch.float64):
        assert stn(images.to(dtype)).dtype == dtype
    assert seen == [torch.float32, torch.float64]


def test_a_shift_reads_from_the_right_and_moves_content_to_the_left():
    shift = 2 * 2 / 8  # two pixels of eight, in normalized units
    moved = warp(one_pixel(8, 3, 5), affine_theta(shift=(shift, 0.0)))
    torch.testing.assert_close(moved, one_pixel(8, 3, 3))


def test_a_shift_in_y_reads_from_below():
    moved = warp(one_pixel(8, 5, 1), affine_theta(shift=(0.0, 2 / 8)))
    torch.testing.assert_close(moved, one_pixel(8, 4, 1))


def test_reading_a_square_turned_clockwise_turns_the_content_anticlockwise():
    top_right = one_pixel(9, 0, 8)
    turned = warp(top_right, affine_theta(rotation=90))
    torch.testing.assert_close(turned, one_pixel(9, 0, 0), atol=1e-5, rtol=0)


def test_scale_half_shows_the_central_half_enlarged():
    image = torch.rand(1, 1, 16, 16)
    enlarged = warp(image, affine_theta(scale=0.5))
    centre = image[..., 4:12, 4:12]
    expected = torch.nn.functional.interpolate(centre, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(enlarged[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])


def test_points_outside_the_image_read_as_zero():
    assert warp(torch.ones(1, 3, 8, 8), affine_theta(shift=(3.0, 0.0))).abs().max() == 0


def test_agrees_with_an_independent_numpy_sampler():
    images = torch.rand(4, 1, 9, 12)
    theta = random_theta(4)
    ours = sample(images, sampling_grid(theta, 9, 12))
    for image, t, out in zip(images, theta, ours):
        expected = numpy_bilinear(image[0].double().numpy(), t.double().numpy())
        np.testing.assert_allclose(out[0], expected, atol=1e-5)


def test_agrees_with_kornia():
    images, theta = torch.rand(4, 3, 16, 16), random_theta(4, seed=1)
    centres = (torch.arange(16) + 0.5) * 2 / 16 - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    points = torch.einsum("bij,jhw->bihw", theta, torch.stack([x, y, torch.ones(16, 16)]))
    columns, rows = ((points + 1) * 16 / 2 - 0.5).unbind(1)  # in pixels, the first one's centre at 0
    expected = kornia.geometry.transform.remap(images, columns, rows, align_corners=True)
    torch.testing.assert_close(sample(images, sampling_grid(theta, 16, 16)), expected, atol=1e-4, rtol=1e-4)


def test_gradients_are_right_in_float64():
    images = torch.rand(2, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    theta = random_theta(2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda i, t: sample(i, sampling_grid(t, 5, 5)), (images, theta))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_images_of_a_batch_do_not_mix(transform):
    torch.manual_seed(0)
    stn = SpatialTransformer(localization_net("lstn", 32, transform=transform), transform).eval()
    torch.nn.init.normal_(stn.localization.head[-1].weight, std=0.5)
    images = torch.rand(3, 3, 32, 32)
    alone = torch.cat([stn(image[None]) for image in images])
    torch.testing.assert_close(stn(images), alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(stn(images), images, atol=1e-2)


# --- projective maps and splines ---


@pytest.mark.parametrize("transform", GENERAL)
def test_an_affine_map_is_the_same_in_each_transform(transform):
    theta = torch.cat([affine_theta(30, 0.7, (0.3, -0.2))[None], random_theta(4)])
    expected = sampling_grid(theta, 7, 12)
    grid = sampling_grid(in_each_transform(theta)[transform], 7, 12, transform)
    torch.testing.assert_close(grid, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_grids_of_each_transform_have_the_right_gradients(transform):
    numbers = random_numbers(transform, 2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda n: sampling_grid(TRANSFORMS[transform].theta(n), 3, 4, transform),
        numbers,
        check_batched_grad=True,
    )


def test_projective_grids_agree_with_kornia():
    theta = TRANSFORMS["projective"].theta(random_numbers("projective", 5, 0.2))
    points = centres(9, 6).expand(5, -1, -1)
    expected = kornia.geometry.linalg.transform_points(theta, points).view(5, 9, 6, 2)
    torch.testing.assert_close(sampling_grid(theta, 9, 6, "projective"), expected)


def test_projective_warps_are_kornias():
    images = torch.rand(5, 2, 9, 6, dtype=torch.float64)
    theta = TRANSFORMS["projective"].theta(random_numbers("projective", 5, 0.1))
    pixels = torch.tensor([[3.0, 0, 2.5], [0, 4.5, 4], [0, 0, 1]]).double()  # from normalized coordinates
    forth = (pixels @ theta @ pixels.inverse()).inverse()  # kornia maps the input's pixels to the output's
    expected = kornia.geometry.transform.warp_perspective(images, forth, (9, 6), align_corners=True)
    torch.testing.assert_close(sample(images, sampling_grid(theta, 9, 6, "projective")), expected)


def test_splines_have_kornias_terms():
    theta = TRANSFORMS["tps"].theta(random_numbers("tps", 3, 0.3))
    control = CONTROL_POINTS.expand(3, 16, 2)
    weights = transforms.TPS_INVERSE @ theta  # kornia's own weights are of another spline: centred at theta
    points = centres(9, 6).expand(3, -1, -1)
    expected = kornia.geometry.transform.warp_points_tps(
        points, control, 2 * weights[:, :16], weights[:, 16:]
    )
    torch.testing.assert_close(sampling_grid(theta, 9, 6, "tps").flatten(1, 2), expected)


def test_splines_agree_with_scipy():
    theta = TRANSFORMS["tps"].theta(random_numbers("tps", 3, 0.3))
    for ours, places in zip(sampling_grid(theta, 9, 6, "tps"), theta):
        spline = RBFInterpolator(CONTROL_POINTS.numpy(), places.numpy(), kernel="thin_plate_spline", degree=1)
        np.testing.assert_allclose(ours.reshape(-1, 2), spline(centres(9, 6).numpy()), atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_grids_of_half_precision_are_computed_in_float32(transform, dtype):
    theta = TRANSFORMS[transform].theta(random_numbers(transform, 2)).to(dtype)
    grid = sampling_grid(theta, 300, 7, transform)
    assert torch.equal(grid, sampling_grid(theta.float(), 300, 7, transform).to(dtype))


def test_splines_in_float32_are_as_exact_as_float32():
    theta = TRANSFORMS["tps"].theta(random_numbers("tps", 3, 0.3))
    grid = sampling_grid(theta.float(), 64, 64, "tps")
    torch.testing.assert_close(grid.double(), sampling_grid(theta, 64, 64, "tps"), atol=2e-6, rtol=0)


def test_control_points_lie_row_by_row_and_are_the_outputs():
    assert CONTROL_POINTS[[0, 1, 4]].tolist() == pytest.approx(
        np.array([[-1, -1], [-1 / 3, -1], [-1, -1 / 3]])
    )
    theta = TRANSFORMS["tps"].theta(TRANSFORMS["tps"].identity[None].clone())
    theta[0, 3, 0] += 0.5  # the output's top right corner is read from further right
    moved = (sampling_grid(theta, 40, 40, "tps") - sampling_grid(affine_theta()[None], 40, 40))[0]
    assert 0.45 < moved[0, -1, 0] < 0.5 and moved[..., 1].abs().max() < 1e-5
    assert moved[..., 0].argmax() == 39 and moved[[-1, 0, -1], [0, 0, -1]].abs().max() < 0.1


def test_points_behind_the_horizon_read_as_zero_with_finite_gradients():
    numbers = TRANSFORMS["projective"].identity.repeat(2, 1)
    numbers[0, 6] = 1 / 0.625  # w is 0 at x = -0.625, the centre of a pixel, and negative to its left
    numbers[1, 6:] = torch.tensor([5.0, -7.0])
    numbers.requires_grad_()
    grid = sampling_grid(TRANSFORMS["projective"].theta(numbers), 8, 8, "projective")
    shown = sample(torch.ones(2, 1, 8, 8), grid)
    assert shown[0, 0, :, :2].abs().max() == 0 and shown[0, 0, 3:5, 4:].min() > 0.9
    x = (torch.arange(8) + 0.5) / 4 - 1
    w = 1 + 5.0 * x - 7.0 * x[:, None]
    mirrored = (w < 0) & (torch.maximum(x.abs(), x.abs()[:, None]) < -w)  # (x, y) / w lies in the image
    assert mirrored.sum() > 9 and shown[1, 0][mirrored].abs().max() == 0
    (shown.square().sum() + grid.sum()).backward()
    assert grid.isfinite().all() and numbers.grad.isfinite().all() and numbers.grad.abs().max() > 0


@pytest.mark.parametrize("transform", [transform for transform in TRANSFORMS if transform != "tps"])
def test_a_map_after_its_inverse_is_the_identity(transform):
    theta = TRANSFORMS[transform].theta(random_numbers(transform, 5))
    torch.testing.assert_close(invert(invert(theta, transform), transform), theta)
    matrices = [
        t if transform == "projective" else in_each_transform(t)["projective"]
        for t in (theta, invert(theta, transform))
    ]
    torch.testing.assert_close(matrices[0] @ matrices[1], torch.eye(3).double().expand(5, 3, 3))


@pytest.mark.parametrize("transform", ["affine", "projective"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_and_half_precision_round_an_inverse_once(transform, dtype):
    theta = TRANSFORMS[transform].theta(random_numbers(transform, 5).float())
    with torch.autocast("cpu", dtype):
        inverted = invert(theta, transform)
    assert torch.equal(inverted, invert(theta, transform))
    half = theta.to(dtype)
    assert torch.equal(invert(half, transform), invert(half.float(), transform).to(dtype))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_no_map_has_no_inverse_grid(transform):
    theta = TRANSFORMS[transform].theta(random_numbers(transform, 1))[:0]
    assert inverse_grid(theta, 5, 6, transform).shape == (0, 5, 6, 2)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_inverse_grid_undoes_the_map(transform):
    numbers = random_numbers(transform, 4, 0.05)
    theta = TRANSFORMS[transform].theta(numbers)
    # the map itself as an image of two channels
    points = sampling_grid(theta, 256, 256, transform).movedim(-1, 1)
    undone = inverse_grid(theta, 32, 32, transform)
    several = inverse_grid(theta.unflatten(0, (2, 2)), 32, 32, transform)  # two maps an image
    torch.testing.assert_close(several.flatten(0, 1), undone)
    inside = (undone.abs() < 1 - 1 / 256).all(-1)
    assert inside.double().mean() > 0.7
    reached = sample(points, undone).movedim(1, -1)
    expected = centres(32, 32).view(1, 32, 32, 2).expand_as(reached)
    torch.testing.assert_close(reached[inside], expected[inside], atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", [(2, 3), (1, 3, 3), (1, 2, 2), (1, 16, 2)])
@pytest.mark.parametrize(
    "function",
    [
        invert,
        grid_distance,
        lambda t: compose(t, t),
        lambda t: inverse_grid(t, 4, 4),
    ],
)
def test_an_affine_theta_of_another_shape_is_named(function, shape):
    with pytest.raises(InputError) as error:
        function(torch.zeros(shape))
    assert str(shape) in str(error.value) and "(B, 2, 3)" in str(error.value)


@pytest.mark.parametrize(
    "numbers",
    [{"rotation": float("nan")}, {"scale": float("inf")}, {"scale": "1"}, {"shift": (0, None)}, {"shift": 1}],
)
def test_a_number_of_a_map_that_is_not_finite_is_named(numbers):
    with pytest.raises(InputError, match=next(iter(numbers))):
        affine_theta(**numbers)


@pytest.mark.parametrize("size", [(0, 4), (4, 2.5)])
def test_an_inverse_grid_of_a_wrong_size_is_named(size):
    with pytest.raises(InputError):
        inverse_grid(torch.eye(2, 3)[None], *size)


def test_splines_have_no_exact_inverse():
    with pytest.raises(InputError, match="'tps'"):
        invert(torch.zeros(1, 16, 2), "tps")


def test_a_spline_used_first_without_gradients_trains_and_stores_nothing():
    stn = SpatialTransformer(localization_net("lstn", 37, transform="tps"), "tps")
    images = torch.rand(2, 3, 37, 37)
    with torch.inference_mode():
        stn(images)
    stn(images).square().sum().backward()
    assert stn.localization.head[-1].weight.grad.abs().max() > 0
    assert all(key.startswith("localization.") for key in stn.state_dict())
    assert stn.double()(images.double()).dtype == torch.float64
    assert stn.to("meta")(images.to("meta", torch.float64)).shape == images.shape


@pytest.mark.parametrize("size", [0, (4, 0), "4", (1, 2, 3)])
def test_a_size_of_the_output_is_a_number_or_a_pair(size):
    images, theta = torch.rand(2, 3, 8, 8), affine_theta(scale=0.5).expand(2, 2, 3)
    assert torch.equal(
        transformer.warp(images, theta, output_size=4), transformer.warp(images, theta, output_size=(4, 4))
    )
    with pytest.raises(InputError, match="output_size"):
        transformer.warp(images, theta, output_size=size)


def test_an_unknown_transform_is_named():
    match = f"'elastic': choose one of {', '.join(TRANSFORMS)}"
    for call in (
        lambda: SpatialTransformer(torch.nn.Identity(), "elastic"),
        lambda: sampling_grid(torch.zeros(1, 2, 3), 4, 4, "elastic"),
    ):
        with pytest.raises(InputError, match=match):
            call()


@pytest.mark.parametrize("padding", [float("nan"), True, None, ("a", "b", "c"), "edge", ()])
def test_a_wrong_padding_is_named_by_warp_too(padding):
    with pytest.raises(InputError, match="padding"):
        transformer.warp(torch.rand(1, 3, 8, 8), affine_theta()[None], padding=padding)


@pytest.mark.parametrize(
    "shape, transform",
    [
        ((2, 3), "affine"),
        ((5, 3, 3), "affine"),
        ((5, 2, 3), "projective"),
        ((5, 16, 3), "tps"),
        ((1,) * 5, "scale"),
    ],
)
def test_a_theta_of_another_shape_is_named(shape, transform):
    with pytest.raises(InputError, match=f"{re.escape(str(shape))} is not allowed for {transform}"):
        sampling_grid(torch.zeros(shape), 4, 4, transform)


@pytest.mark.parametrize(
    "call",
    [
        lambda theta: sampling_grid(theta, 4, 4),
        lambda theta: transformer.warp(torch.rand(1, 3, 4, 4), theta),
        invert,
        grid_distance,
    ],
)
def test_whole_numbers_are_no_theta(call):
    with pytest.raises(InputError, match=r"torch\.int64"):
        call(torch.tensor([[[1, 0, 0], [0, 1, 0]]]))


@pytest.mark.parametrize(
    "transform, theta", [("affine", torch.zeros(2, 3)), ("projective", torch.ones(3, 3))]
)
def test_a_map_without_an_inverse_is_named(transform, theta):
    identity = torch.eye(*theta.shape)
    with pytest.raises(InputError, match="inverse"):
        invert(torch.stack([identity, theta]), transform)


def test_a_composition_has_the_type_of_its_first_map():
    first, second = affine_theta(scale=0.5)[None], affine_theta(shift=(0.5, 0))[None].double()
    assert compose(first, second).dtype == torch.float32 and compose(second, first).dtype == torch.float64
    assert compose(first, second)[0, 0, 2] == 0.25


@pytest.mark.parametrize("points", [0, 2.5])
def test_a_distance_needs_a_whole_number_of_points(points):
    with pytest.raises(InputError, match=f"points {points}"):
        grid_distance(affine_theta()[None], points=points)


def test_a_localization_net_can_be_called():
    with pytest.raises(InputError, match="'lstn'"):
        SpatialTransformer("lstn")


@pytest.mark.parametrize("sides", [(0, 4), (4, -3), (2.5, 4)])
def test_a_grid_has_whole_sides(sides):
    with pytest.raises(InputError, match=r"Height|Width"):
        sampling_grid(torch.zeros(1, 2, 3), *sides)


def test_a_bypassed_transformer_has_no_penalty():
    stn = SpatialTransformer(localization_net("stn", 37), applied=False)
    stn(torch.rand(2, 3, 37, 37))
    with pytest.raises(InputError, match="bypassed"):
        stn.penalty()
