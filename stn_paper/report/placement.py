"""How well a rotation is undone on a feature map and at the input: a figure and a verdict.

The notebook `distorted_mnist` shows these. Source: Finnveden, Jansson and Lindeberg 2020 (arXiv 2004.11678).
"""

from functools import cache
from typing import Any

import matplotlib.pyplot as plt
import torch

from ..data.datasets import embedded_digits
from ..data.distortions import CANVAS, DIGIT
from ..models.transformer import affine_theta, invert, warp
from ..training import kept
from .figures import COLORS, close_figure

NETWORK = "digits-original"  # its first convolution gives the feature map
ANGLES = tuple(range(0, 91, 5))  # degrees
IMAGES = 50


@cache
@torch.no_grad()
def remaining_error(angles=ANGLES, images=IMAGES):
    """The error after a rotation is undone: {"feature": a list, "shared": a list}, with a distance for each angle.

    Digits are rotated. `feature` rotates the feature map of the rotated digit back; `shared` rotates the digit back
    before its feature map is computed. The distance is the L2 distance from the feature map of the upright digit,
    divided by the L2 norm of that map, as a mean over the digits.
    """
    network: Any = kept.load(NETWORK)
    pixels = torch.from_numpy(embedded_digits()[0][:: 5000 // images])
    border = (CANVAS - DIGIT) // 2
    digits = network.transform(torch.nn.functional.pad(pixels[:, None], (border,) * 4))
    features, distances = network[:3], {"feature": [], "shared": []}  # convolution, pooling and ReLU
    for angle in angles:
        turn = affine_theta(angle)[None].expand(len(digits), 2, 3)
        back = invert(turn)
        rotated = warp(digits, turn, padding="border")
        for name, maps in (
            ("feature", warp(features(rotated), back, padding="border")),
            ("shared", features(warp(rotated, back, padding="border"))),
        ):
            upright = features(digits)
            distance = (maps - upright).flatten(1).norm(dim=1) / upright.flatten(1).norm(dim=1)
            distances[name].append(distance.mean().item())
    return distances


def remaining_error_plot():
    """Plot the error after a rotation is undone, on the feature map and at the input, against the angle."""
    drawn, axis = plt.subplots(figsize=(6, 3.6))
    labels = {"feature": "feature map rotated back", "shared": "input rotated back"}
    for name, values in remaining_error().items():
        axis.plot(ANGLES, [100 * value for value in values], color=COLORS[name], label=labels[name])
    axis.set(
        xlabel="rotation (degrees)",
        ylabel="distance from the upright digit's\nfeature map (% of that map's size)",
        ylim=(0, None),
    )
    axis.set_xticks(range(0, 91, 15))
    axis.legend()
    return close_figure(drawn)


def placement_verdict():
    """Return two sentences on the distance that is left: after 90 degrees, and by interpolation at other angles."""
    error = remaining_error()
    return (
        f"After a rotation by {ANGLES[-1]} degrees, rotating the feature map back leaves a distance from the upright "
        f"digit's map that is {error['feature'][-1]:.0%} of that map's size. Rotating the input back leaves "
        f"{error['shared'][-1]:.0%}; at smaller angles interpolation leaves up to {max(error['shared'][:-1]):.0%}."
    )
