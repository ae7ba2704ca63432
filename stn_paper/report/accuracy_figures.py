"""The figures of the pages of Tables 4, 6 and 8: the paper's accuracies and ours, and the pattern over backbones."""

import math

import matplotlib.pyplot as plt
import pandas as pd

from ..analysis import accuracy, statistics
from ..analysis.accuracy import TSRD_COLUMNS
from ..analysis.effects import rows_of_pair
from ..models import HEADINGS, ORIGINAL
from ..models.backbones import title
from .figures import COLORS, PALETTE, PAPER_COLOR, close_figure
from .sentences import pair_title

TSRD_TITLES = {  # column of Table 4's cells -> its test images
    "test": "TSRD, all test images",
    "without_copy": "TSRD, images without an identical copy",
    "distinct": "TSRD, distinct pictures",
}
TSRD_HEADINGS = {"test": "all", "without_copy": "no identical copy", "distinct": "distinct"}  # short
TSRD_COLORS = dict(
    zip(TSRD_COLUMNS, (PALETTE[3], PALETTE[4], PALETTE[9]))
)  # not those of the paper's variants
PANELS = (("lstn", "stn"), ("stn", ORIGINAL))  # panels of `pattern_plot`: (variant, against)
WIDTH = 5.4  # inches; fits a telephone


def pattern_plot(number):
    """Plot the paper's and our differences of test accuracy: a panel for each of PANELS, a row a backbone.

    The last row has the means over the backbones, ours over those that `accuracy.differences` keeps. If a run
    collapsed, or the network failed to train, a text replaces our difference.
    """
    found = accuracy.differences(number)
    size = 1.5 + 0.36 * found["backbone"].nunique()
    figure, axes = plt.subplots(len(PANELS), figsize=(WIDTH, len(PANELS) * size))
    parts = {pair: _with_mean(rows_of_pair(found, *pair)) for pair in PANELS}
    limits = _axis_limits(pd.concat(parts.values()))
    for axis, (pair, part) in zip(axes, parts.items()):
        axis.set(xlim=limits, ylim=(len(part) - 0.2, -0.9))
        _panel(axis, part, COLORS[pair[0]])
        axis.set_title(pair_title(*pair), loc="left", fontsize=12, fontweight="bold")
        axis.set_yticks(range(len(part)), [*map(title, part["backbone"][:-1]), "mean"])
    axes[-1].set_xlabel("difference of test accuracy (points)")
    return close_figure(figure)


def _with_mean(part):
    """The rows of one comparison of `accuracy.differences` and a last row with the means and their intervals."""
    kept = part.loc[part["kept"], "ours"]
    enough = len(kept) >= accuracy.FEWEST_BACKBONES
    ours, half = (kept.mean(), statistics.half_width(kept)) if enough else (math.nan, math.nan)
    mean = {"paper": part["paper"].mean(), "paper_half": statistics.half_width(part["paper"])}
    mean |= {"ours": ours, "half": half, "kept": enough}
    return pd.concat([part.assign(paper_half=math.nan), pd.DataFrame([mean])], ignore_index=True)


def _axis_limits(shown):
    """The limits of an axis that fit the paper's differences and our drawn differences."""
    drawn = shown[shown["kept"]]
    half, paper_half = drawn["half"].fillna(0), shown["paper_half"].fillna(0)
    ends = [0, *(shown["paper"] - paper_half), *(shown["paper"] + paper_half)]
    ends += [*(drawn["ours"] - half), *(drawn["ours"] + half)]
    margin = 0.08 * (max(ends) - min(ends))
    return min(ends) - margin, max(ends) + margin


