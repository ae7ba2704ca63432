"""The paper's Figure 2, drawn with real tensors of a photograph: a residual block and its shortcut.

The network is untrained, from a fixed seed and in training mode, as in the first step of a training.
"""

from itertools import pairwise
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ..models import ORIGINAL, build_model
from ..training.batches import normalize
from .figures import DARK, GREY, close_figure
from .paper_figures import (
    BLUE,
    GREEN,
    ORANGE,
    SEED,
    draw_arrow,
    draw_box,
    new_axes,
    new_canvas,
    power_of_ten,
    shape_text,
)

WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 2}


class Trace(NamedTuple):
    """The tensors of a residual block, (B, C, H, W) each."""

    x: torch.Tensor
    weight1: torch.Tensor  # the first weight layer's output
    relu1: torch.Tensor
    f: torch.Tensor  # the second weight layer's output
    sum: torch.Tensor  # f + x
    output: torch.Tensor  # relu(f + x)


def untrained_resnet():
    """Our ResNet-18 for 101 classes, untrained, from a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return build_model("resnet18", ORIGINAL, 101)


@torch.no_grad()
def trace_block(model, image, last_weight=1.0):
    """The tensors in `model`'s first residual block for `image`, uint8 (B, 3, S, S).

    `last_weight` replaces the weight of the last batch norm inside F for this one pass.
    """
    block, seen = model.layer1[0], []
    keep = lambda _, inputs, output: seen.append(output.clone())  # noqa: E731  relu works in place
    hooks = [
        block.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone())),
        *(layer.register_forward_hook(keep) for layer in (block.bn1, block.relu, block.bn2)),
        block.relu.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone())),
    ]
    before = block.bn2.weight.clone()
    block.bn2.weight.fill_(last_weight)
    model(normalize(image))
    block.bn2.weight.copy_(before)
    for hook in hooks:
        hook.remove()
    x, weight1, _, relu1, f, total, output = seen  # the first relu's input is weight1 once more
    return Trace(x, weight1, relu1, f, total, output)


def figure2_plot(tensors):
    """Paper Figure 2 beside the tensors of a Trace: the three channels in which x varies most."""
    pitch, left, side = 1.27, 2.95, 0.89
    figure, canvas = new_canvas(5.8, 7.1)
    channels = tensors.x[0].var((1, 2)).argsort(descending=True, stable=True)[:3]
    top = tensors.sum[0, channels].abs().quantile(0.99).item()
    rows = {
        r"$\mathbfit{x}$": tensors.x,
        "after first relu": tensors.relu1,
        r"$\mathbfit{F(x)}$": tensors.f,
        r"$\mathbfit{F(x)+x}$": tensors.sum,
        r"relu($\mathbfit{F(x)+x}$)": tensors.output,
    }
    heights = [6.28 - pitch * i for i in range(len(rows))]
    starts = 1.88, 2.13, 2.05, 1.94, 2.13  # where the diagram's part ends
    for y, start, (name, tensor) in zip(heights, starts, rows.items()):
        canvas.text(left, y + 0.52, name, size=12.5, weight="bold", color=DARK, va="bottom")
        canvas.text(5.72, y + 0.53, shape_text(tensor), size=10, color=GREY, ha="right", va="bottom")
        canvas.plot([start, left - 0.06], [y, y], ":", color=GREY, linewidth=1.2, zorder=0)
        for i, channel in enumerate(tensor[0, channels]):
            axis = new_axes(figure, (left + i * (side + 0.043), y - side / 2, side, side))
            image = axis.imshow(channel.numpy(), "RdBu_r", vmin=-top, vmax=top)
            axis.set(xticks=[], yticks=[])
    _block_diagram(canvas, heights)
    bar = figure.colorbar(
        image, cax=new_axes(figure, (left + 0.2, 0.4, 2.35, 0.11)), orientation="horizontal"
    )
    bar.set_ticks([-top, 0, top], labels=["negative", "0", "positive"])
    bar.ax.tick_params(labelsize=11, length=0)
    return close_figure(figure)


def _block_diagram(canvas, heights):
    """Draw the paper's diagram at the left; each part is at the height of its output's row of pictures."""
    x, (top, relu, f, plus, end) = 1.75, heights
    middle = [(a + b) / 2 for a, b in pairwise(heights)]
    for y in middle[:2]:
        draw_box(canvas, (0.75, y - 0.29, 2.0, 0.58), "weight layer", BLUE)
        canvas.text(x, y - 0.15, "3 × 3 conv, batch norm", size=10.5, color=DARK, ha="center", va="center")
    for y in (relu, end):
        draw_box(canvas, (x - 0.36, y - 0.23, 0.72, 0.46), "relu", ORANGE)
    canvas.text(x, top, "$x$", size=16, ha="center", va="center", bbox=WHITE)
    canvas.text(x, f, "$F(x)$", size=16, ha="center", va="center", bbox=WHITE)
    canvas.plot(
        x, plus, "o", markersize=24, markerfacecolor="white", markeredgecolor=GREEN, markeredgewidth=1.8
    )
    canvas.text(x, plus, "+", size=18, ha="center", va="center")
    layers = [(y, 0.29) for y in middle[:2]]  # a part's height in the middle, and half of it
    places = (top, 0.17), layers[0], (relu, 0.23), layers[1], (f, 0.2), (plus, 0.17), (end, 0.23), (0.35, 0)
    for (start, below), (stop, above) in pairwise(places):
        draw_arrow(canvas, (x, start - below), (x, stop + above))
    canvas.plot([x - 0.2, 0.4, 0.4], [top, top, plus], color=GREEN, linewidth=1.8)
    draw_arrow(canvas, (0.39, plus), (x - 0.17, plus), GREEN)
    text = {"size": 12, "rotation": 90, "ha": "center", "va": "center"}
    canvas.text(0.22, (top + plus) / 2, "identity shortcut: $x$ as it is", **text)


def shortcut_distances(model, image, weights):
    """Mean distance of the block's output from x in percent of mean |x|: rows (with, without shortcut)."""
    rows = []
    for weight in weights:
        x, _, _, f, _, output = trace_block(model, image, weight)
        rows.append([100 * ((y - x).abs().mean() / x.abs().mean()).item() for y in (output, F.relu(f))])
    return rows


