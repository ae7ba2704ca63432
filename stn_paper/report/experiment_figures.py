"""The figures of the pages "Is it the transformer?" and "Where a transformer helps"."""

from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..analysis import experiment
from ..analysis.effects import FAMILIES, single_differences
from ..analysis.statistics import FEWEST_RUNS, MARGIN, MISSING, half_width
from ..models import HEADINGS
from .experiment_page import plain_title
from .figures import COLORS, LEGEND_ABOVE, close_figure
from .sentences import pair_title

TITLE_WIDTH = 28  # characters of a line of a panel's title
DRAWN_FAMILIES = tuple(FAMILIES)[:2]  # families of comparisons that are drawn


def effects_plot(chosen):
    """The comparisons of DRAWN_FAMILIES: a panel a study, a row a comparison.

    A stroke is a mean, a bar its 95 % interval, dots are its `effects.single_differences`. A tint marks the
    differences that count as equal. A word replaces a comparison whose runs collapsed.
    """
    found = {
        study: _drawn_comparisons(rows) for study, rows in experiment.comparisons_by_study(chosen).items()
    }
    pairs = [pair for family in DRAWN_FAMILIES for pair in FAMILIES[family]]
    figure, axes = _study_panels(chosen, found.values(), height=0.9 + 0.25 * len(pairs), sharey=True)
    lost = {"ha": "center", "va": "center", "backgroundcolor": "white", "fontsize": 10}
    for axis, (study, rows) in zip(axes, found.items()):
        runs = experiment.study_runs(*study)
        for row in rows.itertuples():
            place, color = pairs.index((row.variant, row.against)), COLORS[row.variant]
            if pd.isna(row.mean):
                axis.text(0.5, place, "collapsed", transform=axis.get_yaxis_transform(), **lost)
                continue
            if min(row.n, row.n_against) >= FEWEST_RUNS:
                ends = [row.mean - row.half, row.mean + row.half]
                axis.plot(ends, [place] * 2, color=color, linewidth=6, alpha=0.4)
            axis.plot(row.mean, place, "|", color="black", markersize=13)
            dots = single_differences(runs, row)
            axis.plot(dots, [place] * len(dots), "o", color=color, markersize=4, markeredgecolor="white")
        if len(rows):
            axis.axvline(0, color="black", linewidth=1)
            axis.axvspan(-MARGIN, MARGIN, color="black", alpha=0.08, linewidth=0)
        axis.set_yticks(range(len(pairs)), [pair_title(*pair) for pair in pairs])
        axis.set(ylim=(len(pairs) - 0.5, -0.5))
    figure.supxlabel("difference of test accuracy (points)", fontsize=11)
    return close_figure(figure)


def _drawn_comparisons(rows):
    """The comparisons of DRAWN_FAMILIES that have a mean, or whose mean is missing because runs collapsed."""
    has_result = rows["mean"].notna() | (rows["collapsed"] + rows["collapsed_against"] > 0)
    return rows[rows["family"].isin(DRAWN_FAMILIES) & has_result & ~rows["left_out"].astype(bool)]


def budget_plot(chosen):
    """Test accuracy at the best validation epoch so far, against the budget: a panel a study."""
    found = {study: experiment.with_test_curves(experiment.shared_seed_runs(*study)) for study in chosen}
    chosen = [study for study in chosen if len(found[study])] or chosen
    found = [found[study] for study in chosen]
    figure, axes = _study_panels(chosen, found, height=2.3)
    for axis, ours in zip(axes, found):
        for variant in experiment.drawn_variants(ours):
            records = list(ours[ours["variant"] == variant]["record"])
            budgets = range(1, min(len(r["epochs"]) for r in records) + 1)
            mean = [np.mean([experiment.accuracy_at_budget(r, k) for r in records]) for k in budgets]
            axis.plot(budgets, mean, color=COLORS[variant], label=HEADINGS[variant])
        axis.xaxis.get_major_locator().set_params(integer=True)
        if axis.lines:  # cut off the first epochs, so that the differences at the end are visible
            axis.set_ylim(
                bottom=min(min(line.get_ydata()[len(line.get_ydata()) // 4 :]) for line in axis.lines)
            )
    drawn = {line.get_label(): line for axis in axes for line in axis.lines}
    figure.supxlabel("budget (epochs)", fontsize=11)
    figure.supylabel("test accuracy (%)", fontsize=11)
    if drawn:
        figure.legend(handles=[*drawn.values()], ncols=4, **LEGEND_ABOVE)
    return close_figure(figure)


def strength_plot(dataset, backbone, protocol):
    """Mean accuracy of each variant against the strength of a distortion, with 95 % intervals; a panel a distortion."""
    found = experiment.strength_accuracies(dataset, backbone, protocol)
    drawn = experiment.drawn_variants(found)
    layout = ConstrainedLayoutEngine(wspace=0.06)  # numbers of neighbouring axes would touch
    figure, axes = plt.subplots(1, len(experiment.UNITS), figsize=(5.8, 2.9), sharey=True, layout=layout)
    for axis, (distortion, label) in zip(axes, experiment.UNITS.items()):
        for variant in drawn:
            mine = found[(found["variant"] == variant) & (found["distortion"] == distortion)]
            groups = mine.groupby("strength")["accuracy"]
            mean, half = groups.mean(), groups.apply(half_width)
            axis.plot(mean.index, mean, color=COLORS[variant], label=HEADINGS[variant])
            if half.notna().all():
                low, high = (mean - half).clip(lower=0), (mean + half).clip(upper=100)
                axis.fill_between(mean.index, low, high, color=COLORS[variant], alpha=0.2, linewidth=0)
        axis.set_xlabel(label.replace(" (", "\n("), fontsize=11)
        axis.tick_params(labelsize=10)
        axis.set_ylim(0, 102)
    axes[0].set_ylabel("test accuracy (%)", fontsize=11)
    if drawn:
        lines = axes[0].get_legend_handles_labels()
        figure.legend(*lines, ncols=4, **LEGEND_ABOVE)
    else:
        axes[0].set_title(MISSING)
    return close_figure(figure)


def _study_panels(chosen, found, height, **options):
    """A figure with a titled panel for each study, two in a row, and its axes; a title says if data is missing."""
    across = min(len(chosen), 2)
    down = -(-len(chosen) // across)
    figure, axes = plt.subplots(down, across, figsize=(5.8, height * down), squeeze=False, **options)
    for axis, study, rows in zip(axes.flat, chosen, found):
        missing = "" if len(rows) else f": {MISSING}"
        # a dataset's name stays on one line
        name = plain_title(study).replace("MNIST ", "MNIST\N{NO-BREAK SPACE}")
        axis.set_title("\n".join(wrap(name + missing, TITLE_WIDTH)), fontsize=11)
        axis.tick_params(labelsize=11)
    for axis in axes.flat[len(chosen) :]:
        axis.set_visible(False)
    return figure, axes.flat[: len(chosen)]
