"""Tables, sentences and figures of the experiment: numbers and structures from made-up records."""

import re

import pandas as pd
import pytest
from helpers import write_run

from stn_paper.analysis import effects, experiment
from stn_paper.analysis.statistics import BETTER, BY_LITTLE, EQUAL, LEFT_OUT, MISSING, WORSE
from stn_paper.report import experiment_figures, experiment_page, experiment_verdicts
from stn_paper.training.examples import STRENGTHS

STUDY = "caltech101", "resnet18", "reduced"


def write_study(gains, seeds=4):
    for seed in range(seeds):
        write_run("original", seed, 50.0 + 0.1 * seed)
        for variant, gain in gains.items():
            write_run(variant, seed, 50.0 + gain + 0.1 * (seed % 2))


def test_a_row_a_comparison_and_a_row_an_arm_with_links_to_its_runs():
    write_study({"stn": 5.0, "lstn": 5.1})
    write_run("original", 5, 50.0)
    compared, arms = experiment_page.comparisons_table([STUDY]).data, experiment_page.arms_table([STUDY]).data
    assert [compared.count(name) for name in ("L-STN − STN", "STN − Original")] == [1, 2]
    assert compared.count("<tr") == 1 + 4  # with the seed control
    assert arms.count("<tr") == 1 + 4 and arms.count("../runs/") == 3 * 4 + 1


def test_the_sentences_of_a_study_do_not_repeat_the_table():
    write_study({"stn": 5.0, "vstn": 5.05, "lstn": 5.1})
    verdict = experiment_verdicts.studies_verdict([STUDY])
    assert verdict.count(".") <= 2 and not any(mark in verdict for mark in "±+%=")
    assert experiment_verdicts.gain_in_words(STUDY).startswith("+5.00 ± ")
    assert experiment_verdicts.gain_in_words(STUDY, "lstn", "vstn").startswith("+0.05 ± ")
    assert experiment_verdicts.gain_in_words(STUDY, "constant") == MISSING


@pytest.mark.parametrize(
    "gains, shown", [({"constant": 0.1, "lstn": 5.0}, "1 of 1"), ({"constant": 5.1, "lstn": 5.0}, "0 of 1")]
)
def test_a_cause_needs_a_gain_over_no_transformer_and_over_a_constant_map(gains, shown):
    assert experiment_verdicts.cause_verdict([STUDY]) == f"{MISSING.capitalize()}."
    write_study(gains)
    verdict = experiment_verdicts.cause_verdict([STUDY])
    assert shown in verdict and verdict.startswith("**Yes") == shown.startswith("1")


@pytest.mark.parametrize("gains", [{}, {"stn": 5.0}, {"stn": -5.0, "vstn": 0.0, "lstn": 0.3}])
def test_every_mixture_of_verdicts_becomes_whole_sentences(gains):
    write_study(gains)
    text = experiment_verdicts.studies_verdict([STUDY])
    assert text and "nan" not in text and "  " not in text and ".." not in text


def test_a_verdict_names_collapsed_runs_and_a_failed_original():
    lost = {"theta": {"mean": [1.0, 0, 9.0, 0, 1.0, 9.0], "std": [0.0] * 6, "outside": 100.0}}
    write_study({"stn": 5.0})
    write_run("stn", 4, 1.0, row=lost)
    (row,) = effects.comparisons(*STUDY).itertuples()
    assert "1 of 5" in experiment_page.verdict_text(row) and row.shown in experiment_page.verdict_text(row)
    for seed in range(4):
        write_run("original", seed, 1.0, row={"train_loss": 4.6})
    (row,) = effects.comparisons(*STUDY).itertuples()
    assert experiment_page.verdict_text(row).startswith(LEFT_OUT)


