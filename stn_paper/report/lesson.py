"""Figures of the pages that teach: parameters row by row, the sampling kernel, digits before and after.

Images are normalized, (B, 3, S, S); maps theta are (B, 2, 3), by the convention of `models.transforms`.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from ..data.datasets import EMBEDDED, embedded_digits, known_maps
from ..data.distortions import CANVAS, DISTORTIONS, distort_digits, known_theta
from ..data.scenes import cluttered_digits
from .figures import COLORS, close_figure
from .paper_figures import draw_outline


def parameters_plot(layers, printed):
    """Parameters of each convolution with its batch norm as bars, and the paper's count of each row as a dash."""
    counts = [sum(p.numel() for part in row for p in part.parameters()) for row in layers]
    kernels = [row[0].kernel_size[0] for row in layers]
    figure, axis = plt.subplots(figsize=(5.8, 2.6))
    rows = range(1, len(counts) + 1)
    axis.bar(rows, counts, color=[COLORS["lstn"] if k > 1 else "0.75" for k in kernels])
    axis.plot(rows, printed, "k_", markersize=12, label="the paper's Table 3")
    axis.set(xlabel="row of Table 3 (coloured: 3 × 3, grey: 1 × 1)", ylabel="parameters", xticks=[*rows][::2])
    axis.grid(axis="x", visible=False)
    axis.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    return close_figure(figure)


def grid_plot(image, theta, grid):
    """One image with the outline that theta (2, 3) reads, and the points of its grid (H, W, 2)."""
    figure, axis = plt.subplots(figsize=(2.8, 2.8))
    _show_grey(axis, image)
    draw_outline(axis, theta)
    axis.scatter(*grid[1::3, 1::3].reshape(-1, 2).T, s=5, color=COLORS["lstn"])
    return close_figure(figure)


def kernel_plot(x, width):
    """The weights of the pixels of a row, `width` long, for a point at normalized `x`: sticks below the kernel."""
    place = ((x + 1) * width - 1) / 2
    pixels, fine = torch.arange(width), torch.linspace(-0.5, width - 0.5, 400)
    figure, axis = plt.subplots(figsize=(5.8, 2.2))
    axis.plot(fine, (1 - (fine - place).abs()).clamp(min=0), color="0.7")
    axis.vlines(pixels, 0, (1 - (pixels - place).abs()).clamp(min=0), color=COLORS["lstn"], linewidth=4)
    axis.plot(pixels, 0 * pixels, "k.", markersize=4)
    axis.axvline(place, color="0.3", linestyle=":")
    axis.set(
        xlabel=f"pixels of a row; dotted: the point {place:.2f} (x = {x:g})",
        ylabel="weight",
        xticks=pixels[::2],
    )
    axis.grid(visible=False)
    return close_figure(figure)


def before_and_after_plot(images, outputs, theta):
    """A column a digit: the input with the outline that theta reads, and below it the output."""
    figure, axes = plt.subplots(2, len(images), figsize=(0.72 * len(images), 1.7))
    for (above, below), before, after, one in zip(axes.T, images, outputs, theta):
        _show_grey(above, before)
        draw_outline(above, one, width=1.4)
        _show_grey(below, after)
    return close_figure(figure)


def distorted_samples_plot(count=6):
    """Embedded digits, one of each class: the first row without distortion, a further row for each distortion."""
    pixels, labels = embedded_digits()
    plain = pixels[[(labels == k).argmax() for k in range(count)]]
    rows = {"undistorted": plain}
    for name, distortion in DISTORTIONS.items():
        theta = known_theta(name, count)
        rows[f"{distortion.label}: {distortion.title.lower()}"] = list(
            distort_digits(plain, theta, distortion.kind, CANVAS)
        )
    rows["embedded digits"] = list(distort_digits(plain, known_maps(EMBEDDED, count), "affine", CANVAS))
    figure = plt.figure(figsize=(0.95 * count, 1.05 * len(rows)))
    for part, (title, images) in zip(figure.subfigures(len(rows), squeeze=False).flat, rows.items()):
        part.suptitle(title, size=11, x=0.01, ha="left")
        for axis, image in zip(part.subplots(1, count), images):
            axis.imshow(image.squeeze(), "gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
    return close_figure(figure)


def cluttered_samples_plot(count=6):
    """Embedded digits, one of each class: the first row without clutter, the second in clutter on a larger canvas."""
    pixels, labels = embedded_digits()
    plain = pixels[[(labels == k).argmax() for k in range(count)]]
    scene = cluttered_digits(np.concatenate([plain, pixels]), np.zeros(0), len(pixels))
    figure, axes = plt.subplots(2, count, figsize=(0.95 * count, 2.1))
    for row, images in zip(axes, (plain, scene[0])):
        for axis, image in zip(row, images):
            axis.imshow(image, "gray", vmin=0, vmax=255)
            axis.set(xticks=[], yticks=[])
    return close_figure(figure)


def _show_grey(axis, image):
    axis.imshow(image[0].detach(), "gray", vmin=-1, vmax=1, extent=(-1, 1, 1, -1))
    axis.set(xlim=(-1, 1), ylim=(1, -1), xticks=[], yticks=[])
