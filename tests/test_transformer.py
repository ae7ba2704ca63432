"""The transformer moves pixels where its convention says, and agrees with two other implementations."""

import kornia
import numpy as np
import pytest
import torch

from stn_paper import SpatialTransformer, transformer
from stn_paper.localization import LOCALIZATION_NETS, localization_net
from stn_paper.transformer import affine_theta, sample, sampling_grid


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


def numpy_bilinear(image, theta):
    """Independent sampler: image (H, W), pixel centres at (i + 0.5) * 2 / n - 1, zeros outside."""
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


@pytest.mark.parametrize("variant", LOCALIZATION_NETS)
def test_an_untrained_transformer_is_the_identity(variant):
    images = torch.rand(3, 3, 40, 40)
    stn = SpatialTransformer(localization_net(variant, 40))
    for mode in (stn.train(), stn.eval()):
        torch.testing.assert_close(mode(images), images, rtol=0, atol=1e-5)
    assert stn.theta(images).shape == (3, 2, 3)


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


def test_what_lies_outside_reads_as_zero():
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


def test_images_of_a_batch_do_not_mix():
    stn = SpatialTransformer(localization_net("lstn", 32)).eval()
    torch.nn.init.normal_(stn.localization.head[-1].weight, std=0.1)
    images = torch.rand(3, 3, 32, 32)
    alone = torch.cat([stn(image[None]) for image in images])
    torch.testing.assert_close(stn(images), alone, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(stn(images), images, atol=1e-2)
