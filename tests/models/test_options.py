"""The options of a SpatialTransformer: sizes, padding, theta, the penalty, the warning."""

import copy
import io
import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stn_paper import SpatialTransformer
from stn_paper.errors import InputError
from stn_paper.models import guards
from stn_paper.models.localization import ConstantMap, localization_net
from stn_paper.models.transformer import TRANSFORMS, affine_theta, sample, sampling_grid, warp


class Fixed(torch.nn.Module):
    """A localization net that gives the same affine numbers for every image."""

    def __init__(self, theta):
        super().__init__()
        self.numbers = torch.nn.Parameter(theta.flatten())

    def forward(self, images):
        return self.numbers.expand(len(images), -1)


def fixed(theta=None, **options):
    return SpatialTransformer(Fixed(affine_theta() if theta is None else theta), **options)


@pytest.mark.parametrize("transform", [transform for transform in TRANSFORMS if transform != "tps"])
def test_the_identity_leaves_images_of_a_power_of_two_as_they_are_to_the_last_bit(transform):
    images = torch.rand(2, 3, 64, 32)
    theta = TRANSFORMS[transform].theta(TRANSFORMS[transform].identity[None]).repeat(2, 1, 1)
    assert torch.equal(warp(images, theta, transform), images)


# --- output size ---


@pytest.mark.parametrize(
    "size, shape", [(7, (7, 7)), ((5, 9), (5, 9)), ([40, 1], (40, 1)), (np.int64(6), (6, 6))]
)
@pytest.mark.parametrize("antialias", [False, True])
def test_the_output_has_the_size_that_was_asked_for(size, shape, antialias):
    stn = fixed(output_size=size, antialias=antialias)
    assert stn(torch.rand(2, 3, 16, 20)).shape == (2, 3, *shape)


def test_the_identity_at_another_size_is_a_resize():
    images = torch.rand(2, 3, 16, 16)
    for size in (8, 24):
        expected = F.interpolate(images, (size, size), mode="bilinear", align_corners=False)
        inner = slice(1, -1)  # at the edge, padding is mixed in
        torch.testing.assert_close(
            fixed(output_size=size)(images)[..., inner, inner], expected[..., inner, inner]
        )
        torch.testing.assert_close(fixed(output_size=size, padding="border")(images), expected)


def test_an_antialiased_identity_is_the_mean_of_the_pixels():
    images = torch.rand(2, 3, 24, 32)
    stn = fixed(output_size=8, antialias=True)
    torch.testing.assert_close(stn(images), F.avg_pool2d(images, (3, 4)), atol=1e-5, rtol=0)
    stripes = torch.arange(32).remainder(4).lt(2).float().expand(1, 1, 32, 32)
    assert fixed(output_size=8)(stripes).std() == 0  # aliasing: all output pixels are equal
    torch.testing.assert_close(fixed(output_size=8, antialias=True)(stripes), torch.full((1, 1, 8, 8), 0.5))


def test_antialiasing_changes_nothing_where_the_output_is_no_smaller():
    images, theta = torch.rand(2, 3, 9, 9), affine_theta(20, 0.8)
    for size in (None, 9, 12):
        plain, smooth = (fixed(theta, output_size=size, antialias=a)(images) for a in (False, True))
        assert torch.equal(plain, smooth)


# --- padding ---


def test_paddings_by_hand():
    images = torch.arange(1.0, 5.0).expand(1, 1, 1, 4)
    theta = affine_theta(shift=(1.0, 0.0))  # reads two pixels further right
    read = {
        p: fixed(theta, padding=p)(images)[0, 0, 0].tolist()
        for p in ("zeros", "border", "reflection", -1.0, (7,))
    }
    assert read == {
        "zeros": [3, 4, 0, 0],
        "border": [3, 4, 4, 4],
        "reflection": [3, 4, 4, 3],
        -1.0: [3, 4, -1, -1],
        (7,): [3, 4, 7, 7],
    }


def test_a_fill_value_for_each_channel():
    images = torch.rand(2, 3, 8, 8)
    theta = affine_theta(shift=(5.0, 0.0))
    shown = fixed(theta, padding=(0.1, 0.2, 0.3)).eval()(images)
    torch.testing.assert_close(shown, torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1).expand_as(shown))
    with pytest.raises(InputError, match="images of 1 channels"):
        fixed(theta, padding=(0.1, 0.2, 0.3)).eval()(images[:, :1])


