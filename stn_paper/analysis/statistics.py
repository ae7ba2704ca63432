"""Means, intervals, tests and corrections of accuracies, in points; SciPy computes them.

The rules are the margin of equivalence, the level of the tests, the fewest runs, and when runs are compared seed by
seed. The experiment's page says when they were set, and which runs were known then.
"""

import math
import warnings
from typing import NamedTuple

import numpy as np
import pandas as pd

MISSING = "not yet run"
NO_NUMBER = "–"  # a cell of a table without a number
ORDERS = 9999  # a permutation test takes all orders, or this number of random orders if there are more
FEWEST_RUNS = 3  # with fewer runs on a side there is no verdict
RANKED = 5  # with fewer networks there is no rank correlation
MARGIN = 1.0  # points; means with a smaller difference count as equal
ROUNDING = 1e-9  # points; smaller differences come from rounding
LEVEL = 0.05  # of every test, after Holm's correction
BETTER, WORSE, EQUAL = "better", "worse", "equal within 1 point"
NOT_SHOWN, SAME, FEW = "no difference shown", "identical", "too few runs"
LEFT_OUT = "left out: the original failed to train"  # the verdict on all comparisons of such a study
# suffix of BETTER and WORSE if the difference is shown to be below MARGIN
BY_LITTLE = ", by less than 1 point"


class Comparison(NamedTuple):
    """One mean minus another, in points; NaN where there are too few values."""

    mean: float
    half: float  # half width of the 95 % interval: Student's for pairs, Welch's for two samples
    n: int  # values of the first side, or pairs
    n_against: int  # values of the second side, or pairs
    paired: bool
    p: float  # two-sided p of "there is no difference"
    p_apart: float  # p of "the difference is MARGIN or more": the larger p of two one-sided tests
    identical: bool  # both values of every pair are equal


def _stats():
    from scipy import stats  # here, so that a machine without it can still train

    return stats


def half_width(values):
    """Half width of the 95 % confidence interval of the mean (Student's t); NaN below two values."""
    if len(values) < 2:
        return math.nan
    return float(_stats().t.ppf(0.975, len(values) - 1) * _stats().sem(np.asarray(values, float)))


def compare(first, second, paired):
    """Compare two Series of accuracies in percent, indexed by seed: a Comparison of the first minus the second.

    If `paired`, Student's t test takes the differences of the seeds that both have; else Welch's t test takes all
    values of both. Equivalence is tested by two one-sided tests of the same kind (Schuirmann 1987).

    >>> import pandas as pd
    >>> accuracies = pd.Series([70.0, 71.0, 72.0])
    >>> compare(accuracies + 2, accuracies, paired=True).mean
    2.0
    """
    if paired:
        first, second = (first - second).dropna(), pd.Series([0.0])
    if not len(first) or not len(second):
        return Comparison(math.nan, math.nan, len(first), len(second), paired, math.nan, math.nan, False)
    mean = float(first.mean() - second.mean())
    n, against = len(first), len(first) if paired else len(second)
    identical = bool(paired and (first == 0).all())
    if identical or min(n, against) < 2:  # identical runs leave nothing to test
        half = 0.0 if identical and n > 1 else math.nan
        return Comparison(mean, half, n, against, paired, math.nan, math.nan, identical)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)  # one side may hold equal values
        half, p, below, above = _t_tests(
            first.to_numpy(float), None if paired else second.to_numpy(float), mean
        )
    return Comparison(mean, half, n, against, paired, p, max(below, above), identical)


def _t_tests(first, second, mean):
    """Half width of the interval and the p of three t tests: no difference, above -MARGIN, below MARGIN."""
    spread = np.ptp(first) + (0 if second is None else np.ptp(second))
    if spread < ROUNDING:  # no test is defined where nothing varies
        return 0.0, float(abs(mean) < ROUNDING), float(mean <= -MARGIN), float(mean >= MARGIN)
    if second is None:
        test = _stats().ttest_1samp(first, 0)
        below, above = (
            _stats().ttest_1samp(first, at, alternative=side).pvalue
            for at, side in ((-MARGIN, "greater"), (MARGIN, "less"))
        )
    else:
        test = _stats().ttest_ind(first, second, equal_var=False)
        below, above = (
            _stats().ttest_ind(first - at, second, equal_var=False, alternative=side).pvalue
            for at, side in ((-MARGIN, "greater"), (MARGIN, "less"))
        )
    ends = test.confidence_interval(0.95)
    return float(ends.high - ends.low) / 2, float(test.pvalue), float(below), float(above)


def seed_effect(cells):
    """p of "the seed has no effect", from accuracies with a row a seed and a column an arm.

    It is the F test of the rows in a two-way layout. Rows with a gap are left out. NaN with fewer than FEWEST_RUNS
    rows or fewer than two columns.
    """
    values = cells.dropna().to_numpy(float)
    rows, columns = values.shape
    if rows < FEWEST_RUNS or columns < 2:
        return math.nan
    rest = values - values.mean(0)
    rest -= rest.mean(1, keepdims=True)
    freedom = (rows - 1) * (columns - 1)
    noise, between = (rest**2).sum() / freedom, columns * values.mean(1).var(ddof=1)
    return float(_stats().f.sf(between / noise, rows - 1, freedom)) if noise else math.nan


