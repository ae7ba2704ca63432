"""The sizes of the measurements: on a CPU, on a GPU, and the quick size, which only shows that all parts run."""

from pathlib import Path
from typing import NamedTuple

import torch

from stn_paper.models.backbones import input_size


class Sizes(NamedTuple):
    batches: dict  # backbone -> images a step, as the paper has it: 20, for larger networks 10
    others: tuple  # batch sizes among which the best is sought
    modes: tuple  # (precision, compiled) of our steps; the first is the paper protocol's
    rounds: int  # counted ones; their median is reported
    steps: int  # training steps a round
    single: str = "effb0"  # the network of the parts that measure only one
    small: tuple = (10, 20)  # images a step: the paper's
    compared: tuple = ("resnet50", "effb0")  # backbones whose steps are compared in the protocol `small`
    measurements: int = 2  # of these steps, each with new networks and processes
    image_size: int | None = None  # pixels of a side; None is the backbone's own
    cached: int = 256  # images of our cache
    inference: int = 20  # images of a batch where the localization nets' throughput is measured
    calls: int = 20  # of a localization net a round
    product: int = 2048  # rows and columns of the matrices whose product shows the peak
    copied: int = 256  # MiB of the copy that shows the peak of memory
    sharing: tuple = (1, 2, 4)  # processes on one device
    commands: int = 3  # rounds of the everyday commands


PAPER = {"resnet50": 20, "effb0": 20, "effb3": 10}
SIZES = {
    "cpu": Sizes(
        PAPER, (5, 10, 20), (("tf32", False), ("bfloat16", False), ("tf32", True)), rounds=7, steps=1
    ),
    "cuda": Sizes(
        PAPER,
        (20, 64, 128, 256),
        (("tf32", False), ("bfloat16", False), ("tf32", True), ("bfloat16", True)),
        rounds=9,
        steps=20,
        cached=2048,
        inference=256,
        product=8192,
        copied=2048,
    ),
    "quick": Sizes(
        {"mnist-cnn": 2},
        (),
        (("tf32", False), ("tf32", True)),
        rounds=1,
        steps=1,
        single="mnist-cnn",
        small=(2,),
        compared=("mnist-cnn",),
        measurements=1,
        image_size=42,
        cached=8,
        inference=2,
        calls=1,
        product=64,
        copied=1,
        sharing=(1, 2),
        commands=1,
    ),
}


class Setting(NamedTuple):
    """The arguments of every part."""

    device: torch.device
    sizes: Sizes
    folder: Path  # for temporary files
    quick: bool = False
    rows: tuple = ()  # rows of this part from an interrupted measurement

    @property
    def cuda(self):
        return self.device.type == "cuda"

    def image_size(self, backbone):
        """Side of the images for `backbone`, in pixels."""
        return self.sizes.image_size or input_size(backbone)