@pytest.mark.parametrize("kind", [tuple, list])
def test_the_sampler_takes_a_fill_value_for_each_channel_and_no_more(kind):
    images, grid = torch.rand(1, 1, 4, 4), sampling_grid(affine_theta(shift=(5.0, 0.0))[None], 4, 4)
    assert torch.equal(sample(images, grid, kind([0.5])), torch.full((1, 1, 4, 4), 0.5))
    with pytest.raises(InputError, match="images of 1 channels"):
        sample(images, grid, kind([0.1, 0.2, 0.3]))


def test_the_sampler_names_a_wrong_padding():
    with pytest.raises(InputError, match="'edge' is not allowed: give zeros, border, reflection"):
        sample(torch.rand(1, 1, 4, 4), sampling_grid(affine_theta()[None], 4, 4), "edge")


@pytest.mark.parametrize("padding", ["border", "reflection", 0.5])
def test_gradients_are_right_with_every_padding(padding):
    images = torch.rand(1, 2, 5, 5, dtype=torch.float64, requires_grad=True)
    theta = affine_theta(20, 0.83, (0.37, 0.11))[None].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda i, t: warp(i, t, "affine", (3, 4), padding, True), (images, theta))
    assert torch.autograd.gradcheck(lambda i, t: sample(i, sampling_grid(t, 3, 3), padding), (images, theta))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_options_keep_the_images_type(dtype):
    net = localization_net("lstn", 20, transform="similarity")
    stn = SpatialTransformer(
        net, "similarity", output_size=12, padding=0.5, antialias=True, localization_size=20, max_angle=30
    )
    images = torch.rand(2, 3, 24, 24)
    shown = stn.eval()(images)
    again = stn.to(dtype)(images.to(dtype))
    assert again.dtype == dtype
    torch.testing.assert_close(again.float(), shown, atol=0.02, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(stn.float()(images), shown, atol=1e-5, rtol=0)


def test_images_of_a_batch_do_not_mix_with_options():
    stn = SpatialTransformer(
        localization_net("stn", 20), output_size=12, padding=0.5, antialias=True, localization_size=20
    )
    torch.nn.init.normal_(stn.eval().localization.head[-1].weight, std=0.1)
    images = torch.rand(3, 3, 24, 24)
    torch.testing.assert_close(stn(images), torch.cat([stn(image[None]) for image in images]))


# --- a small copy for the localization net ---


def test_the_localization_net_sees_a_small_copy_and_the_large_image_is_sampled():
    seen = []
    net = localization_net("lstn", 32)
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(2, 3, 90, 128)
    shown = SpatialTransformer(net, localization_size=32)(images)
    torch.testing.assert_close(shown, images, atol=1e-4, rtol=0)
    expected = F.interpolate(images, (32, 32), mode="bilinear", antialias=True, align_corners=False)
    assert torch.equal(seen[0], expected)


# --- theta, the penalty and the warning ---


def test_theta_is_returned_and_kept():
    stn = fixed(affine_theta(scale=0.5), return_theta=True)
    assert stn.last_theta is None
    output, theta = stn(torch.rand(2, 3, 8, 8))
    assert output.shape == (2, 3, 8, 8) and theta.shape == (2, 2, 3) and theta.requires_grad
    assert torch.equal(stn.last_theta, theta) and not stn.last_theta.requires_grad
    kept = fixed(keep_graph=True)
    kept(torch.rand(2, 3, 8, 8))
    assert kept.last_theta.requires_grad


@pytest.mark.parametrize("antialias", [False, True])
def test_the_grid_is_returned_alone_or_with_theta(antialias):
    images, turned = torch.rand(2, 3, 8, 8), affine_theta(20, 0.5)
    options = {"output_size": (4, 2), "antialias": antialias}
    plain = fixed(turned, **options)(images)
    output, grid = fixed(turned, return_grid=True, **options)(images)
    assert torch.equal(output, plain)
    assert torch.equal(grid, sampling_grid(turned.expand(2, 2, 3), 4, 2)) and grid.requires_grad
    if not antialias:
        assert torch.equal(output, sample(images, grid))
    output, theta, again = fixed(turned, return_theta=True, return_grid=True, **options)(images)
    assert torch.equal(again, grid) and torch.equal(theta, turned.expand(2, 2, 3))


def test_the_last_theta_is_in_no_copy_and_no_file():
    stn = fixed(keep_graph=True)
    stn(torch.rand(2, 3, 8, 8))
    assert copy.deepcopy(stn).last_theta is None and list(stn.state_dict()) == ["localization.numbers"]
    file = io.BytesIO()
    torch.save(stn, file)
    file.seek(0)
    assert torch.load(file, weights_only=False).last_theta is None
    assert stn.last_theta is not None


def test_the_penalty_pulls_the_map_to_the_identity():
    stn = fixed(affine_theta(30, 0.6, (0.4, -0.3)), keep_graph=True)
    optimizer = torch.optim.SGD(stn.parameters(), 0.5)
    for _ in range(60):
        stn(torch.rand(2, 1, 8, 8))
        optimizer.zero_grad()
        loss = stn.penalty()
        loss.backward()
        optimizer.step()
    assert loss < 1e-4
    torch.testing.assert_close(stn.localization.numbers, torch.eye(2, 3).flatten(), atol=0.02, rtol=0)


def test_a_penalty_without_theta_or_gradient_is_refused():
    stn = fixed()
    with pytest.raises(InputError, match="no theta yet"):
        stn.penalty()
    stn(torch.rand(1, 1, 8, 8))
    with pytest.raises(InputError, match="keep_graph"):
        stn.penalty()
    assert stn.eval().penalty() == 0


def test_a_lost_grid_gives_one_warning_and_only_in_training():
    images = torch.rand(2, 1, 8, 8)
    stn = fixed(affine_theta(shift=(9.0, 0.0)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stn.eval()(images)
        near = fixed(affine_theta(shift=(0.5, 0.0)))
        for _ in range(2 * guards.CHECK_EVERY):
            near(images)
    with pytest.warns(RuntimeWarning, match="100%") as caught:
        for _ in range(3 * guards.CHECK_EVERY):
            stn.train()(images)
    assert len(caught) == 1


def test_a_grid_of_nan_gives_a_warning():
    with pytest.warns(RuntimeWarning, match="100%"):
        fixed(torch.full((2, 3), math.nan))(torch.rand(1, 1, 8, 8))


def test_a_grid_that_leaves_later_gives_a_warning():
    stn = SpatialTransformer(ConstantMap())
    with pytest.warns(RuntimeWarning, match="outside"):
        for step in range(guards.CHECK_EVERY + 1):
            with torch.no_grad():
                stn.localization.numbers[2] = 0.5 * step
            stn(torch.rand(2, 1, 8, 8))


def test_the_share_outside_by_hand():
    grid = torch.tensor([[0.0, 0.0], [1.0, -1.0], [1.01, 0.0], [math.nan, 0.0], [0.0, -2.0]])
    assert guards.percent_outside(grid) == 60.0
    assert guards.percent_outside(torch.zeros(0, 4, 4, 2)) == 0.0


# of 32 x 32 points, all but columns x rows lie outside the image: 94.92 % in the first case, 95.02 % in the second
@pytest.mark.parametrize("columns, rows, count", [(4, 13, 0), (3, 17, 1)])
def test_the_warning_has_the_threshold_of_a_collapse(columns, rows, count):
    stn = fixed(affine_theta(shift=(2 * (32 - columns) / 32, 2 * (32 - rows) / 32)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stn(torch.rand(1, 1, 8, 8))
    assert len(caught) == count


# --- wrong values ---


@pytest.mark.parametrize(
    "argument, value",
    [
        *[("output_size", v) for v in (0, -3, 2.0, "8", True, (8, 0), (8,), (1, 2, 3), ())],
        *[("localization_size", v) for v in (0, 1.5, (8, "8"))],
        *[
            ("padding", v)
            for v in ("zero", None, math.nan, math.inf, 10**400, True, (), (1.0, None), ("border",))
        ],
        *[
            (flag, v)
            for flag in ("antialias", "return_theta", "return_grid", "keep_graph")
            for v in (1, None, "yes")
        ],
    ],
)
def test_a_wrong_value_is_named(argument, value):
    with pytest.raises(InputError) as error:
        SpatialTransformer(torch.nn.Identity(), **{argument: value})
    assert argument in str(error.value) and repr(value) in str(error.value)


@pytest.mark.parametrize("option", [{"output_size": 8}, {"return_theta": True}, {"return_grid": True}])
def test_a_bypassed_transformer_has_no_output_of_its_own(option):
    with pytest.raises(InputError, match="applied False"):
        SpatialTransformer(torch.nn.Identity(), applied=False, **option)
