"""A `Protocol` holds the settings of a training; `presets` has the named ones."""

import json
import re
from dataclasses import MISSING, dataclass, fields
from typing import Any

from ..data.distortions import JITTER
from ..errors import LARGEST_SEED, InputError, check_choice, check_whole_number, is_finite_number
from ..models.guards import check_flag, check_padding
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
OTHER_SEEDS = 5  # first seed of the seed control: the original's seeds from 5 on against its seeds 0 to 4
MOST = 2**31 - 1  # images, epochs or pixels


@dataclass(frozen=True)
class Protocol:
    """Settings of one training. Every training minimizes the cross-entropy, without weight decay.

    The defaults are the paper's where its section 4.2 states a value; the numbers of epochs, the precision and the
    split are ours. Raises InputError for any setting out of its range, and for `best-of-five` with `test_once`, because
    that rule needs the test accuracy after each epoch.

    A setting that is not given has its default, as the learning rate has here:

    >>> Protocol("mine", image_size=64, max_epochs=20, min_epochs=20).learning_rate
    0.001
    """

    name: str
    image_size: int | None = None  #: pixels of a side; None is the backbone's own, as in the paper
    batch_size: int = 20  #: "20 for smaller models and 10 or smaller for larger models"
    learning_rate: float = 0.001
    max_epochs: int = 60
    min_epochs: int = 60  #: early stopping's floor; at max_epochs it never stops early
    window: int = 10  #: number of last epochs whose validation accuracies early stopping compares
    tolerance: float = 0.25  #: points; early stopping needs these accuracies this near to their mean
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
        self._whole("split_seed", 0, LARGEST_SEED)
        for field in ("skip_corrupt", "probes", "test_once"):
            check_flag(f"Protocol's {field}", getattr(self, field))
        for field in ("learning_rate", "localization_rate", "tolerance"):
            value, zero = getattr(self, field), field == "tolerance"
            if not is_finite_number(value) or not (value > 0 or (zero and value == 0)):
                allowed = "from 0" if zero else "above 0"
                raise InputError(f"Protocol's {field} {value!r} is not allowed: give a number {allowed}.")
            object.__setattr__(self, field, float(value))
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

    def _whole(self, field, least=1, most=MOST):
        """Check that a setting is a whole number, and store it as an int: JSON cannot hold a NumPy integer."""
        name = "Image size" if field == "image_size" else f"Protocol's {field}"
        object.__setattr__(self, field, check_whole_number(name, getattr(self, field), least, most))

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


def parse_setting(text: str) -> tuple[str, Any]:
    """Return the setting and its value of the text "setting=value".

    `parse_setting` reads the value as JSON, or as Python's True, False or None. Any other value stays text. Raises
    InputError for an unknown setting and for a text without "=".

    >>> parse_setting("train_images=5000")
    ('train_images', 5000)
    >>> parse_setting("padding=border")
    ('padding', 'border')
    """
    name, given, value = text.partition("=")
    check_choice("setting", name, DEFAULTS)
    if not given:
        raise InputError(f"Setting {text!r} has no value: give {text}=VALUE.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, {"True": True, "False": False, "None": None}.get(value, value)
