"""Means, intervals and correlations of accuracies."""

import math

MISSING = "not yet run"
ORDERS = 9999  # what a p-value is counted over, if there are more orders of the networks than that
FEWEST = 3  # runs; of fewer, an interval says nothing
RANKED = 5  # networks; of fewer, an order says nothing


def interval(values):
    """Half width of the 95 % confidence interval of the mean (Student's t); None below two values."""
    if len(values) < 2:
        return None
    from scipy import stats  # here, so that a machine without it can still train

    return float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))


def rank_correlation(a, b):
    """Spearman's rank correlation, its two-sided p-value, and the orders of `a` that p counts, in words."""
    from scipy import stats  # here, so that a machine without it can still train

    a, b, orders = a.rank(), b.rank(), math.factorial(len(a))
    test = stats.permutation_test((a,), b.dot, permutation_type="pairings", n_resamples=ORDERS, rng=0)
    over = f"all {orders:,} orders" if orders <= ORDERS else f"{ORDERS:,} random orders"
    return a.corr(b), test.pvalue, over


def mean_text(values, count=" (n={})", sign=""):
    """Accuracies in percent as text: mean, 95 % interval where there are two seeds, their number.

    Of differences in points, with "+" for `sign`, the mean keeps its sign.
    """
    values = list(values)
    if not values:
        return MISSING
    half = interval(values)
    spread = "" if half is None else f" ± {half:.2f}"
    return f"{sum(values) / len(values):{sign}.2f}{spread}{count.format(len(values))}"
