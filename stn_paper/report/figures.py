"""The style and the colours of all figures, and figures of several pages.

Colours are the same on every page: `COLORS`. Figures 1 and 2 of the paper are in `paper_figures` and `residual_figure`.
"""

import base64
import io

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
import torch
from IPython import get_ipython
from matplotlib.figure import Figure
from PIL import Image

from ..models import CONSTANT, HEADINGS, ORIGINAL, RELEASED, costs
from ..models.localization import LOCALIZATION_NETS, localization_net

PALETTE = sns.color_palette("colorblind")
COLORS = {ORIGINAL: (0.35, 0.35, 0.35), "stn": PALETTE[0], "vstn": PALETTE[2], "lstn": PALETTE[1]}
COLORS |= {"affine": PALETTE[0], "projective": PALETTE[3], "tps": PALETTE[4]}  # of the smaller systems
COLORS |= {"one": PALETTE[0], "two": PALETTE[1], "ffn": PALETTE[0], "rnn": PALETTE[1]}
COLORS |= {"feature": PALETTE[3], "shared": PALETTE[0]}
COLORS |= {"out60": PALETTE[0], "out20": PALETTE[1]}
COLORS |= {f"{v}{RELEASED}": tuple((c + 1) / 2 for c in color) for v, color in COLORS.items()}  # paler
COLORS |= {CONSTANT: PALETTE[5], "lstn-no-bn": PALETTE[8], "lstn-no-1x1": PALETTE[6], "stn-bn": PALETTE[9]}
DARK, GREY = "0.15", "0.45"  # for drawings
# of programs and commands; variants have COLORS
OTHER_COLORS = [*(PALETTE[i] for i in (4, 5, 7, 3, 9)), DARK]
PAPER_COLOR = (0.35, 0.35, 0.35)  # for the paper's numbers beside ours
# our plots have at most 3,900 colours; figures with photographs have 14,000 and more
PHOTOGRAPH_COLORS = 5_000
LEGEND_ABOVE: dict = {"loc": "outside upper center", "frameon": False, "fontsize": 11}  # of a whole figure
MARKERS = {ORIGINAL: "o", "stn": "s", "vstn": "^", "lstn": "D"}


def style():
    """Set the look of figures and tables, and reduce the colours of the plots that a notebook stores (`small_png`).

    The first code cell of a notebook calls it.
    """
    pd.set_option("display.max_colwidth", None)  # whole sentences in table cells
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind")
    plt.rcParams.update({"figure.dpi": 110, "savefig.dpi": 110, "figure.constrained_layout.use": True})
    if shell := get_ipython():
        plt.switch_backend(plt.get_backend())  # load the backend now: loading it replaces the formatter
        formatter = shell.display_formatter.formatters["image/png"]
        if draw := formatter.type_printers.get(Figure):
            formatter.for_type(Figure, lambda figure: (picture := draw(figure)) and small_png(picture))


def small_png(picture):
    """Return a PNG (base64 text) with its colours reduced to 256, which makes a plot's file three times smaller.

    A PNG with more than `PHOTOGRAPH_COLORS` colours is returned unchanged, because photographs need their colours.
    """
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        colored = image.convert("RGB")
    if colored.getcolors(PHOTOGRAPH_COLORS) is None:
        return picture
    colored.quantize(256, dither=Image.Dither.NONE, kmeans=2).save(
        small := io.BytesIO(), "png", optimize=True
    )
    return base64.b64encode(small.getvalue()).decode()


def close_figure(figure):
    """Close the figure in pyplot and return it, so that a notebook cell that ends with it shows it only once.

    Axes without data, whose title says "not yet run", are hidden. If no axes has data, the figure is made flat.
    """
    empty = [axis for axis in figure.axes if not axis.has_data()]
    for axis in empty:
        axis.axis("off")
    if figure.axes and len(empty) == len(figure.axes):
        figure.set_figheight(0.6)
    plt.close(figure)
    return figure


def cost_against_size_plot(sizes=range(32, 481, 32)):
    """GFLOPS and parameters of the three localization nets against the side of the input in pixels.

    The parameters nearly coincide, so the lines have different widths.
    """
    figure, axes = plt.subplots(1, 2, figsize=(5.8, 3.2))
    for variant, width in zip(LOCALIZATION_NETS, (6, 3.5, 1.5)):
        measured = []
        for size in sizes:
            with torch.device("meta"):
                net = localization_net(variant, size)
            measured.append(costs.measure(net, size))
        for axis, values in zip(axes, zip(*((m.gflops, m.parameters / 1e6) for m in measured))):
            axis.plot(sizes, values, color=COLORS[variant], label=HEADINGS[variant], linewidth=width)
    for axis, label in zip(axes, ("GFLOPS (the paper's counting)", "parameters (millions)")):
        axis.set(ylim=(0, None), xticks=[0, 200, 400])
        axis.set_xlabel("side of the input (pixels)", fontsize=11)
        axis.set_ylabel(label, fontsize=11)
    axes[0].legend()
    return close_figure(figure)
