"""Comparisons of arms: the data decide on pairing, p is corrected within a family, collapsed runs are counted."""

import pandas as pd
import pytest
from helpers import write_run

from stn_paper.analysis import effects, statistics
from stn_paper.analysis.statistics import BETTER, EQUAL, FEW, NOT_SHOWN, SAME, WORSE
from stn_paper.training.protocol import OTHER_SEEDS

STUDY = "caltech101", "resnet18", "reduced"
LOST = {"theta": {"mean": [1.0, 0, 9.0, 0, 1.0, 9.0], "std": [0.0] * 6, "outside": 100.0}}


def row(variant, against="original"):
    found = effects.comparisons(*STUDY)
    (one,) = found[(found["variant"] == variant) & (found["against"] == against)].itertuples()
    return one


def table(arms):
    """Runs of one study as a frame: {variant: accuracies by seed}."""
    rows = [[v, seed, test, False, False] for v, tests in arms.items() for seed, test in enumerate(tests)]
    return pd.DataFrame(rows, columns=["variant", "seed", "test", "collapsed", "failed"])


def test_comparisons_between_transformers_come_first():
    found = effects.compare_arms(table({arm: [1.0, 2.0, 4.0] for arm in effects.ARMS}))
    assert list(zip(found["variant"], found["against"]))[:4] == [
        ("lstn", "stn"),
        ("vstn", "stn"),
        ("lstn", "vstn"),
        ("stn", "original"),
    ]


def test_seeds_that_pair_are_compared_in_pairs_and_others_are_not():
    together = {"original": [60, 70, 80, 90], "stn": [61, 71.1, 80.9, 91], "lstn": [63, 73, 83.1, 93]}
    apart = together | {"stn": [91, 61, 80.9, 71.1], "lstn": [73, 93, 63, 83.1]}
    assert effects.compare_arms(table(together))["paired"].all()
    assert not effects.compare_arms(table(apart))["paired"].any()


def test_welchs_test_takes_all_seeds_of_the_original():
    for seed, test in enumerate((50.0, 53.0, 51.0)):
        write_run("original", seed, test)
        write_run("original", seed + OTHER_SEEDS, 52.0 + seed)
        write_run("stn", seed, 60.0 - seed)
    assert (row("stn").n, row("stn").n_against) == (3, 6)
    control = row(effects.CONTROL)
    assert (control.n, control.n_against, control.paired) == (3, 3, False)


def test_holms_correction_is_made_within_a_family():
    found = effects.compare_arms(
        table({"original": [50, 53, 51, 54], "stn": [52, 55.5, 51.5, 56], "vstn": [60, 57, 61, 59]})
    )
    alone = found[found["family"] == "against the original"]
    assert alone["p_holm"].min() == pytest.approx(2 * alone["p"].min())
    assert (alone["p_holm"] >= alone["p"]).all() and (alone["p_holm"] <= 2 * alone["p"] + 1e-12).all()
    assert found[found["family"] == "between transformers"]["p_holm"].item() == pytest.approx(
        found[found["family"] == "between transformers"]["p"].item()
    )


def test_a_bypassed_transformer_is_identical_to_the_original():
    tests = [50.0, 53.0, 51.0]
    found = effects.compare_arms(table({"original": tests, "stn-released": tests, "stn": [53, 50, 51]}))
    shown = found.set_index("variant")["shown"]
    assert shown["stn-released"] == SAME and shown["stn"] in (NOT_SHOWN, EQUAL)


def test_a_verdict_needs_three_runs_of_both_sides():
    for seed in range(3):
        write_run("original", seed, 50.0 + seed)
        if seed < 2:
            write_run("lstn", seed, 60.0 + seed)
    assert row("lstn").shown == FEW and row("lstn").mean == pytest.approx(9.5)


@pytest.mark.parametrize(("gain", "shown"), [(5.0, BETTER), (-5.0, WORSE), (0.1, EQUAL)])
def test_verdicts_follow_the_runs(gain, shown):
    for seed in range(4):
        write_run("original", seed, 50.0 + 0.1 * seed)
        write_run("stn", seed, 50.0 + gain + 0.1 * (seed % 2))
    assert row("stn").shown == shown


def test_collapsed_runs_are_counted_and_in_no_mean():
    for seed in range(4):
        write_run("original", seed, 50.0 + 0.1 * seed)
        write_run("stn", seed, 60.0 + 0.1 * seed if seed else 1.0, row={} if seed else LOST)
    found = row("stn")
    assert (found.collapsed, found.collapsed_against, found.runs, found.n) == (1, 0, 4, 3)
    assert found.mean == pytest.approx(10.05)


def test_a_network_is_left_out_only_if_its_original_fails_to_train():
    for seed in range(4):
        write_run("original", seed, 50.0)
        write_run("lstn", seed, 3.0, row={"train_loss": 4.6})
    assert not row("lstn").left_out  # a failed variant does not exclude the network
    for seed in range(2):
        write_run("original", seed, 3.0, row={"train_loss": 4.6})
    assert row("lstn").left_out and row("lstn").shown == statistics.LEFT_OUT


def test_a_study_without_an_arm_has_no_comparison_of_it():
    write_run("original", 0, 50.0)
    assert (
        effects.comparisons(*STUDY).empty and effects.comparisons_by_backbone("caltech101", "reduced").empty
    )
    write_run("stn", 0, 50.0)
    found = effects.comparisons_by_backbone("caltech101", "reduced")
    assert found[["backbone", "variant", "against"]].to_numpy().tolist() == [["resnet18", "stn", "original"]]
