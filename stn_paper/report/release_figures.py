"""Figures of the page on the author's release: the flow of data, and accuracy against training time."""

import io
from typing import Any

import matplotlib.pyplot as plt
from IPython.display import SVG
from matplotlib.patches import FancyBboxPatch

from ..analysis import author_runs
from ..analysis.paper import DATASET_OF
from ..data.datasets import DATASETS
from ..models import HEADINGS, ORIGINAL
from .figures import COLORS, DARK, GREY, MARKERS, close_figure
from .paper_figures import draw_arrow
from .sentences import join_words

RED = "#b3261e"
BOXES = {  # name -> (left, bottom, width); the height is BOX_HEIGHT
    "input": (0.1, 1.5, 1.15),
    "localization net": (1.75, 2.55, 1.45),
    "grid generator": (3.6, 2.55, 1.35),
    "sampler": (3.6, 1.5, 1.35),
    "output": (5.3, 1.5, 1.0),
    "classifier": (5.3, 0.3, 1.0),
}
BOX_HEIGHT = 0.5


def dataflow_plot():
    """The flow of data and gradients as SVG: above as the paper describes it, below as the release computes it."""
    figure, axes = plt.subplots(2, 1, figsize=(6.6, 6.3))
    _draw_flow(axes[0], "What the paper describes", bypassed=False)
    _draw_flow(axes[1], "What most released notebooks compute", bypassed=True)
    return as_svg(figure)


def _draw_flow(axis, title, bypassed):
    """Draw the transformer before the classifier; `bypassed`: its output is discarded."""
    axis.set(xlim=(0, 6.5), ylim=(-0.05, 3.2))
    axis.axis("off")
    axis.set_title(title, loc="left", weight="bold", size=13)
    _draw_boxes(axis, idle=("localization net", "grid generator", "sampler", "output") if bypassed else ())
    flow = GREY if bypassed else DARK
    _arrow(axis, (0.68, 2.0), (1.75, 2.8), flow)
    _arrow(axis, (3.2, 2.8), (3.6, 2.8), flow)
    axis.text(3.4, 2.9, "θ", ha="center", va="bottom", size=12, color=flow)
    _arrow(axis, (4.28, 2.55), (4.28, 2.0), flow)
    _arrow(axis, (1.25, 1.75), (3.6, 1.75), flow)
    _arrow(axis, (4.95, 1.75), (5.3, 1.75), flow)
    draw = _draw_bypass if bypassed else _draw_gradient
    draw(axis)
    axis.text(5.8, 0.12, "class", ha="center", va="center", size=11)


def _draw_boxes(axis, idle):
    """Draw the BOXES with their names; boxes in `idle` are dashed and grey."""
    for name, (left, bottom, width) in BOXES.items():
        color, line = (GREY, "--") if name in idle else (DARK, "-")
        style: dict[str, Any] = {"linestyle": line, "linewidth": 1.6, "edgecolor": color}
        rounded = "round,pad=0,rounding_size=0.08"
        axis.add_patch(FancyBboxPatch((left, bottom), width, BOX_HEIGHT, rounded, facecolor="white", **style))
        place = left + width / 2, bottom + BOX_HEIGHT / 2
        axis.text(*place, name, ha="center", va="center", size=11, color=color)


def _draw_bypass(axis):
    """Draw the arrows of a bypass: the output is discarded, and the input goes to the classifier."""
    _arrow(axis, (5.8, 1.5), (5.8, 1.2), GREY)
    axis.plot([5.67, 5.93], [0.92, 1.18], color=RED, linewidth=2.5)
    axis.plot([5.67, 5.93], [1.18, 0.92], color=RED, linewidth=2.5)
    axis.text(5.55, 1.2, "discarded", ha="right", va="center", size=11, color=RED)
    _arrow(axis, (0.68, 1.5), (5.3, 0.55), DARK, connectionstyle="angle,angleA=-90,angleB=180,rad=8")
    axis.text(2.9, 0.62, "the untouched input goes on", ha="center", va="bottom", size=11)
    axis.text(5.55, 0.95, "no gradient: θ stays the identity", ha="right", va="center", size=11, color=RED)


