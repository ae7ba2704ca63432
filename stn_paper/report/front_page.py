"""The front page: the answer to its title, the numbers of its findings, and its figure."""

from typing import NamedTuple

import matplotlib.pyplot as plt
import pandas as pd

from ..analysis import accuracy, authors_runs, copies, effects, experiment, frame, statistics, theta
from ..analysis.cost_tables import TOLERANCE, compare_costs, lstn_against_stn
from ..analysis.paper import DATASET_OF
from ..data.datasets import DATASETS
from ..models.backbones import title
from ..training import records
from . import speed
from .figures import COLORS, closed

LSTN, STN = "lstn", "stn"
PAPER = (0.35, 0.35, 0.35)
WORKS = ("mnist-rts", "mnist-cnn", "system")  # distorted digits, where a transformer helps


class Comparison(NamedTuple):
    """L-STN minus STN on one dataset, in points of test accuracy."""

    label: str
    values: pd.Series  # paired differences: of the paper over networks, of ours over seeds
    collapsed: int  # pairs left out, as the sampling grid of one of the two left the image


def papers():
    """The paper's Comparisons: Tables 6 and 8, a value a network."""
    found = []
    for number in (6, 8):
        every = accuracy.differences(number)
        mine = every[(every["variant"] == LSTN) & (every["against"] == STN)].set_index("backbone")["paper"]
        found.append(Comparison(f"{DATASETS[DATASET_OF[number]].title}, {len(mine)} networks", mine, 0))
    return found


def ours():
    """Our Comparisons with enough pairs of seeds for an interval, in the order of DATASETS.

    Each is of one network, dataset and protocol. Pairs in which a transformer collapsed are left out and counted.
    """
    pairs = {
        (spec["dataset"], spec["protocol"]["name"]): None
        for spec in (record["spec"] for record in records.everything().values())
        if spec["variant"] == LSTN
    }
    moved = theta.runs().set_index("run")["collapsed"]
    found = []
    for dataset, protocol in sorted(pairs, key=lambda pair: [*DATASETS].index(pair[0])):
        every = frame.runs(dataset, protocol)
        every["collapsed"] = [
            bool(moved.get(records.spec_of(record).name, False)) for record in every["record"]
        ]
        every = every.set_index(["backbone", "variant", "seed"])["collapsed"]
        slow = effects.hardly_learned(dataset, protocol)
        for backbone in frame.ordered(every.index.unique("backbone")):
            values = effects.differences(dataset, backbone, protocol, against=STN).get(
                LSTN, pd.Series(dtype=float)
            )
            lost = [
                any(every.get((backbone, variant, seed), False) for variant in (LSTN, STN))
                for seed in values.index
            ]
            learned = not any((backbone, variant) in slow for variant in (LSTN, STN)) or any(lost)
            if len(values) >= statistics.FEWEST and learned:
                kept = values[[not gone for gone in lost]]
                found.append(Comparison(f"{DATASETS[dataset].title}, {title(backbone)}", kept, sum(lost)))
    return found


def answer():
    """The answer to "Does L-STN improve a spatial transformer?", as Markdown."""
    ratio, _ = lstn_against_stn()
    shown = [effects.judge(one.values) for one in ours() if len(one.values) >= statistics.FEWEST]
    better, worse = shown.count(effects.BETTER), shown.count(effects.WORSE)
    gain = (
        "In accuracy, a gain is not shown"
        if not better
        else f"In accuracy, in {better} of {len(shown)} cases"
    )
    return (
        f"**In cost, yes: L-STN takes {ratio.min():.3f} to {ratio.max():.3f} of STN's operations. {gain}:** under one "
        f"budget it is better than STN in {better} of our {len(shown)} comparisons and worse in {worse}."
    )


def facts():
    """What the front page's sentences are filled with: {name: text}."""
    cells = pd.concat([compare_costs(number) for number in (4, 5, 7, 9)])
    bypassed, transformers, chosen, logs = authors_runs.totals()
    copied, moved = copies.test_images_with_copy("tsrd"), theta.counts(theta.runs()).loc["photographs"]
    digits = effects.differences(*WORKS, against=STN).get(LSTN, pd.Series(dtype=float))
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
        "gain": experiment.gain(WORKS),
        "equal": statistics.mean_text(digits, " points (n={})", "+"),
        "quick": f"{quick.max():.0f} seconds" if len(quick) else "a minute",
        "hours": hours,
    }
    return {name: str(value) for name, value in found.items()}


def lstn_minus_stn():
    """The front page's figure: a row a Comparison, the paper's above ours: dots, mean and Student's 95 % interval."""
    rows = [*((one, PAPER) for one in papers()), *((one, COLORS[LSTN]) for one in ours())]
    figure, axis = plt.subplots(figsize=(5.4, 0.8 + 0.33 * len(rows)))
    for place, (one, color) in enumerate(rows):
        axis.plot(
            one.values,
            [place] * len(one.values),
            "o",
            color=color,
            markersize=5,
            markeredgecolor="white",
            zorder=3,
        )
        if len(one.values) >= statistics.FEWEST:
            mean, half = one.values.mean(), statistics.interval(one.values)
            axis.plot(
                [mean - half, mean + half],
                [place, place],
                color=color,
                linewidth=5,
                alpha=0.4,
                solid_capstyle="butt",
            )
            axis.plot(mean, place, "|", color=color, markersize=13, markeredgewidth=2.2)
    axis.axvline(0, color="black", linewidth=1, zorder=0)
    axis.axhline(len(papers()) - 0.5, color="0.8", linewidth=1)
    for place, text in ((0, "paper"), (len(papers()), "ours")):
        axis.annotate(
            text,
            (0.01, place - 0.42),
            xycoords=("axes fraction", "data"),
            va="top",
            fontsize=10,
            fontweight="bold",
        )
    axis.set_yticks(range(len(rows)), [_label(one) for one, _ in rows])
    axis.set(ylim=(len(rows) - 0.4, -0.6), xlabel="test accuracy: L-STN minus STN (points)")
    axis.tick_params(labelsize=10)
    axis.grid(axis="y", visible=False)
    return closed(figure)


def _label(one):
    if not one.collapsed:
        return one.label
    return f"{one.label}\n({one.collapsed} of {one.collapsed + len(one.values)} pairs collapsed)"
