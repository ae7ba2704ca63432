"""The settings of runs: a `Protocol` holds them, `preset` gives the named protocols, a `RunSpec` names one run.

`loop.run` trains a RunSpec; `records` finds its record by a hash of all settings, so that a changed setting makes
another run.
"""

import hashlib
import json
import math
import re
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from ..data.datasets import DATASETS
from ..data.distortions import DISTORTIONS, JITTER
from ..errors import InputError, check_choice, check_whole_number
from ..models import RELEASED, check_variant
from ..models.backbones import check_backbone, input_size, labels_of
from ..models.guards import check_padding
from ..models.transformer import PADDING_MODE

LAST_EPOCH = "last-epoch"  # test accuracy after the last epoch
BEST_VALIDATION = "best-validation"  # test accuracy at the epoch of highest validation accuracy
BEST_OF_FIVE = "best-of-five"  # highest test accuracy among the five best validation epochs
SELECTIONS = (LAST_EPOCH, BEST_VALIDATION, BEST_OF_FIVE)
CONSTANT_RATE, ONE_CYCLE = "constant", "one-cycle"  # schedules of the learning rate
OPTIMIZERS = ("adam", "sgd")  # see `optimizers`
PRECISIONS = ("float32", "tf32", "bfloat16")  # see `hardware.PRECISION_MODES`
LOCAL = "local"  # normalization: each pixel against the mean and deviation around it
NORMALIZATIONS = ("half", "imagenet", LOCAL)  # see `batches.normalize`
REDRAWN = "redrawn"  # augmentation: the dataset's own distortion, drawn anew for every batch
AUGMENTATIONS = (REDRAWN, JITTER)  # see `batches.augment`
OTHER_SEEDS = 5  # seed control: the original with seed s is compared with the original with seed s + 5
LARGEST_SEED = 2**32 - 1  # NumPy takes no larger seed
MOST = 2**31 - 1  # images, epochs or pixels


