"""Maps composed over several steps, and several maps of one image."""

import math

import pytest
import torch
from torch import nn

from stn_paper import SpatialTransformer, with_stn
from stn_paper.errors import InputError
from stn_paper.models.localization import RecurrentHead, localization_net
from stn_paper.models.transformer import sample, sampling_grid, warp
from stn_paper.models.transforms import TRANSFORMS, affine_theta, compose, grid_distance, invert, to_theta

MATRICES = [transform for transform in TRANSFORMS if transform != "tps"]


def some_theta(transform, count, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    identity = TRANSFORMS[transform].identity.to(dtype)
    return to_theta(
        identity + 0.1 * torch.randn(count, len(identity), generator=generator, dtype=dtype), transform
    )


def square(theta):
    """theta as 3 x 3 matrices."""
    if theta.shape[-2] == 3:
        return theta
    last = torch.tensor([0.0, 0.0, 1.0]).to(theta).expand(*theta.shape[:-2], 1, 3)
    return torch.cat([theta, last], -2)


class Turn(nn.Module):
    """A localization net that predicts the same rotation for every image, and counts its calls."""

    def __init__(self, degrees):
        super().__init__()
        self.angle, self.seen = nn.Parameter(torch.tensor([math.radians(degrees)])), []

    def forward(self, images):
        self.seen.append(images.detach())
        return self.angle.expand(len(images), 1)


# --- composition ---


@pytest.mark.parametrize("transform", MATRICES)
def test_composition_is_the_product_of_the_matrices(transform):
    first, second = (some_theta(transform, 5, seed) for seed in (0, 1))
    both = compose(first, second, transform)
    assert both.shape == first.shape
    torch.testing.assert_close(square(both), square(first) @ square(second))
    identity = to_theta(TRANSFORMS[transform].identity.double()[None], transform).expand_as(first)
    assert torch.equal(compose(first, identity, transform), first)
    assert torch.equal(compose(identity, first, transform), first)
    torch.testing.assert_close(compose(first, invert(first, transform), transform), identity)


@pytest.mark.parametrize("transform", MATRICES)
def test_the_composed_map_is_the_first_map_at_the_seconds_points(transform):
    first, second = (some_theta(transform, 3, seed) for seed in (2, 3))
    grid = sampling_grid(compose(first, second, transform), 6, 9, transform)
    points = sampling_grid(second, 6, 9, transform)
    x, y, w = (square(first) @ nn.functional.pad(points.flatten(1, 2), (0, 1), value=1.0).mT).unbind(1)
    torch.testing.assert_close(grid.flatten(1, 2), torch.stack([x / w, y / w], -1))


def test_two_warps_in_a_row_are_one_warp_by_the_composed_map():
    y, x = torch.meshgrid(*2 * [torch.linspace(-3, 3, 128)], indexing="ij")
    # smooth, so that sampling twice loses little
    images = torch.exp(-2 * x**2 - 2 * (y - 0.5) ** 2)[None, None]
    first, second = affine_theta(20, 0.9, (0.1, 0.0))[None], affine_theta(-5, 1.1, (0.0, 0.2))[None]
    once = warp(images, compose(first, second))
    torch.testing.assert_close(once, warp(warp(images, first), second), atol=5e-3, rtol=0)
    assert (once - warp(warp(images, second), first)).abs().max() > 0.05


@pytest.mark.parametrize("transform", ["rotation", "affine", "projective"])
def test_compositions_have_the_right_gradients(transform):
    first, second = (some_theta(transform, 2, seed).requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(lambda a, b: compose(a, b, transform), (first, second))


def test_a_composed_transformer_turns_once_a_step_and_samples_the_image_once():
    images = torch.rand(2, 3, 33, 33)
    stn = SpatialTransformer(Turn(10.0), "rotation", steps=3, return_theta=True)
    output, theta = stn(images)
    expected = affine_theta(30).expand(2, 2, 3)
    torch.testing.assert_close(theta, expected)
    torch.testing.assert_close(output, warp(images, expected))
    seen = stn.localization.seen
    assert len(seen) == 3 and torch.equal(seen[0], images)
    for step in (1, 2):
        torch.testing.assert_close(seen[step], warp(images, affine_theta(10.0 * step).expand(2, 2, 3)))


def test_content_outside_the_frame_after_one_step_can_come_back_in_the_next():
    shifts = iter([[1.0, 0.0], [-1.0, 0.0]])
    images = torch.rand(1, 1, 8, 8)
    stn = SpatialTransformer(lambda seen: torch.tensor([next(shifts)]), "translation", steps=2)
    assert torch.equal(stn(images), images)


def test_a_composed_transformer_sees_a_small_copy_under_the_same_padding():
    net = Turn(45.0)
    stn = SpatialTransformer(net, "rotation", steps=2, localization_size=16, padding=1.0)
    assert stn(torch.ones(2, 1, 64, 64)).min() > 0.999
    assert [tuple(images.shape) for images in net.seen] == 2 * [(2, 1, 16, 16)]
    assert net.seen[1].min() > 0.999


def test_gradients_go_through_every_step():
    stn = SpatialTransformer(localization_net("stn", 24, transform="similarity"), "similarity", steps=3)
    stn.double()
    images = torch.rand(2, 3, 24, 24, dtype=torch.float64)
    bias = stn.localization.head[-1].bias
    with torch.no_grad():
        bias += torch.tensor([0.05, 0.1, 0.02, -0.03]).double()
        stn.localization.head[-1].weight.normal_(std=0.01)

    def theta(value):
        return torch.func.functional_call(stn, {"localization.head.3.bias": value}, (images,))

    assert torch.autograd.gradcheck(
        theta, bias.detach().clone().requires_grad_(), eps=1e-7, atol=1e-4, fast_mode=True
    )


def test_a_network_takes_a_composed_transformer():
    model = with_stn(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)), "lstn", 32, steps=4)
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model(images), model.backbone(images), atol=1e-5, rtol=1e-5)
    model(images).sum().backward()
    assert model.transformer.localization.head[-1].bias.grad.abs().max() > 0


