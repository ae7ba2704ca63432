"""Intervals, tests and corrections: numbers computed by hand, and properties that hold for any values."""

import math

import numpy as np
import pandas as pd
import pytest

from stn_paper.analysis import statistics
from stn_paper.analysis.statistics import BETTER, BY_LITTLE, EQUAL, FEW, NOT_SHOWN, SAME, WORSE


def compared(first, second=None, paired=None):
    """A Comparison of lists: of differences with zero, or of two samples."""
    if second is None:
        return statistics.compare(pd.Series(first, dtype=float), pd.Series([0.0] * len(first)), paired=True)
    return statistics.compare(
        pd.Series(first, dtype=float), pd.Series(second, dtype=float), paired=bool(paired)
    )


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([2.0, 2.1, 1.9, 2.05, 1.95], BETTER),
        ([-2.0, -2.1, -1.9, -2.05, -1.95], WORSE),
        ([0.5, 0.6, 0.4, 0.55, 0.45], BETTER + BY_LITTLE),  # a difference, and yet less than the margin
        ([0.1, 0.2, 3.0], NOT_SHOWN),
        ([0.1, -0.1, 0.0, 0.05], EQUAL),
        ([3.0, -3.0, 0.0], NOT_SHOWN),  # the same on average only
        ([0.0, 0.0, 0.0], SAME),
        ([5.0, 5.1], FEW),
        ([0.0, 0.0], FEW),  # equal by chance, perhaps
    ],
)
def test_no_difference_shown_and_shown_to_be_equal_are_two_verdicts(values, verdict):
    assert statistics.judge(compared(values)) == verdict


def test_rounding_is_no_difference():
    same = [pd.Series([0.055] * number) for number in (3, 5)]
    assert np.mean(same[0]) != np.mean(same[1])
    found = statistics.compare(*same, paired=False)
    assert (found.p, found.half) == (1, 0) and statistics.judge(found) == statistics.EQUAL


def test_students_interval_by_hand():
    # of 2 and 3: the mean 2.5, a standard error of 0.5, and t = 12.706 for one degree of freedom
    assert statistics.half_width([2.0, 3.0]) == pytest.approx(6.353, abs=1e-3)
    assert compared([2.0, 3.0]).half == pytest.approx(6.353, abs=1e-3)
    assert math.isnan(statistics.half_width([2.0]))


def test_welchs_interval_by_hand():
    # variances 1 and 4, three values each: standard error sqrt(5 / 3), 2.941 degrees of freedom, t 3.2192
    found = compared([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], paired=False)
    assert found.half == pytest.approx(3.2192 * math.sqrt(5 / 3), rel=1e-3) and found.mean == -2
    assert math.isnan(compared([1.0], [1.0, 2.0], paired=False).half)
    assert compared([1.0, 1.0], [2.0, 2.0], paired=False).half == 0


def test_equivalence_by_hand():
    # mean 0.2 and standard error 0.1 of four pairs: t = 0.8 / 0.1 against the margin, three degrees of freedom
    values = 0.2 + 0.1 * np.array([-1.5, -0.5, 0.5, 1.5]) / np.std([-1.5, -0.5, 0.5, 1.5], ddof=1) * 2
    assert compared(values).p_apart == pytest.approx(0.00204, rel=1e-2)


def test_pairs_are_of_the_seeds_that_both_have():
    first, second = pd.Series({0: 3.0, 1: 5.0, 7: 90.0}), pd.Series({0: 1.0, 1: 2.0, 2: 50.0})
    paired, unpaired = (statistics.compare(first, second, paired=p) for p in (True, False))
    assert (paired.n, paired.n_against, paired.mean) == (2, 2, 2.5)
    assert (unpaired.n, unpaired.n_against) == (3, 3)


def test_seeds_pair_where_their_effect_is_shown():
    rng = np.random.RandomState(0)
    seeds, noise = 3 * rng.normal(size=(5, 1)), rng.normal(size=(5, 4))
    assert statistics.seeds_pair(pd.DataFrame(seeds + noise))
    assert not statistics.seeds_pair(pd.DataFrame(noise))
    assert statistics.correlation(pd.DataFrame(seeds + noise)) > 0.6
    assert not statistics.seeds_pair(pd.DataFrame((seeds + noise)[:2]))  # too few seeds to tell


def test_the_seed_effect_is_the_f_test_of_a_two_way_layout():
    # rows 0, 1, 2 plus a residual of (1, -1), (-1, 1), (0, 0) times 0.1: mean squares 2 and 0.02
    cells = pd.DataFrame([[0.1, -0.1], [0.9, 1.1], [2.0, 2.0]])
    assert statistics.seed_effect(cells) == pytest.approx(1 / (1 + 100), rel=1e-6)  # F(2, 2) = 100


def test_holm_multiplies_and_never_falls():
    assert statistics.holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    found = statistics.holm([0.01, math.nan, 0.9])
    assert found[[0, 2]].tolist() == pytest.approx([0.02, 0.9]) and math.isnan(found[1])


def test_the_sign_test_is_exact():
    assert statistics.sign_test(7, 0) == pytest.approx(2 / 2**7)
    assert statistics.sign_test(6, 1) == pytest.approx(2 * 8 / 2**7)
    assert statistics.sign_test(1, 1) == 1
    assert math.isnan(statistics.sign_test(0, 0))


def test_noise_alone_is_seldom_called_a_difference():
    draws = np.random.RandomState(0).normal(size=(150, 5))
    wrong = sum(statistics.judge(compared(d)).startswith((BETTER, WORSE)) for d in draws)
    assert wrong <= 15


def test_a_difference_of_the_margin_is_seldom_called_equal():
    draws = np.random.RandomState(0).normal(loc=statistics.MARGIN, scale=0.3, size=(150, 5))
    assert sum(statistics.judge(compared(d)) == EQUAL for d in draws) <= 15


RANK = {WORSE: 0, WORSE + BY_LITTLE: 1, NOT_SHOWN: 2, EQUAL: 2, SAME: 2, BETTER + BY_LITTLE: 3, BETTER: 4}


@pytest.mark.parametrize("paired", [True, False])
def test_a_verdict_never_improves_when_all_runs_get_worse_alike(paired):
    rng = np.random.RandomState(1)
    for _ in range(20):
        first, second = rng.normal(70, 1, 5), rng.normal(70, 1, 5)
        ranks = [
            RANK[statistics.judge(compared(first - drop, second, paired))] for drop in np.linspace(-3, 3, 25)
        ]
        assert ranks == sorted(ranks, reverse=True)


@pytest.mark.parametrize("paired", [True, False])
def test_swapping_the_sides_swaps_the_verdict(paired):
    rng = np.random.RandomState(2)
    for _ in range(20):
        first, second = rng.normal(70, 1, 5), rng.normal(71, 1, 5)
        forward, swapped = compared(first, second, paired), compared(second, first, paired)
        assert forward.mean == pytest.approx(-swapped.mean) and forward.half == pytest.approx(swapped.half)
        assert forward.p == pytest.approx(swapped.p) and forward.p_apart == pytest.approx(swapped.p_apart)
