"""Diagnostics of theta and of sampling grids equal numbers that are computed by hand."""

from types import SimpleNamespace

import pytest
import torch

from stn_paper.models import build_model
from stn_paper.models.guards import COLLAPSED_PERCENT
from stn_paper.models.localization import localization_net
from stn_paper.models.transformer import SpatialTransformer, affine_theta, sampling_grid
from stn_paper.training import diagnostics


def grid(*thetas):
    return sampling_grid(torch.stack(thetas), 32, 32)


def test_the_identity_moves_nothing():
    found = diagnostics.grid_statistics(grid(affine_theta(), affine_theta()), 64)
    assert found == {"spread": [0.0, 0.0], "from_identity": 0.0, "outside": 0.0}


def test_a_shift_of_all_images_is_no_spread():
    """Half of half an image of 64 pixels: 16 pixels; a quarter of the grid lies outside."""
    shifted = affine_theta(shift=(0.5, 0.0))
    found = diagnostics.grid_statistics(grid(shifted, shifted), 64)
    assert found == {"spread": [0.0, 0.0], "from_identity": 16.0, "outside": 25.0}


def test_spread_is_in_pixels_of_the_image():
    """Two images that are shifted by 0.25 to either side: each is 8 pixels from their mean, the identity."""
    found = diagnostics.grid_statistics(
        grid(affine_theta(shift=(0.25, 0)), affine_theta(shift=(-0.25, 0))), 64
    )
    assert found["spread"] == [8.0, 8.0] and found["from_identity"] == 0.0
    assert diagnostics.grid_statistics(
        grid(affine_theta(shift=(0.25, 0)), affine_theta(shift=(-0.25, 0))), 128
    )["spread"] == [16.0, 16.0]


def test_a_grid_far_away_is_outside():
    far = affine_theta(shift=(7.0, 0.0))
    assert diagnostics.grid_statistics(grid(far), 64)["outside"] == 100.0 >= COLLAPSED_PERCENT


def test_thetas_deviation_is_that_of_a_sample():
    numbers = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    assert diagnostics.number_statistics(numbers) == {"mean": [2.0, 5.0], "std": [1.4142, 0.0]}
    assert diagnostics.number_statistics(numbers[:1])["std"] == [0.0, 0.0]


@pytest.mark.parametrize("kind, numbers", [("affine", 6), ("projective", 9), ("tps", 32)])
def test_every_kind_of_map_starts_at_the_identity(kind, numbers):
    transformer = SpatialTransformer(localization_net("stn", 24, transform=kind), kind)
    batches = [(torch.rand(3, 3, 24, 24), None), (torch.rand(2, 3, 24, 24), None)]
    found = diagnostics.theta_statistics(transformer, batches)
    assert len(found["mean"]) == len(found["std"]) == numbers
    assert found["from_identity"] == pytest.approx(0, abs=1e-3) and found["outside"] == 0


def test_all_images_of_all_batches_count():
    thetas = [affine_theta(shift=(x, 0.0))[None] for x in (-0.25, 0.0, 0.25)]
    transformer = SimpleNamespace(eval=lambda: None, theta=lambda images: images.theta, transform="affine")
    batches = [(SimpleNamespace(theta=theta, shape=(1, 3, 64, 64)), None) for theta in thetas]
    assert diagnostics.theta_statistics(transformer, batches)["spread"][1] == pytest.approx(8.0, abs=0.01)


def test_a_constant_map_is_the_same_for_every_image():
    model = build_model("resnet18", "constant", 10, 32)
    images = torch.rand(4, 3, 32, 32)
    torch.testing.assert_close(model.transformer(images), images)  # the identity at the start
    with torch.no_grad():
        model.transformer.localization.numbers += 0.1
    theta = model.transformer.theta(images)
    assert (
        theta.shape == (4, 2, 3) and (theta == theta[:1]).all() and not torch.equal(theta[0], affine_theta())
    )
    theta.sum().backward()
    assert (model.transformer.localization.numbers.grad == 4).all()