@pytest.mark.parametrize("steps", [0, -1, 1.0, True, "2", None])
def test_a_wrong_number_of_steps_is_named(steps):
    with pytest.raises(InputError) as error:
        SpatialTransformer(nn.Identity(), steps=steps)
    assert repr(steps) in str(error.value)


def test_splines_do_not_compose():
    with pytest.raises(InputError, match="'tps'"):
        SpatialTransformer(nn.Identity(), "tps", steps=2)
    with pytest.raises(InputError, match="'tps'"):
        compose(torch.zeros(1, 16, 2), torch.zeros(1, 16, 2), "tps")


# --- several glimpses ---


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("options", [{}, {"output_size": (8, 12), "antialias": True, "padding": 0.5}])
def test_glimpses_are_the_warps_of_each_map_alone(transform, options):
    images = torch.rand(2, 3, 24, 24, dtype=torch.float64)
    numbers = TRANSFORMS[transform].identity.double() + 0.1 * torch.rand(2, 4, 1).double()
    stn = SpatialTransformer(lambda seen: numbers, transform, return_theta=True, **options)
    glimpses, theta = stn(images)
    assert glimpses.shape == (2, 4, 3, *options.get("output_size", (24, 24)))
    assert theta.shape[:2] == (2, 4) and torch.equal(stn.last_theta, theta)
    for n in range(4):
        alone = SpatialTransformer(lambda seen, n=n: numbers[:, n], transform, **options)(images)
        torch.testing.assert_close(glimpses[:, n], alone)
    distances = grid_distance(theta, transform)
    assert distances.shape == (2, 4)
    torch.testing.assert_close(distances[:, 1], grid_distance(theta[:, 1], transform))


def test_a_recurrent_net_predicts_a_different_map_for_each_glimpse():
    torch.manual_seed(0)
    stn = SpatialTransformer(localization_net("lstn", 40, glimpses=3), output_size=(16, 20), keep_graph=True)
    images = torch.rand(5, 3, 40, 40)
    identity = warp(images, affine_theta().expand(5, 2, 3), output_size=(16, 20))
    torch.testing.assert_close(stn(images), identity[:, None].expand(5, 3, 3, 16, 20), atol=1e-5, rtol=0)
    nn.init.normal_(stn.localization.head[-1].linear.weight, std=0.1)
    theta = stn.eval().theta(images)
    assert theta.shape == (5, 3, 2, 3)
    assert (theta[:, 0] - theta[:, 1]).abs().max() > 1e-3 < (theta[:, 1] - theta[:, 2]).abs().max()
    torch.testing.assert_close(theta[1:2], stn.theta(images[1:2]), atol=1e-5, rtol=1e-5)
    (stn.train()(images).square().mean() + stn.penalty()).backward()
    assert all(p.grad.abs().max() > 0 for p in stn.localization.head.parameters())


def test_the_gradient_of_a_glimpse_is_right():
    images = torch.rand(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    theta = (torch.eye(2, 3).double() + 0.13 * torch.rand(1, 3, 2, 3).double()).requires_grad_()
    assert torch.autograd.gradcheck(lambda i, t: sample(i, sampling_grid(t, 3, 4)), (images, theta))


def test_a_recurrent_head_reads_the_same_features_at_every_glimpse():
    head = RecurrentHead(features=7, glimpses=4, numbers=6, hidden=5)
    features = torch.rand(3, 7)
    state, expected = torch.zeros(3, 5), []
    cell = nn.GRUCell(7, 5)
    cell.load_state_dict({name.removesuffix("_l0"): p for name, p in head.gru.state_dict().items()})
    for _ in range(4):
        state = cell(features, state)
        expected.append(head.linear(state))
    torch.testing.assert_close(head(features), torch.stack(expected, 1))


@pytest.mark.parametrize("glimpses", [0, 2.0, "3", True])
def test_a_wrong_number_of_glimpses_is_named(glimpses):
    with pytest.raises(InputError) as error:
        localization_net("lstn", 40, glimpses=glimpses)
    assert repr(glimpses) in str(error.value)
    with pytest.raises(InputError, match="constant"):
        localization_net("constant", 40, glimpses=3)


@pytest.mark.parametrize("shape", [(2, 5), (2, 2, 3), (6,), (2, 1, 1, 6)])
def test_numbers_that_make_no_map_are_named(shape):
    stn = SpatialTransformer(lambda images: torch.zeros(shape))
    with pytest.raises(InputError) as error:
        stn(torch.rand(2, 3, 8, 8))
    assert str(shape) in str(error.value) and "(B, 6)" in str(error.value)


def test_glimpses_are_not_composed():
    stn = SpatialTransformer(lambda images: torch.eye(2, 3).view(1, 1, 6).expand(2, 3, 6), steps=2)
    with pytest.raises(InputError, match="steps 2"):
        stn(torch.rand(2, 3, 8, 8))