@dataclass(frozen=True)
class Protocol:
    """Settings of one training. The loss is cross-entropy; there is no weight decay.

    The defaults are those of the paper's section 4.2. Raises InputError for any setting out of its range, and for
    `best-of-five` with `test_once`, because that rule needs the test accuracy after each epoch.

    >>> Protocol("mine", image_size=64, max_epochs=20, min_epochs=20).learning_rate
    0.001
    """

    name: str
    image_size: int | None = None  #: pixels of a side; None is the backbone's own, as in the paper
    batch_size: int = 20  #: "20 for smaller models and 10 or smaller for larger models"
    learning_rate: float = 0.001
    max_epochs: int = 60
    min_epochs: int = 60  #: early stopping's floor; at max_epochs it never stops early
    window: int = 10  #: early stopping looks at the validation accuracies of so many last epochs
    tolerance: float = 0.25  #: early stopping needs all these accuracies within so many points of their mean
    selection: str = BEST_VALIDATION  #: the rule that chooses the epoch, one of SELECTIONS
    split_seed: int = 0  #: the same for all runs: every variant sees the same images
    train_per_class: int | None = None  #: None is the whole training split
    max_images: int | None = None  #: of each split; None is all of them
    max_evaluation: int | None = None  #: images of validation and of test; None is all of them
    skip_corrupt: bool = False  #: leave out images that cannot be decoded; the record names them
    normalization: str = "half"  #: of the images: one of NORMALIZATIONS
    optimizer: str = "adam"  #: one of OPTIMIZERS
    precision: str = "tf32"  #: of products: one of PRECISIONS; on a CPU, tf32 is float32
    validation_images: int | None = None  #: None is the split's own number; fewer leave more for training
    probes: bool = False  #: keep diagnostics of the trained network in the record: see `examples`
    schedule: str = CONSTANT_RATE  #: of the learning rate: CONSTANT_RATE or ONE_CYCLE
    localization_rate: float = 1.0  #: the localization net's learning rate, as a share of the others'
    train_images: int | None = None  #: number of training images; None is the whole training split
    max_validation: int | None = None  #: number of validation images; None is all of them
    test_once: bool = False  #: evaluate the test images once, with the selected weights, not after each epoch
    augmentation: str | None = None  #: of training images: one of AUGMENTATIONS; None leaves them as they are
    padding: str | float = PADDING_MODE  #: what transformers read outside the image: a mode or a fill value

    def __post_init__(self):
        if not isinstance(self.name, str) or not re.fullmatch("[A-Za-z0-9-]{1,40}", self.name):
            raise InputError(
                f"Protocol name {self.name!r} is not allowed: give 1 to 40 letters, digits and hyphens."
            )
        for field in ("batch_size", "max_epochs", "min_epochs", "window"):
            self._whole(field)
        for field in ("image_size", *LIMITS):
            if getattr(self, field) is not None:
                self._whole(field)
        object.__setattr__(
            self, "split_seed", check_whole_number("Protocol's split_seed", self.split_seed, 0, LARGEST_SEED)
        )
        for field in ("skip_corrupt", "probes", "test_once"):
            if type(getattr(self, field)) is not bool:
                raise InputError(
                    f"Protocol's {field} {getattr(self, field)!r} is not allowed: give True or False."
                )
        for field in ("learning_rate", "localization_rate", "tolerance"):
            value, zero = getattr(self, field), field == "tolerance"
            if type(value) not in (int, float) or not (0 < value < math.inf or (zero and value == 0)):
                allowed = "from 0" if zero else "above 0"
                raise InputError(f"Protocol's {field} {value!r} is not allowed: give a number {allowed}.")
        check_choice("optimizer", self.optimizer, OPTIMIZERS)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("normalization", self.normalization, NORMALIZATIONS)
        check_choice("selection", self.selection, SELECTIONS)
        check_choice("schedule", self.schedule, (CONSTANT_RATE, ONE_CYCLE))
        padding = check_padding(self.padding)
        if isinstance(padding, tuple):
            raise InputError(
                f"Protocol's padding {self.padding!r} is not allowed: give a name or one number."
            )
        object.__setattr__(self, "padding", padding)
        if self.augmentation is not None:
            check_choice("augmentation", self.augmentation, AUGMENTATIONS)
        if self.test_once and self.selection == BEST_OF_FIVE:
            raise InputError(
                f"Selection {BEST_OF_FIVE!r} needs the test accuracy of each epoch: turn test_once off."
            )

    def _whole(self, field):
        """Check that a setting is a whole number, and store it as an int: JSON cannot hold a NumPy integer."""
        name = "Image size" if field == "image_size" else f"Protocol's {field}"
        object.__setattr__(self, field, check_whole_number(name, getattr(self, field), 1, MOST))

    @property
    def limits(self) -> dict:
        """The settings that are arguments of `datasets.split`: how many images of which split."""
        return {name: getattr(self, name) for name in LIMITS}


LIMITS = (
    "train_per_class",
    "max_images",
    "max_evaluation",
    "validation_images",
    "train_images",
    "max_validation",
)
DEFAULTS = {field.name: field.default for field in fields(Protocol) if field.default is not MISSING}

# The paper does not state its numbers of epochs. These are the most frequent settings of the released notebooks:
# (min_epochs, max_epochs) of each variant. TSRD and the datasets that the paper does not use have Caltech-101's.
_RELEASED_EPOCHS = {"original": (120, 200), "stn": (200, 280), "vstn": (200, 350), "lstn": (300, 400)}
_RELEASED_EPOCHS_CIFAR10 = {"original": (30, 120), "stn": (30, 120), "vstn": (150, 300), "lstn": (150, 360)}
_EQUAL_EPOCHS = {"cifar10": 15}  # the other datasets: 40
# Two CPU cores can train every cell of Tables 4, 6 and 8 with these settings. EfficientNet-b3, which drops a
# fifth of its residual branches in training, needs so many epochs: see the pilot runs on the page of the protocols.
# On a CPU that multiplies bfloat16, a step in it takes 0.6 (ResNet-50) to 0.85 (EfficientNet-b0) of float32's time.
_SMALL = {
    "caltech101": {"epochs": 20, "precision": "bfloat16"},
    "cifar10": {"epochs": 8, "precision": "bfloat16", "train_images": 20_000},
    "tsrd": {"epochs": 10, "batch_size": 16},
    "tsrd-distinct": {"epochs": 20, "batch_size": 16},  # about as many steps as on `tsrd`
}
_SMALL_OTHERS = {"epochs": 10}
_REDUCED_IMAGES = {"cifar10": 200, "gtsrb": 50}  # training images a class; others: 15, usual on Caltech-101
_REDUCED_EVALUATION = {"cifar10": 2000, "gtsrb": 2000}  # images of validation and of test; others: all
_FULL = {"full48": 48, "full32": 32}  # pixels of a side