def test_the_figure_shows_a_bar_where_there_are_three_runs():
    write_study({"stn": 5.0, "lstn": 5.1}, seeds=3)
    (panel,) = experiment_figures.effects_plot([STUDY]).axes
    marks = [line.get_xdata() for line in panel.lines if line.get_marker() == "|"]
    assert sorted(float(mark[0]) for mark in marks) == pytest.approx([0.1, 4.933, 5.033], abs=1e-3)
    bars = [line for line in panel.lines if line.get_linewidth() == 6]
    assert len(bars) == 3 and len(panel.get_yticklabels()) == 6


def test_without_records_every_table_and_figure_says_so():
    studies = experiment.shown_studies()
    for table in (experiment_page.arms_table(studies), experiment_page.comparisons_table(studies)):
        assert table.data.count(MISSING) == len(studies)
    assert (experiment_page.gain_parts_table(studies).iloc[:, 0] == MISSING).all()
    compared = experiment.strength_comparisons()
    assert (experiment_page.strengths_table(compared) == MISSING).all(axis=None)
    for verdict in (
        experiment_verdicts.studies_verdict(studies),
        experiment_verdicts.strength_verdict(compared),
    ):
        assert verdict.count(MISSING.capitalize()) == len(verdict.splitlines()) == 1
    for figure in (experiment_figures.effects_plot(studies), experiment_figures.budget_plot(studies)):
        assert all(axis.get_title().replace("\n", " ").endswith(MISSING) for axis in figure.axes)
    assert experiment_figures.strength_plot(*studies[0]).get_figheight() < 1
    assert set(STRENGTHS) == set(experiment.UNITS)


def test_the_gain_of_a_constant_map_is_told():
    assert experiment_verdicts.constant_map_in_words([STUDY]) == ""
    write_study({"constant": 5.0})
    assert " 1 of 1 " in experiment_verdicts.constant_map_in_words([STUDY])
    write_study({"constant": 0.0})
    text = experiment_verdicts.constant_map_in_words([STUDY])
    assert " 0 of 1 " in text and experiment.study_title(*STUDY) in text


def test_what_a_part_of_lstn_changes_is_told():
    assert not re.findall(r"\d", experiment_verdicts.parts_in_words([STUDY]))
    write_study({"lstn": 5.0, "lstn-no-bn": 1.0})
    text = experiment_verdicts.parts_in_words([STUDY])
    assert "+4.00 ± " in text and "(better)" in text and "1 × 1" not in text


def test_verdicts_on_distorted_images_are_counted():
    shown = {
        "against the original": (BETTER, BETTER + BY_LITTLE, WORSE),
        "between transformers": (EQUAL, WORSE),
    }
    rows = pd.DataFrame(
        [
            {
                "family": family,
                "variant": "lstn",
                "against": "stn",
                "shown": word,
                "study": STUDY,
                "distortion": "rotation" if word == WORSE else "scale",
                "mean": -1.25 if word == WORSE else 2.0,
            }
            for family, words in shown.items()
            for word in 2 * words
        ]
    )
    verdict = experiment_verdicts.strength_verdict(rows)
    assert verdict.count("STN better than L-STN under rotation") == 2  # the better first
    numbers = re.findall(r"\d+", verdict.replace("Caltech-101", ""))
    assert list(map(int, numbers)) == [4, 4, 0, 2, 2, 1, 25, 4, 2, 2, 0]  # the lowest mean is -1.25


def test_budgets_are_compared_over_the_same_seeds():
    for variant, seed, test in [("original", 0, 40), ("lstn", 0, 50), ("original", 5, 90)]:
        write_run(variant, seed, test)
    (panel,) = experiment_figures.budget_plot([STUDY]).axes
    assert [set(line.get_ydata()) for line in panel.lines] == [{40}, {50}]


def test_images_that_are_not_the_official_ones_are_named(committed):
    rts, gtsrb, *_ = experiment_verdicts.notes(experiment.STUDIES).splitlines()
    assert "grey level" in rts and "AVIF" in gtsrb
