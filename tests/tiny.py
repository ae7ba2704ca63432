"""A tiny network and its run, for tests that train: a run takes less than a second."""

from dataclasses import replace

from torch import nn

from stn_paper.training import checkpoint
from stn_paper.training.presets import preset
from stn_paper.training.spec import RunSpec


def tiny_backbone(name, num_classes):
    """A tiny network with dropout, so that training draws random numbers."""
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