TRAFFIC_SIGNS = ("tsrd", "tsrd-distinct", "gtsrb")  # normalized as ImageNet, as the released notebooks do

SYSTEM, SMALL = "system", "small"
SMALL_IN_FLOAT32 = (
    "small in float32"  # runs of SMALL by a processor that is slow in bfloat16; see `in_float32`
)
PROTOCOLS = {
    "paper": "the paper's section 4.2, its input sizes, early stopping and selection",
    "equal": "as the paper's, with one budget, one batch size and the same seeds for every variant",
    SMALL: "the same comparison with images of 64 pixels and few epochs under a one-cycle schedule",
    **{
        name: f"as equal at {size} pixels, all images, with 5 epochs in batches of 64"
        for name, size in _FULL.items()
    },
    "reduced": "as equal at 64 pixels with 20 epochs and fewer images",
    "smoke": "a few batches at 64 pixels, to show that everything runs; its accuracies mean nothing",
    SYSTEM: "the settings of the smaller system that is trained on this dataset",
}
_ONE_CYCLE = {  # the learning rate decays to almost zero, so that the last epoch is taken
    "schedule": ONE_CYCLE,
    "localization_rate": 0.1,
    "selection": LAST_EPOCH,
    "test_once": True,
}
_SYSTEM_SETTINGS = {  # dataset, or (dataset, backbone) -> settings
    # the document's log prints batches of 64; rate and optimizer are those of the tutorial that it refers to
    "cifar10": {
        "image_size": 32,
        "learning_rate": 0.01,
        "optimizer": "sgd",
        "validation_images": 1000,
        "epochs": 50,
    },
    # ours: the documents state none
    "digits": _ONE_CYCLE | {"image_size": 42, "learning_rate": 0.002, "localization_rate": 1.0, "epochs": 30},
    **{f"mnist-{name}": {"image_size": 42, "epochs": 10} for name in DISTORTIONS},
    "gtsrb": {"image_size": 32, "validation_images": 1200, "epochs": 15},
    ("mnist-rts", "lenet"): _ONE_CYCLE
    | {
        "image_size": 42,
        "localization_rate": 1.0,
        "augmentation": REDRAWN,
        "max_validation": 2000,
        "epochs": 14,
    },
    ("gtsrb", "sign-cnn-bn"): _ONE_CYCLE
    | {
        "image_size": 32,
        "validation_images": 1200,
        "learning_rate": 0.002,
        "normalization": LOCAL,
        "augmentation": JITTER,
        "epochs": 12,
    },
    "mnist-cluttered": _ONE_CYCLE
    | {"image_size": 60, "batch_size": 128, "max_validation": 2000, "epochs": 20},
    "mnist-sequence": _ONE_CYCLE
    | {
        "image_size": 100,
        "batch_size": 100,
        "localization_rate": 1.0,  # as published
        "max_validation": 1000,
        "probes": False,
        "epochs": 20,
    },
    **{
        (f"mnist-{name}", "mnist-cnn-400k"): _ONE_CYCLE
        | {
            "image_size": 42,
            "batch_size": 128,
            "learning_rate": 0.002,
            "augmentation": REDRAWN,
            "max_validation": 2000,
            "probes": name == "rts",
            "epochs": 15,
        }
        for name in DISTORTIONS
    },
}
_SYSTEM_SETTINGS["mnist-r", "placement-cnn"] = _SYSTEM_SETTINGS["mnist-r", "mnist-cnn-400k"]
SMALLER = (SMALL, *_FULL, "reduced")  # for machines without a GPU
COMPARABLE = ("paper", "equal", *SMALLER)  # protocols that a page of the paper's tables may show, best first


