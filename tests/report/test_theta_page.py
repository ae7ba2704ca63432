"""The page on theta tells what the first steps showed, from made-up counts."""

import re

import pandas as pd
import pytest
import torch
from helpers import write_run

from stn_paper.analysis.statistics import MISSING
from stn_paper.analysis.theta import theta_by_run
from stn_paper.report import theta_page
from stn_paper.report.paper_figures import outline
from stn_paper.training.records import find


def runs(full, tenth, total=10, nearer=0.0):
    """Runs of STN, `full` and `tenth` of `total` collapsed at the two rates; the lower moves `nearer` pixels less."""
    rows = [
        {
            "variant": "stn",
            "rate": rate,
            "collapsed": number < count,
            "moved": moved + number / 10,
            "spread": 0.5,
        }
        for rate, count, moved in ((1.0, full, 3.0), (0.1, tenth, 3.0 - nearer))
        for number in range(total)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("full, shown", [(9, True), (1, False)])
def test_a_lower_rate_helps_only_where_the_test_shows_it(full, shown):
    verdict = theta_page.start_verdict(runs(full, 0))
    assert f"{full} of 10" in verdict and "0 of 10" in verdict
    assert ("Open" in verdict) != shown


@pytest.mark.parametrize("nearer, shown", [(2.0, True), (0.0, False), (-2.0, False)])
def test_a_distance_is_told_where_the_lower_rate_moves_theta_less(nearer, shown):
    verdict = theta_page.start_verdict(runs(0, 0, nearer=nearer))
    assert ("1.4 pixels" in verdict and "3.5" in verdict) == shown
    assert "(p " in verdict


@pytest.mark.parametrize(
    "collapsed, named",
    [
        ([], ["0", "1", "L-STN"]),
        (["stn"], ["1", "1", "STN", "0", "1", "L-STN"]),
        (["stn", "stn"], ["2", "2", "STN", "0", "1", "L-STN"]),
        (["lstn", "stn"], ["1", "1", "STN", "1", "2", "L-STN"]),
    ],
)
def test_collapsed_runs_are_counted_with_their_transformers(collapsed, named):
    theta = {"mean": [1, 0, 0, 0, 1, 0], "std": [0.1] * 6}
    write_run("lstn", 9, 50.0, row={"theta": theta | {"outside": 0.0}})
    for seed, variant in enumerate(collapsed):
        write_run(variant, seed, 50.0, row={"theta": theta | {"outside": 100.0}})
    assert re.findall(r"\d+|(?:L-)?STN", theta_page.collapses_in_words(theta_by_run())) == named


def test_the_tables_hold_the_counts():
    table = theta_page.start_table(runs(4, 1)).reset_index()
    assert table[["Transformer", "Share of the rate", "Runs", "Collapsed"]].to_numpy().tolist() == [
        ["STN", 1.0, 10, 4],
        ["STN", 0.1, 10, 1],
    ]
    tests = theta_page.start_tests_table(runs(4, 1))
    assert len(tests) == 2 and (tests["Collapsed"] == "4 of 10, 1 of 10").all()
    assert (tests["Mean map (pixels)"] == "3.5, 3.5").all() and (tests["p, moved"] == "1.000").all()


def test_without_runs_the_page_says_so():
    nothing = runs(0, 0).iloc[:0]
    assert MISSING in theta_page.start_verdict(nothing).lower()
    assert theta_page.start_table(nothing).iloc[0, 0] == theta_page.start_tests_table(nothing).iloc[0, 0]


@pytest.fixture
def records(committed):
    return {dataset: find(spec) for dataset, spec in theta_page.PHOTOGRAPH_SPECS.items()}


def test_each_dataset_of_photographs_has_a_record_with_the_images_and_their_maps(records):
    for dataset, record in records.items():
        assert record is not None, dataset
        kept = record["probes"]
        assert len(kept["images"]) == len(kept["theta"]) == 4
        assert len(record["epochs"]) == theta_page.PHOTOGRAPH_SPECS[dataset].protocol.max_epochs


def test_the_figure_of_photographs_outlines_what_theta_reads(records):
    found = {dataset: record for dataset, record in records.items() if record}
    figure = theta_page.photographs_plot(found)
    assert len(figure.axes) == 8 * len(found)
    theta = torch.tensor(found["tsrd"]["probes"]["theta"][0])
    corners = outline(theta)[[0, 1, 2, 3, 0]]
    drawn = [torch.tensor(axis.lines[0].get_xydata()) for axis in figure.axes if axis.lines]
    assert any(torch.allclose(one.float(), corners, atol=1e-5) for one in drawn)
    assert theta_page.photographs_verdict(found).count("../runs/") == len(found)
