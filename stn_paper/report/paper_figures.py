"""The paper's Figure 1, drawn with real tensors of a photograph, and the drawing functions of `residual_figure`.

Functions return a matplotlib Figure, or a verdict in words. The network is untrained, from a fixed seed and in training
mode, as in the first step of a training: batch norm uses the photograph's own statistics.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib import patheffects
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from PIL import Image

from ..models.localization import localization_net
from ..models.transformer import SpatialTransformer, sample, sampling_grid
from ..training.batches import normalize
from .figures import COLORS, DARK, GREY, close_figure

SEED = 0
CORNERS = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])  # (x, y), clockwise
BLUE, ORANGE, GREEN, _, PINK, *_ = sns.color_palette("colorblind")
CORNER_STYLES = list(zip("osv^", (BLUE, ORANGE, GREEN, PINK)))  # shape and colour of each corner
GRID_STEP = 16  # pixels between the drawn points of a sampling grid


def photograph(size=224):
    """scikit-learn's photograph of a pagoda, its central square, as uint8 (1, 3, size, size)."""
    from sklearn.datasets import load_sample_image  # not at the top: the import takes half a second

    return central_square(Image.fromarray(load_sample_image("china.jpg")), size)


def gallery(images):
    """Show pictures {title: image (1, 3, H, W) in [0, 1]}, four in a row."""
    across = min(4, len(images))
    down = -(-len(images) // across)
    figure, axes = plt.subplots(down, across, figsize=(1.45 * across, 1.75 * down), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (name, image) in zip(axes.flat, images.items()):
        axis.imshow(image[0].permute(1, 2, 0).clamp(0, 1).numpy())
        axis.set_title(name, fontsize=11)
    return close_figure(figure)


def central_square(image, size):
    """The largest square in the middle of a coloured picture, resized: uint8 (1, 3, size, size)."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].contiguous()


def as_pixels(image):
    """Pixels (S, S, 3) in [0, 1], for matplotlib, of a normalized image (3, S, S)."""
    return ((image.permute(1, 2, 0) + 1) / 2).clamp(0, 1).numpy()


# --- Figure 1 -----------------------------------------------------------------------------------


def untrained_transformer(theta=None, size=224):
    """L-STN for (B, 3, size, size), untrained; the last layer's bias is `theta` (2, 3), if given."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        localization = localization_net("lstn", size)
    if theta is not None:
        with torch.no_grad():
            head: Any = localization.head
            head[-1].bias.copy_(theta.flatten())
    return SpatialTransformer(localization)


def shear(amount):
    """Theta (2, 3) of a shear: it reads x further right by `amount` times y."""
    return torch.tensor([[1.0, amount, 0.0], [0.0, 1.0, 0.0]])


def outline(theta):
    """Corners (4, 2) of the square that theta (2, 3) reads from the input, normalized (x, y)."""
    return CORNERS @ theta[:, :2].T + theta[:, 2]


@torch.no_grad()
def figure1_plot(transformer, image):
    """Paper Figure 1 with the tensors that `transformer` makes of `image`, uint8 (1, 3, S, S)."""
    u = normalize(image)
    theta = transformer.theta(u)
    grid = sampling_grid(theta, *u.shape[-2:])
    v = sample(u, grid)

    figure, canvas = new_canvas(5.75, 6.95)
    panels = [_photo(figure, (0.1, y, 2.1, 2.1), images) for y, images in ((3.95, u), (0.8, v))]
    _sampled_region(panels[0], theta[0], grid[0])
    _corners(panels[1], CORNERS)
    _tensor_label(canvas, (1.15, 6.57), r"input feature map $\mathbfit{U}$", u)
    _tensor_label(canvas, (1.15, 0.7), r"output feature map $\mathbfit{V}$", v)

    draw_box(canvas, (0.325, 3.2, 1.65, 0.47), "sampler", to_rgb(GREY))
    draw_box(canvas, (2.65, 4.85, 3.05, 2.05), "localization net (L-STN)", COLORS["lstn"])
    draw_box(canvas, (2.65, 0.05, 3.05, 3.62), "grid generator", to_rgb(GREY))
    _feature_maps(canvas, transformer.localization.features, u)
    canvas.text(3.12, 4.25, r"$\theta\,=$", size=15, va="center", ha="right")
    _matrix(canvas, (4.1, 4.25), theta[0], 11.5)
    canvas.text(5.38, 4.25, shape_text(theta), size=11, color=GREY, va="center", ha="center")
    _grid_panel(figure, (2.82, 0.46, 2.75, 2.75), theta[0], grid[0])
    text = f"{shape_text(grid)}, every {GRID_STEP}th drawn"
    canvas.text(4.175, 0.16, text, size=11, color=GREY, ha="center")

    canvas.text(2.31, 3.51, r"$\mathcal{T}_\theta(G)$", size=12, ha="center")
    for start, end in (
        ((2.25, 5.6), (2.65, 5.6)),  # U to the localization net
        ((4.175, 4.85), (4.175, 4.54)),  # to theta
        ((4.175, 3.97), (4.175, 3.67)),  # to the grid generator
        ((2.65, 3.435), (1.975, 3.435)),  # to the sampler
        ((1.15, 3.93), (1.15, 3.67)),  # U to the sampler
        ((1.15, 3.2), (1.15, 2.93)),  # to V
    ):
        draw_arrow(canvas, start, end)
    return close_figure(figure)


def directions_plot(image, maps):
    """For each of `maps`, {name: (2, 3)}, a row: `image` with the region that it reads, the output, and its numbers."""
    u = normalize(image)
    width, gap = 1.27, 0.12
    height = len(maps) * (width + gap)
    figure, canvas = new_canvas(5.75, height + 0.3)
    for i, (name, theta) in enumerate(maps.items()):
        bottom = height - (i + 1) * (width + gap)
        middle = bottom + width / 2
        grid = sampling_grid(theta[None], *u.shape[-2:])
        read = _photo(figure, (1.05, bottom, width, width), u, reach=1.5)
        shown = _photo(figure, (2.5, bottom, width, width), sample(u, grid))
        _sampled_region(read, theta, size=6)
        _corners(shown, CORNERS, size=6)
        canvas.text(0.95, middle, name, size=12, ha="right", va="center", weight="bold")
        _matrix(canvas, (4.8, middle), theta, 11)
    for x, label in ((1.685, "input $U$"), (3.135, "output $V$"), (4.8, r"$\theta$")):
        canvas.text(x, height + 0.05, label, size=12, ha="center", va="bottom")
    return close_figure(figure)


@torch.no_grad()
def figure1_verdict(transformer, image):
    """Check Figure 1 by computation: the grid ends at theta's corners, and the identity changes no pixel; in words."""
    u = normalize(image)
    theta = transformer.theta(u)
    grid = sampling_grid(theta, *u.shape[-2:])[0]
    distance = (outline(theta[0]) - _corners_of(grid)).abs().max()
    inside = (grid.abs() <= 1).all(-1).float().mean()
    untouched = untrained_transformer(size=u.shape[-1])(u)
    change = 127.5 * (untouched - u).abs().max()
    return (
        f"Theta maps the corners of the output to the corners of the grid (to {power_of_ten(distance, 1e-6)}), and "
        f"{inside:.0%} of the grid lies inside the input. An untrained transformer, whose map is the identity, changes "
        f"no pixel by more than {power_of_ten(change, 1e-3)} of 255 grey levels."
    )


def _corners_of(grid):
    """Corners (4, 2) of the region that grid (H, W, 2) reads: half a step beyond its outermost points."""
    down, right = (grid[1, 0] - grid[0, 0]) / 2, (grid[0, 1] - grid[0, 0]) / 2
    ends = (grid[0, 0], -1, -1), (grid[0, -1], -1, 1), (grid[-1, -1], 1, 1), (grid[-1, 0], 1, -1)
    return torch.stack([end + y * down + x * right for end, y, x in ends])


def draw_outline(axis, theta, color="white", width=1.8):
    """Draw the outline of the region that theta (2, 3) reads, on a dark casing."""
    casing = [patheffects.Stroke(linewidth=2 * width, foreground=DARK), patheffects.Normal()]
    axis.plot(*outline(theta)[[0, 1, 2, 3, 0]].T, color=color, linewidth=width, path_effects=casing)


def _sampled_region(axis, theta, grid=None, size=9):
    """Draw the outline of the region that theta reads and, if a grid is given, the grid's points."""
    corners = outline(theta)
    draw_outline(axis, theta)
    if grid is not None:
        axis.scatter(*_drawn_points(grid).T, s=7, color="white", edgecolors=DARK, linewidths=0.5, zorder=3)
    _corners(axis, corners, size)


def _corners(axis, points, size=9):
    for (marker, color), (x, y) in zip(CORNER_STYLES, points.tolist()):
        edge = {"markeredgecolor": "white", "markeredgewidth": 1.2}
        axis.plot(x, y, marker, color=color, markersize=size, **edge, clip_on=False, zorder=5)


def _drawn_points(grid):
    return grid[GRID_STEP // 2 :: GRID_STEP, GRID_STEP // 2 :: GRID_STEP].reshape(-1, 2)


def _grid_panel(figure, box, theta, grid):
    axis = new_axes(figure, box)
    axis.set(xlim=(-1.15, 1.15), ylim=(1.15, -1.15), aspect="equal", facecolor="none")
    axis.add_patch(Rectangle((-1, -1), 2, 2, facecolor="white", edgecolor=GREY))
    axis.plot(*outline(theta)[[0, 1, 2, 3, 0]].T, color=DARK, linewidth=1.4)
    axis.scatter(*_drawn_points(grid).T, s=5, color=DARK)
    _corners(axis, outline(theta))
    for value in (-1, 0, 1):
        axis.text(value, 1.06, f"{value:g}".replace("-", "−"), size=10, color=GREY, ha="center", va="top")
        axis.text(-1.06, value, f"{value:g}".replace("-", "−"), size=10, color=GREY, ha="right", va="center")
    axis.text(0.5, 1.06, "$x$", size=11, color=GREY, ha="center", va="top")
    axis.text(-1.06, 0.5, "$y$", size=11, color=GREY, ha="right", va="center")
    axis.axis("off")


def _feature_maps(canvas, features, u):
    """The four most active channels of the first and of the last feature layer."""
    limits = canvas.axis()  # imshow moves them
    for maps, left, number in ((features[:1](u), 2.75, 1), (features(u), 4.49, len(features))):
        active = maps[0].mean((1, 2)).argsort(descending=True, stable=True)[:4]
        for i, channel in enumerate(maps[0, active]):
            x, y = left + 0.57 * (i % 2), 5.86 - 0.57 * (i // 2)
            box = (x, x + 0.54, y, y + 0.54)
            canvas.imshow(
                channel.numpy(), "cividis", vmin=0, vmax=channel.quantile(0.99), extent=box, aspect="auto"
            )
        text = f"layer {number}\n{shape_text(maps)}"
        canvas.text(left + 0.555, 4.91, text, size=11, color=GREY, ha="center", linespacing=1.2)
    canvas.text(4.175, 5.95, "…", size=16, color=GREY, ha="center")
    draw_arrow(canvas, (3.93, 5.83), (4.42, 5.83), GREY)
    canvas.axis(limits)


# --- drawing ------------------------------------------------------------------------------------


def new_canvas(width, height):
    """A figure, and axes over all of it with coordinates in inches; panels are drawn above them."""
    figure = plt.figure(figsize=(width, height), layout="none")
    canvas = new_axes(figure, (0, 0, width, height))
    canvas.set(xlim=(0, width), ylim=(0, height))
    canvas.axis("off")
    return figure, canvas


def new_axes(figure, box):
    """Axes at (left, bottom, width, height) in inches."""
    width, height = figure.get_size_inches()
    left, bottom, across, up = box
    return figure.add_axes((left / width, bottom / height, across / width, up / height))


def _photo(figure, box, images, reach=1):
    """Show the first of the normalized images (B, 3, S, S), coordinates from -reach to reach.

    The outside of the image is mid-grey, as the sampler reads it.
    """
    axis = new_axes(figure, box)
    axis.imshow(as_pixels(images[0]), extent=(-1, 1, 1, -1))
    axis.set(xlim=(-reach, reach), ylim=(reach, -reach), xticks=[], yticks=[], facecolor="0.5")
    return axis


def draw_box(canvas, box, name, color):
    """A tinted box with its name at the top."""
    left, bottom, width, height = box
    rounded = "round,pad=0,rounding_size=0.1"
    style: dict[str, Any] = {"facecolor": (*color, 0.13), "edgecolor": color, "linewidth": 1.6}
    canvas.add_patch(FancyBboxPatch((left, bottom), width, height, rounded, **style))
    y = bottom + height - 0.235
    canvas.text(left + width / 2, y, name, size=12.5, weight="bold", color=DARK, ha="center", va="center")


def _tensor_label(canvas, place, name, tensor):
    canvas.text(*place, name, size=12.5, weight="bold", color=DARK, ha="center", va="top")
    canvas.text(place[0], place[1] - 0.22, shape_text(tensor), size=11, color=GREY, ha="center", va="top")


def draw_arrow(canvas, start, end, color=DARK, **look):
    style: dict[str, Any] = {"mutation_scale": 15, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0, **look}
    canvas.add_patch(FancyArrowPatch(start, end, color=color, arrowstyle="-|>", **style))


def _matrix(canvas, place, theta, size):
    """Theta's six numbers in two rows between brackets, centred at `place`."""
    x, y = place
    em = size / 72
    for row, up in zip(theta.tolist(), (0.75, -0.75)):
        for number, across in zip(row, (-2.25, 1.4, 5.05)):
            place = (x + across * em, y + up * em)
            canvas.text(*place, _two_decimals(number), size=size, ha="right", va="center_baseline")
    for side in (-1, 1):
        edge, lip = x + side * 5.5 * em, x + side * 5.2 * em
        ends = y + 1.5 * em, y - 1.5 * em
        canvas.plot([lip, edge, edge, lip], [ends[0], *ends, ends[1]], color=DARK, linewidth=1.2)


def _two_decimals(number):
    """A number with two decimals, the character for minus, and no negative zero."""
    return f"{number:z.2f}".replace("-", "−")


def shape_text(tensor):
    return str(tuple(tensor.shape))


def power_of_ten(value, least=0.0):
    """The smallest power of ten, at least `least`, that `value` does not exceed, as text.

    Unlike the value, it is the same on every machine.
    """
    value = max(float(value), least)
    if value == 0:
        return "0"
    exponent = int(np.ceil(np.log10(value)))
    return f"{10.0**exponent:.{max(-exponent, 0)}f}"