def preset(name: str, dataset: str, variant: str, backbone: str | None = None) -> Protocol:
    """Return the named protocol for a dataset and variant.

    `name` is one of PROTOCOLS. Settings are those of the paper's section 4.2, of the released notebooks, or ours: the
    page of the protocols says which. `backbone` matters for the protocol `system` only: some smaller systems have
    settings of their own on a dataset. Raises InputError for an unknown name, and for a dataset without a smaller
    system at the protocol `system`.

    >>> preset("paper", "cifar10", "lstn").max_epochs
    360
    """
    check_choice("protocol", name, PROTOCOLS)
    if name == SYSTEM:
        return _system_protocol(dataset, backbone)
    settings: dict[str, Any] = {"normalization": "imagenet"} if dataset in TRAFFIC_SIGNS else {}
    variant = variant.removesuffix(RELEASED)
    if name == "paper":
        released = _RELEASED_EPOCHS_CIFAR10 if dataset == "cifar10" else _RELEASED_EPOCHS
        floor, budget = released[check_choice("variant of the paper's protocol", variant, released)]
        settings |= {"batch_size": 20 if dataset == "cifar10" else 10, "selection": BEST_OF_FIVE}
        return Protocol(name, min_epochs=floor, max_epochs=budget, **settings)
    if name == "equal":
        epochs = _EQUAL_EPOCHS.get(dataset, 40)
        settings |= {"test_once": True, "precision": "bfloat16"}  # fast on a GPU
        return Protocol(name, min_epochs=epochs, max_epochs=epochs, **settings)
    if name == SMALL:
        return _small_protocol(dataset, **settings)
    if name in _FULL:
        return Protocol(name, _FULL[name], batch_size=64, min_epochs=5, max_epochs=5, **settings)
    if name == "reduced":
        settings |= {"train_per_class": _REDUCED_IMAGES.get(dataset, 15)}
        settings |= {"max_evaluation": _REDUCED_EVALUATION.get(dataset)}
        return Protocol(name, 64, min_epochs=20, max_epochs=20, **settings)
    return Protocol(name, 64, batch_size=8, min_epochs=1, max_epochs=1, max_images=40, **settings)


def _system_protocol(dataset, backbone):
    """Return the protocol `system` of a dataset, with the backbone's own settings on it if there are any."""
    check_choice(
        "dataset of a smaller system", dataset, [key for key in _SYSTEM_SETTINGS if isinstance(key, str)]
    )
    row = _SYSTEM_SETTINGS.get((dataset, backbone), _SYSTEM_SETTINGS[dataset])
    settings: dict[str, Any] = {"batch_size": 64, "probes": True, **row}
    epochs = settings.pop("epochs")
    return Protocol(SYSTEM, min_epochs=epochs, max_epochs=epochs, **settings)


def _small_protocol(dataset, **settings: Any):
    """Return the protocol `small`, at which two CPU cores can train every cell of Tables 4, 6 and 8."""
    settings |= {"batch_size": 32} | _SMALL.get(dataset, _SMALL_OTHERS)
    epochs = settings.pop("epochs")
    return Protocol(
        SMALL,
        64,
        min_epochs=epochs,
        max_epochs=epochs,
        selection=LAST_EPOCH,
        schedule=ONE_CYCLE,
        localization_rate=0.1,
        max_validation=600,
        test_once=True,
        **settings,
    )


@dataclass(frozen=True)
class RunSpec:
    """One training run: a network, a dataset, a protocol and a seed.

    `protocol` is a Protocol or the name of a preset (PROTOCOLS). Raises InputError for an unknown name, a seed that is
    not 0 to 2^32 - 1, a network that predicts another number of labels than the dataset has, and an augmentation that
    the dataset does not allow.

    >>> RunSpec("digits", "mnist-cnn", "lstn", "system").image_size
    42
    """

    dataset: str
    backbone: str
    variant: str
    protocol: Protocol
    seed: int = 0  #: of the initial weights, the order of images and dropout; not of the split

    if TYPE_CHECKING:  # the type of `protocol` as it is given; as it is kept, it is a Protocol

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
        check_whole_number("Image size", self.image_size)
        labels, given = DATASETS[self.dataset].labels, labels_of(self.backbone)
        if labels != given:
            raise InputError(
                f"Dataset {self.dataset!r} has {labels} labels an image, and {self.backbone} gives {given}: "
                "choose another network."
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


def with_precision(spec: RunSpec, precision: str | None) -> RunSpec:
    """Return the run at another precision of products, one of PRECISIONS; None changes nothing.

    Raises InputError for another name.
    """
    return spec if precision is None else replace(spec, protocol=replace(spec.protocol, precision=precision))


def in_float32(spec: RunSpec) -> RunSpec:
    """Return the run in float32 on a CPU, and in TF32 on CUDA: the default precision of a Protocol.

    >>> in_float32(RunSpec("cifar10", "resnet18", "stn", "small")).changes
    {'precision': 'tf32'}
    """
    return with_precision(spec, DEFAULTS["precision"])
