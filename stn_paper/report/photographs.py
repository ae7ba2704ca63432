"""A trained L-STN on photographs: the input, the grid that it predicts, and the output that the classifier sees.

The records of `SPECS` keep a few validation images and their theta, so that the figure needs no weights.
"""

from ..training.spec import LAST_EPOCH, ONE_CYCLE, Protocol, RunSpec

SIZES = {"caltech101": 64, "cifar10": 32, "tsrd": 64}  # dataset: pixels of a side
SHARED = {
    "batch_size": 64,
    "max_epochs": 10,
    "min_epochs": 10,
    "selection": LAST_EPOCH,
    "schedule": ONE_CYCLE,
    "test_once": True,
    "probes": True,
}
SPECS = {
    dataset: RunSpec(dataset, "mnist-cnn", "lstn", Protocol("photographs", size, **SHARED))
    for dataset, size in SIZES.items()
}