def seeds_pair(cells):
    """Whether runs are compared seed by seed: `seed_effect` is below LEVEL. Else they are compared as two samples."""
    return bool(seed_effect(cells) < LEVEL)


def correlation(cells):
    """Mean correlation of two arms over the seeds, from accuracies with a row a seed and a column an arm.

    Rows with a gap are left out. NaN with fewer than FEWEST_RUNS rows or fewer than two columns.
    """
    complete = cells.dropna()
    if len(complete) < FEWEST_RUNS or complete.shape[1] < 2:
        return math.nan
    pairs = complete.corr().to_numpy()[np.triu_indices(complete.shape[1], 1)]
    return float(np.mean(pairs))


def holm(p_values):
    """Adjust the p-values of tests that were made together by Holm's method; a NaN stays NaN and is not counted."""
    p_values = np.asarray(p_values, float)
    adjusted, largest = np.full(len(p_values), math.nan), 0.0
    order = [i for i in np.argsort(p_values) if not math.isnan(p_values[i])]
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def judge(comparison, p=None, p_apart=None):
    """Return the verdict of a Comparison: BETTER, WORSE (with or without BY_LITTLE), EQUAL, NOT_SHOWN, SAME or FEW.

    `p` and `p_apart` are p-values after a correction; None takes those of the Comparison. FEW: fewer than FEWEST_RUNS
    runs on a side. SAME: all pairs are equal. BETTER or WORSE: p is below LEVEL. EQUAL: p_apart is below LEVEL.

    >>> judge(compare(pd.Series([70.0, 71.0, 72.5]) + 5, pd.Series([70.0, 71.2, 72.0]), paired=True))
    'better'
    """
    p = comparison.p if p is None else p
    p_apart = comparison.p_apart if p_apart is None else p_apart
    if min(comparison.n, comparison.n_against) < FEWEST_RUNS:
        return FEW  # also for identical accuracies: two different networks can reach the same accuracy
    if comparison.identical:
        return SAME
    near = p_apart < LEVEL
    if p < LEVEL:
        return (BETTER if comparison.mean > 0 else WORSE) + (BY_LITTLE if near else "")
    return EQUAL if near else NOT_SHOWN


def judge_family(comparisons):
    """Judge Comparisons that were made together: a list of (p, p_apart, verdict), the p-values by Holm's correction."""
    adjusted = (holm([getattr(one, name) for one in comparisons]) for name in ("p", "p_apart"))
    return [(p, p_apart, judge(one, p, p_apart)) for one, p, p_apart in zip(comparisons, *adjusted)]


def count_verdicts(verdicts, *kinds):
    """Count the verdicts of one of these kinds; BETTER and WORSE include those by less than MARGIN.

    >>> count_verdicts([BETTER, BETTER + BY_LITTLE, EQUAL], BETTER)
    2
    """
    return sum(verdict.startswith(kinds) for verdict in verdicts)


def sign_test(ahead, behind):
    """Exact two-sided p of the sign test, from the numbers of differences above and below zero; NaN if both are 0."""
    if not ahead + behind:
        return math.nan
    return float(_stats().binomtest(ahead, ahead + behind).pvalue)


def exact_interval(count, total):
    """Return the exact 95 % interval (Clopper and Pearson), in percent, of a share observed as `count` of `total`.

    >>> [round(end, 1) for end in exact_interval(0, 10)]
    [0.0, 30.8]
    """
    low, high = _stats().binomtest(count, total).proportion_ci(method="exact")
    return 100 * float(low), 100 * float(high)


def fisher_test(first, second):
    """Two-sided p of Fisher's exact test of two shares, each (count, total)."""
    return float(_stats().fisher_exact([[count, total - count] for count, total in (first, second)]).pvalue)


def rank_test(first, second):
    """Two-sided p of Mann and Whitney's test of two samples; it uses ranks, so that outliers have no extra weight."""
    return float(_stats().mannwhitneyu(first, second).pvalue)


def rank_correlation(a, b):
    """(rho, p, orders): Spearman's rank correlation of two Series, its two-sided p by permutation, orders in words."""
    a, b, orders = a.rank(), b.rank(), math.factorial(len(a))
    test = _stats().permutation_test((a,), b.dot, permutation_type="pairings", n_resamples=ORDERS, rng=0)
    over = f"all {orders:,} orders" if orders <= ORDERS else f"{ORDERS:,} random orders"
    return a.corr(b), test.pvalue, over


def mean_text(values, count=" (n={})", sign=""):
    """Accuracies in percent as text: mean, half of the 95 % interval if there are two values or more, and `count`.

    `count` is the form of the number of values. For differences, `sign` "+" writes the mean with its sign.
    """
    values = list(values)
    if not values:
        return MISSING
    half = half_width(values)
    spread = "" if math.isnan(half) else f" ± {half:.2f}"
    return f"{sum(values) / len(values):{sign}.2f}{spread}{count.format(len(values))}"


def range_text(values, form="{:,.0f}"):
    """Return the smallest and the largest number as text, or one number if both have the same text.

    >>> range_text([1200, 3])
    '3 to 1,200'
    >>> range_text([0.771, 1.0], "{:.2f}")
    '0.77 to 1.00'
    """
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"
