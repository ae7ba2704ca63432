"""Train a transformer on a single picture to undo random maps of this picture, for the notebook `your_picture`.

The training uses no labels and no known maps: the loss is the difference between the output and the unchanged picture.
"""

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps

from ..errors import LARGEST_SEED, InputError, check_whole_number
from ..models import HEADINGS
from ..models.localization import localization_net
from ..models.transformer import SpatialTransformer, affine_theta, invert, sample, sampling_grid
from ..training.batches import normalize
from ..training.examples import measure_recovery
from .figures import close_figure
from .paper_figures import as_pixels, central_square, draw_outline, photograph
from .sentences import join_words
from .small_systems import share_removed

SIZE = 64  # pixels of a side
MAPS_A_STEP = 32  # maps a step
RANGES = {"rotation": 30.0, "scale": 0.2, "shift": 0.2}  # degrees, ratio from 1, half image sides
LEARNING_RATE = 0.002
UNSEEN_SEED = [1, 10**6]  # seed of the shown maps, which no training uses
SHARE_NAMES = {"half": 0.5, "a quarter": 0.25}  # shares in the words of the verdict


def read_picture(path=""):
    """The central square of any image file, uint8 (1, 3, 64, 64); "" is the book's photograph."""
    if not path:
        return photograph(SIZE)
    try:
        with Image.open(path) as image:
            return central_square(ImageOps.exif_transpose(image).convert("RGB"), SIZE)
    except Exception as error:  # of many classes: the file is damaged, too large or no image
        raise InputError(
            f"Picture {path!r} cannot be read: give the path of an image file ({error})."
        ) from None


def random_maps(count, seed):
    """Random maps (count, 2, 3) from a distorted picture to the picture, uniform within RANGES."""
    draws = np.random.RandomState(seed).uniform(-1, 1, (count, 4)) * np.array(
        [*RANGES.values(), RANGES["shift"]]
    )
    return torch.stack([affine_theta(turn, 1 + scale, (x, y)) for turn, scale, x, y in draws.tolist()])


def distort_picture(picture, maps):
    """Warp the picture, uint8 (1, 3, S, S), by maps (N, 2, 3): normalized images (N, 3, S, S), mid-grey outside."""
    return sample(normalize(picture).expand(len(maps), -1, -1, -1), sampling_grid(maps, SIZE, SIZE))


def learn(picture, variant="lstn", steps=300, seed=0):
    """Train a transformer of the variant (stn, vstn, lstn) to restore the picture; return (transformer, losses).

    A loss is the mean squared difference of output and picture, grey levels from -1 to 1. Raises InputError
    for an unknown variant, for steps that are not a whole number from 1, and for a wrong seed.
    """
    check_whole_number("Number of steps", steps)
    torch.manual_seed(check_whole_number("Seed", seed, 0, LARGEST_SEED))
    transformer = SpatialTransformer(localization_net(variant, SIZE)).train()
    optimizer = torch.optim.Adam(transformer.parameters(), lr=LEARNING_RATE)
    target, losses = normalize(picture).expand(MAPS_A_STEP, -1, -1, -1), []
    for step in range(steps):
        output = transformer(distort_picture(picture, random_maps(MAPS_A_STEP, [seed, step])))
        loss = F.mse_loss(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return transformer.eval(), losses


@torch.no_grad()
def restoration_plot(picture, transformer, count=5):
    """Inputs above, with every eighth point of the grid; outputs below. The maps were not seen in training."""
    inputs = distort_picture(picture, random_maps(count, UNSEEN_SEED))
    theta = transformer.theta(inputs)
    grid = sampling_grid(theta, SIZE, SIZE)
    figure, axes = plt.subplots(2, count, figsize=(1.16 * count, 2.6))
    for row, images, reach in zip(axes, (inputs, sample(inputs, grid)), (1.8, 1)):
        for axis, image in zip(row, images):
            axis.imshow(as_pixels(image), extent=(-1, 1, 1, -1))
            axis.set(xticks=[], yticks=[], xlim=(-reach, reach), ylim=(reach, -reach))
            sns.despine(ax=axis, left=True, bottom=True)
    for axis, map_, points in zip(axes[0], theta, grid):
        draw_outline(axis, map_, width=1.5)
        axis.set_facecolor("0.5")  # what the sampler reads outside
        places = points[4::8, 4::8].flatten(0, 1).T.numpy()
        axis.scatter(*places, s=4, color="white", edgecolors="black", linewidths=0.4)
    axes[0, 0].set_ylabel("input")
    axes[1, 0].set_ylabel("output")
    return close_figure(figure)


@torch.no_grad()
def theta_beside_truth(picture, transformer):
    """Predicted theta of the first picture of `restoration_plot`, and the exact inverse of its map, row by row."""
    maps = random_maps(1, UNSEEN_SEED)
    both = {"predicted": transformer.theta(distort_picture(picture, maps)), "exact inverse": invert(maps)}
    return {
        name: [[round(x, 2) + 0.0 for x in row] for row in theta[0].tolist()] for name, theta in both.items()
    }


@torch.no_grad()
def restoration_verdict(picture, transformer, variant, count=500):
    """How much of unseen maps the transformer undoes, in words."""
    maps = random_maps(count, 10**6)
    recovery = measure_recovery(maps, transformer.theta(distort_picture(picture, maps)))
    shares = {q: _share_in_words(share_removed(distances, q)) for q, distances in recovery.items()}
    parts = [f"{share} of the {quantity}" for quantity, share in shares.items()]
    return (
        f"{HEADINGS[variant]} undoes {join_words(parts)} (medians over {count} maps that it was not trained on). It "
        "was trained on this picture only."
    )


def _share_in_words(share):
    """A share in words that are too coarse to change with a processor's rounding."""
    return next(
        (f"more than {name}" for name, least in SHARE_NAMES.items() if share > least), "less than a quarter"
    )
