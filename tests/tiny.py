"""A tiny network that trains in less than a second, and a copy of Caltech-101 with eight images, for the tests."""

from dataclasses import replace

import numpy as np
from helpers import refusal
from PIL import Image
from torch import nn

from stn_paper.data.datasets import load_images
from stn_paper.data.files import LAYOUTS
from stn_paper.paths import cache_dir
from stn_paper.training import checkpoint
from stn_paper.training.presets import preset
from stn_paper.training.spec import RunSpec


def tiny_backbone(name, num_classes):
    """A tiny network. It has dropout, because tests of resumed runs need random numbers in training."""
    layers = [nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.5), nn.Linear(128, num_classes))


def short(**changes):
    """The smoke protocol at a smaller size: 3 epochs of 48 images of 24 pixels."""
    settings = {"image_size": 24, "batch_size": 16, "max_images": 48, "min_epochs": 3, "max_epochs": 3}
    return replace(preset("smoke", "digits", "original"), **(settings | changes))


def tiny_spec(variant="lstn", **changes):
    return RunSpec("digits", "tiny", variant, short(**changes))


def put_checkpoint(content, spec=None):
    """Write the bytes as the checkpoint of the run; return its path."""
    path = checkpoint.checkpoint_path(spec or tiny_spec())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


COLOURS = np.random.RandomState(0).randint(0, 256, (8, 3)).tolist()


def write_images(root):
    for i, colour in enumerate(COLOURS):
        folder = root / ("ant", "bee")[i // 4]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30 + i, 20), tuple(colour)).save(folder / f"{i}.png")


def root_of(data):
    return data / LAYOUTS["caltech101"].folders[0]


def sentence(data):
    return refusal(load_images, "caltech101", 8, data)


def corrupt(data, name, content):
    """Replace an image by a file that is no image; return its path."""
    (root_of(data) / "bee/5.png").unlink()
    path = root_of(data) / "bee" / name
    path.write_bytes(content)
    return path


def cached():
    return sorted(p for p in (cache_dir() / "images").iterdir() if p.suffix != ".lock")
