"""The figures of the tables' pages, each one function from numbers to a matplotlib Figure.

Colours are the same on every page: `COLORS`. Figures 1 and 2 of the paper are in `paper_figures`.
"""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from matplotlib.patches import Patch

from ..analysis import frame, statistics
from ..models import HEADINGS, RELEASED, costs
from ..models.backbones import title
from ..models.localization import LOCALIZATION_NETS, localization_net

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
    """The figure, taken from pyplot's hands: a cell that ends in it shows it exactly once.

    Axes without data, which say "not yet run" in their title, are left out; without any the figure is flat.
    """
    empty = [axis for axis in figure.axes if not axis.has_data()]
    for axis in empty:
        axis.axis("off")
    if figure.axes and len(empty) == len(figure.axes):
        figure.set_figheight(0.6)
    plt.close(figure)
    return figure


def cost_against_size(sizes=range(32, 481, 32)):
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


def accuracy_bars(dataset, protocol):
    """Our test accuracies: a group of bars a backbone, a dot a seed, whiskers the 95 % interval.

    Of two seeds far apart the interval is wider than all accuracies: its whisker ends at the axis.
    """
    ours = frame.runs(dataset, protocol)
    ours = ours[frame.arms(ours) != frame.OTHERS]
    backbones = frame.ordered(ours["backbone"])
    figure, axis = plt.subplots(figsize=(8, 4))
    drawn = frame.variants_of(ours)
    width = 0.8 / max(len(drawn), 1)
    for place, backbone in enumerate(backbones):
        group = ours[ours["backbone"] == backbone].groupby("variant")["test"]
        mine = [v for v in drawn if v in group.groups]
        for offset, variant in enumerate(mine):
            values, x = group.get_group(variant), place + width * (offset - (len(mine) - 1) / 2)
            axis.bar(x, values.mean(), 0.9 * width, color=COLORS[variant], alpha=0.75)
            axis.errorbar(x, values.mean(), statistics.interval(values), color="black", capsize=3)
            axis.plot([x] * len(values), values, ".", color="black", markersize=5)
    slope = {"rotation": 30, "ha": "right"} if len(backbones) > 4 else {}
    axis.set_xticks(range(len(backbones)), [title(b) for b in backbones], **slope)
    axis.set(ylabel="test accuracy (%)", xlim=(-0.6, max(len(backbones), 2) - 0.4))
    axis.grid(axis="x", visible=False)
    if backbones:
        axis.set_ylim(0, 1.1 * ours["test"].max())
        handles = [Patch(color=COLORS[v], alpha=0.75, label=HEADINGS[v]) for v in drawn]
        axis.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5))
    else:
        axis.set_title(statistics.MISSING)
    return closed(figure)
