"""The figures of the tables' pages, each one function from numbers to a matplotlib Figure.

Colours are the same on every page: `COLORS`. Figures 1 and 2 of the paper are in `figures`.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from . import costs, tables
from .backbones import title
from .localization import LOCALIZATION_NETS, localization_net
from .models import HEADINGS, RELEASED
from .paper import COSTS_OF, table

_palette = sns.color_palette("colorblind")
COLORS = {"original": (0.35, 0.35, 0.35), "stn": _palette[0], "vstn": _palette[2], "lstn": _palette[1]}
COLORS |= {"affine": _palette[0], "projective": _palette[3], "tps": _palette[4]}  # of the smaller systems
COLORS |= {"one": _palette[0], "two": _palette[1]}
COLORS |= {f"{v}{RELEASED}": tuple((c + 1) / 2 for c in color) for v, color in COLORS.items()}  # paler
MARKERS = {"original": "o", "stn": "s", "vstn": "^", "lstn": "D"}


def style():
    """Set the look of every figure and table; the first code cell of a notebook calls it."""
    pd.set_option("display.max_colwidth", None)  # whole sentences in table cells
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind")
    plt.rcParams.update({"figure.dpi": 110, "savefig.dpi": 110, "figure.constrained_layout.use": True})


def closed(figure):
    """The figure, taken from pyplot's hands: a cell that ends in it shows it exactly once."""
    plt.close(figure)
    return figure


def cost_against_size(sizes=range(32, 481, 16)):
    """GFLOPS and parameters of the three localization nets against the side of the input in pixels."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8))
    for variant in LOCALIZATION_NETS:
        measured = []
        for size in sizes:
            with torch.device("meta"):
                net = localization_net(variant, size)
            measured.append(costs.measure(net, size))
        for axis, values in zip(axes, zip(*((m.gflops, m.parameters / 1e6) for m in measured))):
            axis.plot(sizes, values, color=COLORS[variant], label=HEADINGS[variant])
    for axis, label in zip(axes, ("GFLOPS (the paper's counting)", "parameters (millions)")):
        axis.set(xlabel="side of the input (pixels)", ylabel=label, ylim=(0, None))
    axes[0].legend()
    return closed(figure)


def accuracy_against_cost(number):
    """The paper's own test accuracies (Table 6 or 8) against the GFLOPS that it prints."""
    printed = table(number).merge(table(COSTS_OF[number]), on=["model", "variant"])
    figure, axis = plt.subplots(figsize=(8, 4.6))
    for model, rows in printed.groupby("model", sort=False):
        x, y = rows["gflops"].astype(float), rows["test"].astype(float)
        axis.plot(x, y, color="0.8", zorder=1)
        short = model.removeprefix("EfficientNet-")
        below = number == 8 and model.startswith("ResNet")  # where it is free
        place, shift = (y.min(), -18) if below else (y.max(), 8)
        axis.annotate(short, (x.mean(), place), (0, shift), textcoords="offset points", ha="center", size=10)
    for variant, rows in printed.groupby("variant", sort=False):
        axis.scatter(
            rows["gflops"].astype(float),
            rows["test"].astype(float),
            color=COLORS[variant],
            marker=MARKERS[variant],
            label=HEADINGS[variant],
            zorder=2,
        )
    axis.set(xlabel="GFLOPS as the paper prints them (logarithmic)", ylabel="test accuracy, paper (%)")
    axis.set(xscale="log")
    axis.set_xticks([2, 5, 10, 20, 40], ["2", "5", "10", "20", "40"])
    axis.minorticks_off()
    axis.margins(0.08, 0.12)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return closed(figure)


def accuracy_bars(dataset, protocol):
    """Our test accuracies: a group of bars a backbone, a dot a seed, whiskers the 95 % interval."""
    ours = tables.runs(dataset, protocol)
    backbones = list(ours["backbone"].unique())
    figure, axis = plt.subplots(figsize=(8, 4))
    drawn = tables.variants_of(ours)
    width = 0.8 / max(len(drawn), 1)
    for offset, variant in enumerate(drawn):
        for place, backbone in enumerate(backbones):
            values = ours[(ours["backbone"] == backbone) & (ours["variant"] == variant)]["test"]
            if len(values):
                x = place + width * (offset - (len(drawn) - 1) / 2)
                axis.bar(x, values.mean(), 0.9 * width, color=COLORS[variant], alpha=0.75)
                axis.errorbar(x, values.mean(), tables.interval(values), color="black", capsize=3)
                axis.plot([x] * len(values), values, ".", color="black", markersize=5)
    axis.set_xticks(range(len(backbones)), [title(b) for b in backbones])
    axis.set(ylabel="test accuracy (%)", xlim=(-0.6, max(len(backbones), 2) - 0.4))
    axis.grid(axis="x", visible=False)
    if backbones:
        handles = [Patch(color=COLORS[v], alpha=0.75, label=HEADINGS[v]) for v in drawn]
        axis.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5))
    else:
        axis.set_title(tables.MISSING)
    return closed(figure)


def learning_curves(dataset, protocol, quantity="validation_accuracy"):
    """A panel a backbone: `quantity` (a field of a record's epochs) against the epoch, a line a run."""
    ours = tables.runs(dataset, protocol)
    backbones, drawn = list(ours["backbone"].unique()), tables.variants_of(ours)
    across = min(max(len(backbones), 1), 3)
    down = -(-len(backbones) // across) or 1
    figure, axes = plt.subplots(
        down, across, figsize=(9, 3.8 if down == 1 else 3 * down), sharey=True, squeeze=False
    )
    for axis, backbone in zip(axes.flat, backbones):
        for variant in drawn:
            mine = ours[(ours["backbone"] == backbone) & (ours["variant"] == variant)]
            curves = [[e[quantity] for e in record["epochs"]] for record in mine["record"]]
            for curve in curves if len(curves) > 1 else []:
                axis.plot(range(1, len(curve) + 1), curve, color=COLORS[variant], alpha=0.3, linewidth=1)
            if curves:
                mean = np.mean([c[: min(map(len, curves))] for c in curves], axis=0)
                axis.plot(range(1, len(mean) + 1), mean, color=COLORS[variant])
        axis.set(title=title(backbone), xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
    for axis in axes[:, 0]:
        axis.set_ylabel(quantity.replace("_", " ") + " (%)" * quantity.endswith("accuracy"))
    for axis in axes.flat[len(backbones) or 1 :]:
        axis.set_visible(False)
    if backbones:
        handles = [Line2D([], [], color=COLORS[v], label=HEADINGS[v]) for v in drawn]
        figure.legend(handles=handles, loc="outside right center")
    else:
        axes[0, 0].set_title(tables.MISSING)
    return closed(figure)
