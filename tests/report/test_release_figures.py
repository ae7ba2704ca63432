"""The page on the release: its figures show the numbers of the released logs."""

import pytest
from numpy.testing import assert_allclose

from stn_paper.analysis import author_runs
from stn_paper.report import release_figures


def test_the_dataflow_is_the_same_every_time_and_asks_for_nothing():
    svg = release_figures.dataflow_plot().data
    assert svg == release_figures.dataflow_plot().data and len(svg) < 100_000
    assert 'xlink:href="http' not in svg and "<image" not in svg


@pytest.mark.parametrize(("number", "panel"), [(6, 0), (8, 1)])
def test_every_cell_with_a_log_is_a_mark_at_its_epochs_and_printed_accuracy(number, panel):
    axis = release_figures.accuracy_against_epochs().axes[panel]
    drawn = sorted(tuple(point) for marks in axis.collections for point in marks.get_offsets())
    cells = author_runs.released_cells(number)
    logged = cells[cells["epochs_run"].notna()]
    assert len(logged) == {6: 28, 8: 30}[number]
    assert_allclose(drawn, sorted(zip(logged["epochs_run"], logged["test"])))


def test_training_time_goes_with_accuracy_within_a_network():
    for number, least in ((6, 0.98), (8, 0.9)):
        ranks = release_figures.cells_with_epochs(number).groupby("model")[["epochs_run", "test"]].rank()
        assert least < ranks["epochs_run"].corr(ranks["test"]) < 1
