"""Differences between runs of the same seed: paired, left out where nothing was learned, judged alike."""

import numpy as np
import pandas as pd
import pytest
from helpers import write_run

from stn_paper.analysis import effects, statistics
from stn_paper.training.spec import OTHER_SEEDS


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([1.0, 1.1, 0.9, 1.05, 0.95], "better"),
        ([-1.0, -1.1, -0.9, -1.05, -0.95], "worse"),
        ([0.1, 0.2, 3.0], "no difference shown"),
        ([0.0, 0.0, 0.0], "the same in every digit"),
        ([1.0, -1.0, 0.0], "no difference shown"),  # the same on average only
        ([5.0, 5.1], "too few pairs"),
        ([0.0, 0.0], "too few pairs"),  # equal by chance, perhaps
    ],
)
def test_a_verdict_needs_three_pairs_and_an_interval_without_zero(values, verdict):
    assert effects.judge(pd.Series(values)) == verdict


def test_an_interval_is_students():
    """Of 2 and 3: the mean 2.5, a standard error of 0.5, and t = 12.706 for one degree of freedom."""
    assert statistics.interval([2.0, 3.0]) == pytest.approx(6.353, abs=1e-3)
    assert statistics.interval([2.0]) is None


def test_noise_alone_is_seldom_called_a_difference():
    """Of 150 draws of five differences without any effect, the interval leaves out zero in about 5 %."""
    draws = np.random.RandomState(0).normal(size=(150, 5))
    wrong = sum(effects.judge(pd.Series(d)) in ("better", "worse") for d in draws)
    assert wrong <= 15


def test_gains_are_paired_by_seed():
    for seed, test in enumerate((40.0, 50.0)):
        write_run("original", seed, test)
        write_run("lstn", seed, test + 2 + seed)
    write_run("lstn", 7, 99.0)  # no original of this seed: not a pair
    gains = effects.gains("caltech101", "reduced")
    assert gains[["mean", "seeds"]].to_numpy().tolist() == [[2.5, 2]]
    assert "+2.50 points (95 % interval -3.85 to +8.85, 2 seeds): too few pairs" in (
        effects.verdict("caltech101", "reduced")
    )
    assert effects.in_words("caltech101", "reduced", "lstn") == (
        "L-STN against the network alone: ResNet-18 +2.50 ± 6.35 (n=2)"
    )


def test_other_seeds_are_compared_with_the_seed_five_below():
    for seed, test in ((0, 40.0), (1, 50.0), (OTHER_SEEDS + 1, 53.0)):  # the one of seed 5 is yet to be run
        write_run("original", seed, test)
    assert effects.differences("caltech101", "resnet18", "reduced")["original"].to_dict() == {1: 3.0}


def test_a_variant_is_compared_with_another_without_the_noise_of_the_original():
    for seed in range(3):
        write_run("original", seed, 10.0)
        write_run("original", seed + OTHER_SEEDS, 90.0)
        write_run("stn", seed, 50.0)
        write_run("lstn", seed, 53.0 + 0.1 * seed)
    found = effects.gains("caltech101", "reduced", "stn")
    assert found[["variant", "shown"]].to_numpy().tolist() == [["lstn", "better"]]


@pytest.mark.parametrize("sign, word", [(1, "better"), (-1, "worse")])
@pytest.mark.parametrize("noise, more", [(1.0, ""), (5.0, ", yet by no more than other seeds alone")])
def test_a_verdict_follows_its_interval_and_the_noise(sign, word, noise, more):
    for seed in range(3):
        write_run("original", seed, 50.0)
        write_run("original", seed + OTHER_SEEDS, 50.0 + noise)
        write_run("stn", seed, 50.0 + sign * (3 + 0.1 * seed))
        write_run("stn-released", seed, 50.0)
    told = effects.verdict("caltech101", "reduced")
    assert f"3 seeds): {word}{more}\n" in told
    assert told.endswith("ResNet-18 with STN as released: the same in every digit (3 seeds)")


def test_a_network_that_has_hardly_learned_is_not_compared():
    write_run("original", 0, 3.0, row={"train_loss": 4.3})
    write_run("lstn", 0, 9.0, row={"train_loss": 4.0})
    write_run("stn", 0, 50.0)  # has learned, but there is nothing to compare it with
    assert effects.gains("caltech101", "reduced").empty
    told = effects.verdict("caltech101", "reduced")
    assert "ResNet-18 (alone, 1 of 1 runs" in effects.in_words("caltech101", "reduced", "lstn")
    assert "ResNet-18 has hardly learned: in 1 of 1 runs" in told and "L-STN" not in told
    assert "above 80 % of guessing's 4.62, at 4.30 at most" in told


def test_a_network_that_begins_near_guessing_and_learns_is_compared():
    row = {"validation_loss": 1.0, "test_loss": 1.0, "validation_accuracy": 50.0, "test_accuracy": 50.0}
    for variant in ("original", "lstn"):
        write_run(variant, 0, None, epochs=[row | {"train_loss": loss} for loss in (4.6, 1.0)])
    assert effects.gains("caltech101", "reduced")["variant"].tolist() == ["lstn"]


def test_a_variant_of_which_a_run_has_hardly_learned_is_left_out_alone():
    for seed, lost in enumerate((1.0, 4.7)):
        write_run("original", seed, 30.0)
        write_run("stn", seed, 9.0, row={"train_loss": lost})
        write_run("lstn", seed, 31.0)
    assert effects.gains("caltech101", "reduced")["variant"].tolist() == ["lstn"]
    assert "ResNet-18 with STN has hardly learned: in 1 of 2 runs" in effects.verdict("caltech101", "reduced")
    assert effects.in_words("caltech101", "reduced", "stn") == (
        "STN against the network alone: not compared: ResNet-18 (with STN, 1 of 2 runs hardly learned)"
    )
