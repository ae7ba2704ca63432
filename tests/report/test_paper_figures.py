"""Figures 1 and 2 show the tensors that the networks computed."""

import matplotlib.pyplot as plt
import pytest
import torch
from numpy.testing import assert_allclose

from stn_paper.models.transformer import affine_theta, sample, sampling_grid
from stn_paper.report import paper_figures, residual_figure
from stn_paper.training.batches import normalize

THETA = affine_theta(20, 0.6, (-0.2, 0.1))


@pytest.fixture(scope="module")
def image():
    return paper_figures.photograph(64)


@pytest.fixture(scope="module")
def model():
    return residual_figure.untrained_resnet()


def test_the_photograph_is_a_square_of_colours(image):
    assert image.shape == (1, 3, 64, 64) and image.dtype == torch.uint8
    assert torch.equal(image, paper_figures.photograph(64))
    assert image.float().std() > 30 and not torch.equal(image[:, 0], image[:, 2])


def test_the_transformer_predicts_the_stated_theta(image):
    transformer = paper_figures.untrained_transformer(THETA, 64)
    torch.testing.assert_close(transformer.theta(normalize(image))[0], THETA)


def test_the_outline_holds_the_whole_grid_and_no_more():
    grid = sampling_grid(THETA[None], 50, 50)[0]
    assert_allclose(paper_figures.outline(THETA), paper_figures._corners_of(grid), atol=1e-6)
    assert_allclose(paper_figures.outline(affine_theta()), [[-1, -1], [1, -1], [1, 1], [-1, 1]])


def test_a_shear_moves_the_bottom_to_the_right():
    top_left, _, _, bottom_left = paper_figures.outline(paper_figures.shear(0.4)).tolist()
    assert top_left == pytest.approx([-1.4, -1]) and bottom_left == pytest.approx([-0.6, 1])


def test_figure1_shows_the_output_and_marks_where_it_was_read(image):
    transformer = paper_figures.untrained_transformer(THETA, 64)
    figure = paper_figures.figure1_plot(transformer, image)
    _, u, v, grid = figure.axes
    expected = sample(normalize(image), sampling_grid(THETA[None], 64, 64))
    assert_allclose(v.images[0].get_array(), (expected[0].permute(1, 2, 0) + 1) / 2, atol=1e-5)
    for axis in (u, grid):
        marks = [line.get_xydata()[0] for line in axis.lines[-4:]]
        assert_allclose(marks, paper_figures.outline(THETA), atol=1e-6)
    assert not plt.fignum_exists(figure.number)  # a cell that ends in it shows it once


def test_a_block_adds_its_input_to_its_own_part(image, model):
    seen = residual_figure.trace_block(model, image)
    torch.testing.assert_close(seen.sum, seen.f + seen.x)
    torch.testing.assert_close(seen.output, seen.sum.relu())
    torch.testing.assert_close(seen.relu1, seen.weight1.relu())
    assert seen.f.min() < 0 < seen.f.max() and seen.x.min() == 0


def test_a_block_with_weight_zero_is_the_identity_and_its_weight_comes_back(image, model):
    before = model.layer1[0].bn2.weight.clone()
    seen = residual_figure.trace_block(model, image, last_weight=0)
    assert torch.equal(seen.output, seen.x) and seen.f.abs().max() == 0
    assert torch.equal(model.layer1[0].bn2.weight, before)
    (on, without), *_ = residual_figure.shortcut_distances(model, image, [0])
    assert on == 0 and without == pytest.approx(100)


@pytest.mark.parametrize("value, text", [(0, "0"), (0.3, "1"), (1, "1"), (0.002, "0.01"), (2e-7, "0.000001")])
def test_bounds_are_powers_of_ten(value, text):
    assert paper_figures.power_of_ten(value) == text
    assert float(text) >= value
