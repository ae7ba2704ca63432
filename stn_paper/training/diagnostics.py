"""Diagnostics of theta: how far it moves the images, and how much of the sampling grid lies outside them.

`loop` computes them for the validation images after each epoch.
"""

import numpy as np
import torch

from ..models.guards import POINTS, percent_outside
from ..models.transformer import sampling_grid


@torch.no_grad()
def theta_statistics(transformer, batches):
    """Statistics of theta over (images, labels) batches with images (B, C, S, S), as numbers for the record.

    - `mean` and `std` of each of theta's numbers, row by row.
    - `spread`: distance of an image's corners from the mean of all images' corners, in pixels: median and
      90th percentile over the images. It is 0 if all images have the same map.
    - `from_identity`: distance of the mean corners from the image's own, in pixels.
    - `outside`: mean share of the sampling grid that lies outside the image, in percent.
    """
    transformer.eval()
    thetas, size = [], 0
    for images, _ in batches:
        thetas.append(transformer.theta(images))
        size = images.shape[-1]
    theta = torch.cat(thetas)
    return number_statistics(theta.flatten(1)) | grid_statistics(
        sampling_grid(theta, POINTS, POINTS, transformer.transform), size
    )


def number_statistics(numbers):
    """`mean` and `std` (0 for one image) of each column of theta's numbers (N, n)."""
    statistics = {"mean": numbers.mean(0), "std": numbers.std(0, correction=min(1, len(numbers) - 1))}
    return {name: [round(x, 4) for x in value.tolist()] for name, value in statistics.items()}


def grid_statistics(grid, size):
    """`spread`, `from_identity` and `outside` of a grid (N, P, P, 2) for images of `size` pixels a side.

    The grid's outermost points represent the image's corners. With several maps an image, grid (N, G, P, P, 2), the
    statistics are means over the maps.
    """
    if grid.ndim == 5:
        parts = [grid_statistics(part, size) for part in grid.unbind(1)]
        return {key: np.mean([part[key] for part in parts], 0).round(4).tolist() for key in parts[0]}
    corners = grid[:, [0, 0, -1, -1], [0, -1, 0, -1]].double() * size / 2  # (N, 4, 2), in pixels
    edge = (1 - 1 / grid.shape[1]) * size / 2  # where the identity puts the outermost points
    own = torch.tensor([[-edge, -edge], [edge, -edge], [-edge, edge], [edge, edge]]).to(corners)
    distance = (corners - corners.mean(0)).norm(dim=-1).mean(1)
    middle, high = torch.quantile(distance, torch.tensor([0.5, 0.9]).to(distance)).tolist()
    return {
        "spread": [round(middle, 4), round(high, 4)],
        "from_identity": round((corners.mean(0) - own).norm(dim=-1).mean().item(), 4),
        "outside": round(percent_outside(grid), 4),
    }
