"""Rotating a feature map back does not give the upright digit's map; rotating the input back does."""

import re

from stn_paper.report import distorted_page


def test_a_feature_map_cannot_undo_a_rotation_and_the_input_can():
    error = distorted_page.remaining_error(angles=(0, 45, 90), images=10)
    # no interpolation at 0 and 90
    assert max(error["feature"][0], error["shared"][0], error["shared"][2]) < 1e-3
    assert error["feature"][2] > 0.3 and error["feature"][1] > 2 * error["shared"][1] > 0
    feature, shared, _ = re.findall(r"(\d+)%", distorted_page.placement_verdict())
    assert int(feature) > 30 and shared == "0"


def test_the_figure_has_a_line_for_each_place():
    lines = distorted_page.remaining_error_plot().axes[0].lines
    assert [len(line.get_xdata()) for line in lines] == [len(distorted_page.ANGLES)] * 2