def _panel(axis, part, color):
    drawn = part[part["kept"]]
    axis.axvline(0, color="black", linewidth=1, zorder=1)
    axis.axhline(len(part) - 1.35, color="0.8", linewidth=1, zorder=1)
    axis.errorbar(
        part["paper"], part.index, xerr=part["paper_half"], fmt="none", color=PAPER_COLOR, capsize=3
    )
    axis.plot(
        part["paper"], part.index, "o", color=PAPER_COLOR, fillstyle="none", markersize=7, markeredgewidth=1.5
    )
    axis.errorbar(
        drawn["ours"], drawn.index, xerr=drawn["half"].fillna(0), fmt="none", color=color, capsize=3
    )
    axis.plot(drawn["ours"], drawn.index, "D", color=color, markersize=7)
    _annotate(axis, "paper", part["paper"][0], 0, 7, color=PAPER_COLOR)
    if len(drawn):
        low, high = axis.get_xlim()
        first, row = drawn["ours"].iloc[0], drawn.index[0]
        overlaps = row == 0 and abs(first - part["paper"][0]) < 0.15 * (high - low)
        _annotate(axis, "ours", first, row, -15 if overlaps else 7, color=color, fontweight="bold")
    for row in part[~part["kept"] & part["ours"].notna()].itertuples():
        right = row.ours > 0
        axis.text(
            0.99 if right else 0.01,
            row.Index + 0.38,
            f"{_why_not_drawn(row)} →" if right else f"← {_why_not_drawn(row)}",
            transform=axis.get_yaxis_transform(),
            ha="right" if right else "left",
            va="center",
            fontsize=11,
            color=color,
            zorder=1.5,  # above the grid, below the circles
        )
    axis.tick_params(labelsize=10.5)
    axis.grid(axis="y", visible=False)


def _annotate(axis, text, x, y, shift, **look):
    axis.annotate(text, (x, y), xytext=(0, shift), textcoords="offset points", ha="center", **look)


def _why_not_drawn(row):
    """The text in place of a difference, a row of `accuracy.differences`: its size, and why it is not drawn."""
    sides = ((row.variant, row.collapsed), (row.against, row.collapsed_against))
    collapsed = " and ".join(HEADINGS[variant] for variant, number in sides if number)
    why = f"{collapsed} collapsed" if collapsed else "left out, failed to train"
    points = f"{row.ours:+.1f}".replace("-", "−")
    return f"ours: {points} ({why})"


def tsrd_plot():
    """Plot the test accuracies of Table 4's networks, a row each: the paper's, our three, and baselines as lines."""
    cells, baselines = accuracy.cells(4), accuracy.baseline_accuracies()
    figure, axis = plt.subplots(figsize=(WIDTH, 1.9 + 0.36 * len(cells)))
    rows = range(len(cells))
    for column, half in TSRD_COLUMNS.items():
        axis.errorbar(
            cells[column], rows, xerr=cells[half].fillna(0), fmt="none", color=TSRD_COLORS[column], capsize=3
        )
        axis.plot(cells[column], rows, "D", color=TSRD_COLORS[column], markersize=6)
    axis.plot(
        cells["paper_test"], rows, "o", color=PAPER_COLOR, fillstyle="none", markersize=8, markeredgewidth=1.5
    )
    _draw_baselines(axis, baselines)
    handles = [
        plt.Line2D([], [], marker="o", fillstyle="none", color=PAPER_COLOR, linestyle="", label="paper")
    ]
    handles += [
        plt.Line2D([], [], marker="D", color=TSRD_COLORS[c], linestyle="", label=f"ours: {TSRD_TITLES[c]}")
        for c in TSRD_COLUMNS
    ]
    axis.legend(
        handles=handles, loc="upper center", bbox_to_anchor=(0.3, -0.11), ncol=1, fontsize=11, frameon=False
    )
    axis.set_yticks(rows, [title(b) for b in cells["backbone"]])
    axis.set(ylim=(len(cells) - 0.5, -0.5), xlabel="test accuracy (%)")
    axis.set_xlim(right=101)
    axis.tick_params(labelsize=10.5)
    axis.grid(axis="y", visible=False)
    return close_figure(figure)


def _draw_baselines(axis, baselines):
    """Draw a vertical line with its name for each baseline that learns nothing, if they have been measured."""
    if "nearest neighbour" not in baselines.index:
        return
    near = baselines.loc["nearest neighbour"]
    lines = [(near[column], "nearest neighbour", "--", column) for column in TSRD_COLUMNS]
    lines.append((baselines.loc["look-up", "test"], "look-up", ":", "test"))
    for value, name, style, column in lines:
        axis.axvline(value, color=TSRD_COLORS[column], linestyle=style, linewidth=1.4, zorder=1)
        axis.annotate(
            name,
            (value, 1.01),
            xycoords=axis.get_xaxis_transform(),
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=11,
            color=TSRD_COLORS[column],
        )