def _draw_gradient(axis):
    """Draw the arrows to the classifier and of the gradient of its loss back to θ."""
    _arrow(axis, (5.8, 1.5), (5.8, 0.8), DARK)
    axis.text(5.15, 0.55, "gradient of the loss, back to θ", ha="right", va="center", size=11, color=RED)
    for start, end in (
        ((5.55, 0.86), (5.55, 1.46)),
        ((5.26, 1.62), (5.0, 1.62)),
        ((4.1, 2.04), (4.1, 2.51)),
        ((3.57, 2.65), (3.23, 2.65)),
    ):
        _arrow(axis, start, end, RED, linestyle="--")


def _arrow(axis, start, end, color, **look):
    draw_arrow(axis, start, end, color, mutation_scale=13, **look)


def bypassed_in_words():
    """How many transformer cells of Tables 6 and 8 are bypassed as released, in words."""
    bypassed, cells, *_ = author_runs.release_totals()
    return (
        f"As released, {bypassed} of the {cells} transformer cells of Tables 6 and 8 discard the transformer's output "
        "(lower drawing). The runs for the paper may have used other code."
    )


def accuracy_against_epochs():
    """The paper's test accuracies against the epochs of the released logs: a panel a table, a line a network."""
    figure, axes = plt.subplots(2, 1, figsize=(4.6, 7.4))
    for axis, number in zip(axes, (6, 8)):
        cells = cells_with_epochs(number)
        for _, network in cells.groupby("model"):
            axis.plot(network["epochs_run"], network["test"], color="0.8", linewidth=1, zorder=1)
        for variant, some in cells.groupby("variant", sort=False):
            style = {"color": COLORS[variant], "marker": MARKERS[variant], "label": HEADINGS[variant]}
            axis.scatter(some["epochs_run"], some["test"], s=45, zorder=2, edgecolors="white", **style)
        title = f"Table {number}, {DATASETS[DATASET_OF[number]].title}"
        axis.set(
            xlabel="epochs trained, by the released log", ylabel="printed test accuracy (%)", xlim=(0, None)
        )
        axis.set_title(title, loc="left", weight="bold")
        axis.grid(axis="x", visible=False)
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.08), "ncols": 4, "frameon": False}
    axes[0].legend(**above, columnspacing=1, handletextpad=0)
    return close_figure(figure)


def cells_with_epochs(number):
    """Cells of Table 6 or 8 whose number of epochs is known, sorted by network and epochs."""
    return author_runs.released_cells(number).dropna(subset="epochs_run").sort_values(["model", "epochs_run"])


def release_verdict():
    """Whether the printed gains can be separated from the training time, and what is not known: two sentences."""
    longest, networks, ranks = 0, 0, []
    for number in (6, 8):
        cells = cells_with_epochs(number)
        within = cells.groupby("model")[["epochs_run", "test"]].rank()
        ranks.append(f"{within['epochs_run'].corr(within['test']):.2f} in Table {number}")
        with_lstn = [m["variant"].iloc[-1] for _, m in cells.groupby("model") if "lstn" in set(m["variant"])]
        longest, networks = longest + with_lstn.count("lstn"), networks + len(with_lstn)
    return (
        f"**The printed gains cannot be separated from training time**: L-STN was trained longest in {longest} of "
        f"{networks} networks, and within a network the variants' ranks by accuracy follow those by epochs "
        f"(correlation {join_words(ranks)}). Each cell has one released log at most, so that no interval can be given."
    )


def densenet_note():
    """Two sentences on the log of DenseNet-121 without a transformer if its parameters fit STN; else ""."""
    cells = author_runs.released_cells(8).set_index(["model", "variant"]).loc["DenseNet-121"]
    more = cells.loc[ORIGINAL, "parameters"] - cells.loc["vstn", "parameters"]
    if more != cells.loc["stn", "printed_parameters"] - cells.loc["vstn", "printed_parameters"]:
        return ""
    return (
        f"The log of DenseNet-121 without a transformer on CIFAR-10 counts {more:.0f} parameters more than its V-STN "
        "log. Table 7 has the same difference between STN and V-STN, so that this log may be STN's."
    )


def as_svg(figure):
    """The figure as SVG, the same every time it is drawn."""
    file = io.StringIO()
    with plt.rc_context({"svg.hashsalt": "stn-paper"}):
        close_figure(figure).savefig(file, format="svg", metadata={"Date": None})
    return SVG(file.getvalue())
