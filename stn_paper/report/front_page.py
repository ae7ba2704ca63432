"""The front page: the answer to its title, the numbers of its findings, and its figure."""

from typing import NamedTuple

import matplotlib.pyplot as plt
import pandas as pd

from ..analysis import accuracy, authors_runs, copies, effects, frame, statistics, theta
from ..analysis.cost_tables import TOLERANCE, compare_costs, lstn_against_stn
from ..analysis.paper import DATASET_OF
from ..data.datasets import DATASETS
from ..models.backbones import title
from . import experiment_page, speed
from .figures import COLORS, closed

LSTN, STN = "lstn", "stn"
PAPER = (0.35, 0.35, 0.35)
WORKS = ("mnist-rts", "mnist-cnn", "system")  # distorted digits, where a transformer helps


class Row(NamedTuple):
    """L-STN minus STN on one dataset, in points of test accuracy."""

    label: str
    dots: pd.Series  # of the paper a difference a network, of ours a seed that both have
    mean: float
    half: float  # half width of its 95 % interval, NaN for too few
    shown: str  # the verdict of `statistics.judge`
    collapsed: str  # which runs collapsed, and are in no number; "" if none did


def papers():
    """The paper's Rows: Tables 6 and 8, a dot a network."""
    found = []
    for number in (6, 8):
        every = accuracy.differences(number)
        dots = every[(every["variant"] == LSTN) & (every["against"] == STN)].set_index("backbone")["paper"]
        label = f"{DATASETS[DATASET_OF[number]].title}, {len(dots)} networks"
        found.append(Row(label, dots, dots.mean(), statistics.interval(dots), "", ""))
    return found


def ours():
    """Our Rows, in the order of DATASETS: one a network, dataset and protocol with enough runs of both sides."""
    names = {(s["dataset"], s["protocol"]["name"]) for s in (r["spec"] for r in frame.records().values())}
    found = []
    for dataset, protocol in sorted(names, key=lambda pair: ([*DATASETS].index(pair[0]), pair[1])):
        rows = effects.gains(dataset, protocol)
        rows = rows[(rows["variant"] == LSTN) & (rows["against"] == STN)]
        for row in rows[rows[["runs", "runs_against"]].min(axis=1) >= statistics.FEWEST].itertuples():
            cells = effects.by_seed(frame.runs(dataset, protocol, row.backbone))
            dots = (
                (cells[LSTN] - cells[STN]).dropna() if {LSTN, STN} <= set(cells) else pd.Series(dtype=float)
            )
            sides = (("L-STN", row.collapsed, row.runs), ("STN", row.collapsed_against, row.runs_against))
            lost = ", ".join(f"{name} collapsed in {number} of {of}" for name, number, of in sides if number)
            label = f"{DATASETS[dataset].title}, {title(row.backbone)}"
            found.append(Row(label, dots, row.mean, row.half, row.shown, lost))
    return found


def tally():
    """Of our Rows with a verdict: (number in which L-STN is better than STN, worse, all of them)."""
    shown = [one.shown for one in ours() if one.shown != statistics.FEW]
    better, worse = (
        sum(text.startswith(word) for text in shown) for word in (statistics.BETTER, statistics.WORSE)
    )
    return better, worse, len(shown)


def answer():
    """The answer to "Does L-STN improve a spatial transformer?", as Markdown."""
    (ratio, _), (better, worse, number) = lstn_against_stn(), tally()
    gain = f"In accuracy, in {better} of {number} cases" if better else "In accuracy, no gain is shown"
    return (
        f"**In cost, yes: L-STN takes {ratio.min():.3f} to {ratio.max():.3f} of STN's operations. {gain}:** under one "
        f"budget it is better than STN in {better} of our {number} comparisons and worse in {worse}."
    )


def facts():
    """What the front page's sentences are filled with: {name: text}."""
    cells = pd.concat([compare_costs(number) for number in (4, 5, 7, 9)])
    bypassed, transformers, chosen, logs = authors_runs.totals()
    copied, moved = copies.test_images_with_copy("tsrd"), theta.counts(theta.runs()).loc["photographs"]
    quick = speed.rows("everyday", program="papermill", device="cpu").get("seconds", pd.Series(dtype=float))
    missing = accuracy.missing(6)
    hours = (
        f"{missing['hours']:.0f} hours of an {missing['device']}" if missing["hours"] else "hours of a GPU"
    )
    found = {
        "answer": answer(),
        "cells": len(cells),
        "exact": cells["exact"].sum(),
        "close": cells["close"].sum(),
        "within": TOLERANCE,
        "bypassed": f"{bypassed} of {transformers}",
        "chosen": f"{chosen} of {logs}",
        "copied": f"{copied[0]:,} of {copied[1]:,}",
        "still": f"{moved['std below 0.05']} of {moved['runs']}",
        "collapsed": moved["collapsed"],
        "gain": experiment_page.gain(WORKS),
        "equal": experiment_page.gain(WORKS, against=STN),
        "quick": f"{quick.max():.0f} seconds" if len(quick) else "a minute",
        "hours": hours,
    }
    return {name: str(value) for name, value in found.items()}


def lstn_minus_stn():
    """The front page's figure: a line a Row, the paper's above ours: dots, mean and 95 % interval."""
    rows = [*((one, PAPER) for one in papers()), *((one, COLORS[LSTN]) for one in ours())]
    figure, axis = plt.subplots(figsize=(5.4, 0.8 + 0.33 * len(rows)))
    for place, (one, color) in enumerate(rows):
        dot = {"markersize": 5, "markeredgecolor": "white", "zorder": 3}
        axis.plot(one.dots, [place] * len(one.dots), "o", color=color, **dot)
        if one.shown != statistics.FEW:
            ends = [one.mean - one.half, one.mean + one.half]
            axis.plot(ends, [place, place], color=color, linewidth=5, alpha=0.4, solid_capstyle="butt")
            axis.plot(one.mean, place, "|", color=color, markersize=13, markeredgewidth=2.2)
    axis.axvline(0, color="black", linewidth=1, zorder=0)
    axis.axhline(len(papers()) - 0.5, color="0.8", linewidth=1)
    for place, text in ((0, "paper"), (len(papers()), "ours")):
        where = {"xycoords": ("axes fraction", "data"), "va": "top"}
        axis.annotate(text, (0.01, place - 0.42), fontsize=10, fontweight="bold", **where)
    axis.set_yticks(
        range(len(rows)),
        [f"{one.label}\n({one.collapsed})" if one.collapsed else one.label for one, _ in rows],
    )
    axis.set(ylim=(len(rows) - 0.4, -0.6), xlabel="test accuracy: L-STN minus STN (points)")
    axis.tick_params(labelsize=10)
    axis.grid(axis="y", visible=False)
    return closed(figure)
