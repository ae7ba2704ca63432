"""The pages that teach: their figures show the computed numbers, and the short page has at most 60 lines of code."""

import json

import pytest
import torch
from numpy.testing import assert_allclose

from stn_paper.analysis import paper
from stn_paper.data import load_images
from stn_paper.data.distortions import DISTORTIONS
from stn_paper.models.localization import localization_net
from stn_paper.models.transformer import affine_theta, sampling_grid
from stn_paper.paths import ROOT
from stn_paper.report import lesson


def test_the_bars_of_our_rows_are_the_papers_counts():
    layers = localization_net("lstn", 64).features
    printed = [row.parameters + row.norm_parameters for row in paper.printed_layers(3)]
    axis = lesson.parameters_plot(layers, printed).axes[0]
    assert [bar.get_height() for bar in axis.patches] == printed and sum(printed) == 3690


@pytest.mark.parametrize("x", [-0.9, 0.0, 0.22])
def test_a_points_weights_add_up_to_one(x):
    sticks = lesson.kernel_plot(x, 14).axes[0].collections[0].get_segments()
    heights = [end[1] - start[1] for start, end in sticks]
    assert sum(heights) == pytest.approx(1, abs=1e-6) and 1 <= sum(h > 0 for h in heights) <= 2


def test_the_outline_lies_around_the_drawn_points():
    theta = affine_theta(30, 0.5)
    axis = lesson.grid_plot(torch.zeros(3, 28, 28), theta, sampling_grid(theta[None], 28, 28)[0]).axes[0]
    corners, points = axis.lines[0].get_xydata(), axis.collections[0].get_offsets()
    assert (points.min(0) >= corners.min(0)).all() and (points.max(0) <= corners.max(0)).all()


def test_samples_are_distorted_as_the_dataset_is():
    figure = lesson.distorted_samples_plot(3)
    rows = [[axis.images[0].get_array() for axis in part.axes] for part in figure.subfigs]
    assert [len(row) for row in rows] == [3] * (2 + len(DISTORTIONS))
    assert_allclose(rows[-1][0].squeeze(), load_images("digits", 42).images[0, 0])  # a zero comes first
    assert all(abs(row[0].astype(float) - rows[1][0]).mean() > 5 for row in rows[2:])


def test_the_code_of_the_page_in_60_lines_has_no_more():
    cells = json.loads((ROOT / "notebooks/lstn_in_60_lines.ipynb").read_text())["cells"]
    code = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    checks = ("assert", "torch.testing", "count", "theirs", "lesson.", "printed")
    defined = [text.split("\n\n\n")[: 2 if text.startswith("ROWS") else 1] for text in code if "def " in text]
    lines = [line for text in defined for part in text for line in part.splitlines() if line.strip()]
    assert 40 < len([line for line in lines if not line.startswith(checks)]) <= 60