def shortcut_plot(model, image):
    """The distance of the block's output from its input, against the last weight of F."""
    weights = np.linspace(0, 1, 11)
    figure, axis = plt.subplots(figsize=(5.8, 3.6), layout="constrained")
    styles = ("with the shortcut", "o-", GREEN), ("without the shortcut", "s--", ORANGE)
    for values, (label, line, color) in zip(zip(*shortcut_distances(model, image, weights)), styles):
        axis.plot(weights, values, line, color=color, label=label)
    axis.set(xlabel="weight of the last batch norm in F", ylabel="distance from x (% of mean |x|)")
    axis.set_ylim(bottom=-2)
    axis.legend()
    return close_figure(figure)


def figure2_verdict(model, image):
    """Check the statement of Figure 2 by computation: a block whose F is zero returns x unchanged."""
    end = trace_block(model, image, last_weight=0)
    difference = power_of_ten((end.output - end.x).abs().max())
    alone = power_of_ten(F.relu(end.f).abs().max())
    block = model.layer1[0]
    layers = nn.ModuleList([block.conv1, block.bn1, block.conv2, block.bn2])
    own, in_layers = (sum(p.numel() for p in part.parameters()) for part in (block, layers))
    return (
        f"With the last batch norm's weight at zero, the block returns x (largest difference: {difference}); without "
        f"the shortcut it would return zero (largest output: {alone}). The shortcut has {own - in_layers} of the "
        f"block's {own:,} parameters."
    )
