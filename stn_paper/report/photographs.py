"""A trained L-STN on photographs: the input, the grid that it predicts, and the output that the classifier sees.

The records of `SPECS` keep a few validation images and their theta, so that the figure needs no weights.
"""

from typing import Any

import matplotlib.pyplot as plt
import torch

from ..data.datasets import DATASETS
from ..models.transformer import sample, sampling_grid
from ..training.protocol import LAST_EPOCH, ONE_CYCLE, Protocol
from ..training.records import spec_of
from ..training.spec import RunSpec
from .figures import close_figure
from .paper_figures import draw_outline
from .sentences import join_words
from .system_pictures import example_images

OWN_SETTINGS: dict[
    str, dict[str, Any]
] = {  # dataset -> settings of its run; CIFAR-10 with as many images as TSRD
    "caltech101": {"image_size": 64},
    "cifar10": {"image_size": 32, "train_images": 4000, "max_validation": 600},
    "tsrd": {"image_size": 64},
}
SHARED_SETTINGS: dict[str, Any] = {
    "batch_size": 64,
    "max_epochs": 10,
    "min_epochs": 10,
    "selection": LAST_EPOCH,
    "schedule": ONE_CYCLE,
    "test_once": True,
    "probes": True,
}
SPECS = {
    dataset: RunSpec(dataset, "mnist-cnn", "lstn", Protocol("photographs", **settings, **SHARED_SETTINGS))
    for dataset, settings in OWN_SETTINGS.items()
}


def photographs_plot(records):
    """For each dataset, inputs with the grid's points, eight along a side, and outputs below.

    `records` is {dataset: record of its run in SPECS}. The four validation images are of the first four classes.
    """
    figure = plt.figure(figsize=(5.8, 3.15 * len(records)))
    for part, (dataset, record) in zip(figure.subfigures(len(records), squeeze=False)[:, 0], records.items()):
        part.suptitle(DATASETS[dataset].title, size=11, x=0.01, ha="left")
        images = example_images(record["probes"]).float()
        theta = torch.tensor(record["probes"]["theta"])
        grid = sampling_grid(theta, *images.shape[-2:])
        read = (sample(images / 127.5 - 1, grid) + 1) * 127.5
        rows = part.subplots(2, len(images))
        for row, pictures, label in zip(rows, (images, read), ("input", "output")):
            row[0].set_ylabel(label, fontsize=11)
            for axis, picture in zip(row, pictures):
                pixels = picture.permute(1, 2, 0).clamp(0, 255).byte().numpy()
                axis.imshow(pixels, extent=(-1, 1, 1, -1))
                axis.set(xticks=[], yticks=[])
                axis.grid(visible=False)
        every = images.shape[-1] // 8
        for axis, map_, points in zip(rows[0], theta, grid):
            draw_outline(axis, map_, width=1.5)
            places = points[every // 2 :: every, every // 2 :: every].flatten(0, 1).T.numpy()
            axis.scatter(*places, s=7, color="white", edgecolors="black", linewidths=0.5)
            axis.set(xlim=(-1.15, 1.15), ylim=(1.15, -1.15), facecolor="0.5")
    return close_figure(figure)


def photographs_verdict(records):
    """How far the corners of the sampled square move from image to image, in one sentence with links to the runs."""
    parts = []
    for dataset, record in records.items():
        moved, size = record["epochs"][-1]["theta"]["spread"][0], record["spec"]["protocol"]["image_size"]
        run = f"[{DATASETS[dataset].title}](../runs/{spec_of(record).name}.html)"
        parts.append(f"{moved:.1f} pixels (images of {size}) on {run}")
    return f"From image to image the corners of the outline move by a median of {join_words(parts)}."
