"""A `RunSpec` names one run: a network, a dataset, a protocol and a seed.

`loop.run` trains a RunSpec; `records` finds its record by a hash of all settings, so that a changed setting makes
another run.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from ..data.datasets import DATASETS
from ..errors import LARGEST_SEED, InputError, check_choice, check_whole_number
from ..models import check_variant
from ..models.backbones import check_backbone, input_size, labels_of
from .presets import PROTOCOLS, preset
from .protocol import DEFAULTS, REDRAWN, Protocol


@dataclass(frozen=True)
class RunSpec:
    """One training run: a network, a dataset, a protocol and a seed.

    `protocol` is a Protocol or the name of a preset (PROTOCOLS). If a Protocol has the name of a preset, pages compare
    its settings with this preset. Raises InputError for an unknown name, a preset that does not exist for the dataset
    or the variant, a seed that is not 0 to 2^32 - 1, a network that predicts another number of labels than the dataset
    has, and an augmentation or probes that the dataset does not allow.

    >>> RunSpec("digits", "mnist-cnn", "lstn", "system").image_size
    42
    """

    dataset: str
    backbone: str
    variant: str
    protocol: Protocol
    seed: int = 0  #: of the initial weights, the order of images and dropout; not of the split

    if TYPE_CHECKING:  # the argument `protocol` may be a name; the field is always a Protocol

        def __init__(
            self, dataset: str, backbone: str, variant: str, protocol: str | Protocol, seed: int = 0
        ) -> None: ...

    def __post_init__(self):
        check_choice("dataset", self.dataset, DATASETS)
        check_variant(self.variant, check_backbone(self.backbone))
        object.__setattr__(self, "seed", check_whole_number("Seed", self.seed, 0, LARGEST_SEED))
        if not isinstance(self.protocol, Protocol):
            object.__setattr__(
                self, "protocol", preset(self.protocol, self.dataset, self.variant, self.backbone)
            )
        elif self.protocol.name in PROTOCOLS:  # pages compare the run with the preset
            preset(self.protocol.name, self.dataset, self.variant, self.backbone)
        check_whole_number("Image size", self.image_size)
        labels, given = DATASETS[self.dataset].labels, labels_of(self.backbone)
        if labels != given:
            raise InputError(
                f"Dataset {self.dataset!r} has {labels} labels an image, and {self.backbone} gives {given}: "
                "choose another network."
            )
        if self.protocol.probes and labels > 1:
            raise InputError(
                f"Probes are not allowed for dataset {self.dataset!r}: its images have {labels} labels."
            )
        if self.protocol.train_per_class and labels > 1:
            raise InputError(
                f"Protocol's train_per_class is not allowed for dataset {self.dataset!r}: its images have {labels} "
                "labels."
            )
        if self.protocol.augmentation == REDRAWN and DATASETS[self.dataset].distortion is None:
            raise InputError(
                f"Augmentation {REDRAWN!r} is not allowed for dataset {self.dataset!r}: it has no distortion."
            )

    @property
    def image_size(self) -> int:
        """The size, in pixels of a side, of the images that this run trains on."""
        size = self.protocol.image_size
        return input_size(self.backbone) if size is None else size

    @property
    def key(self) -> str:
        """Eight hexadecimal digits of a hash of all settings: two specs with the same settings have the same key.

        Settings at their default are left out, so that a new setting does not change the names of older runs.
        """
        settings = {f: v for f, v in asdict(self.protocol).items() if v != DEFAULTS.get(f)}
        content = json.dumps(asdict(self) | {"protocol": settings}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """The run's name, which is the file name of its record without suffix."""
        backbone = self.backbone.replace("/", "-")
        parts = (self.dataset, self.protocol.name, backbone, self.variant, f"seed{self.seed}", self.key)
        return "_".join(parts)

    @property
    def changes(self) -> dict:
        """Settings that differ from the preset of the protocol's name, or from the defaults: {field: value}."""
        name = self.protocol.name
        own = (
            Protocol(name)
            if name not in PROTOCOLS
            else preset(name, self.dataset, self.variant, self.backbone)
        )
        named = asdict(own)
        return {f: v for f, v in asdict(self.protocol).items() if v != named[f]}

    @property
    def arguments(self) -> list[str]:
        """The arguments of `python -m stn_paper run` that train this run; its protocol is one of PROTOCOLS.

        >>> in_float32(RunSpec("cifar10", "resnet18", "stn", "small")).arguments
        ['cifar10', 'resnet18', 'stn', 'small', '--seed', '0', '--precision', 'tf32']
        """
        changed = self.changes
        words = [self.dataset, self.backbone, self.variant, self.protocol.name, "--seed", str(self.seed)]
        words += ["--skip-corrupt"] if changed.pop("skip_corrupt", False) else []
        words += ["--precision", changed.pop("precision")] if "precision" in changed else []
        for setting, value in changed.items():
            words += ["--set", f"{setting}={value if isinstance(value, str) else json.dumps(value)}"]
        return words


def with_precision(spec: RunSpec, precision: str | None) -> RunSpec:
    """Return the run at another precision of products, one of PRECISIONS; None changes nothing.

    Raises InputError for another name.
    """
    return spec if precision is None else replace(spec, protocol=replace(spec.protocol, precision=precision))


def in_float32(spec: RunSpec) -> RunSpec:
    """Return the same run at the default precision of a Protocol, which is float32 on a CPU and TF32 on CUDA.

    The new run differs from the preset in one setting:

    >>> in_float32(RunSpec("cifar10", "resnet18", "stn", "small")).changes
    {'precision': 'tf32'}
    """
    return with_precision(spec, DEFAULTS["precision"])
