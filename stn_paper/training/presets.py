"""The named protocols: `preset` gives their settings for a dataset, a variant and a network."""

from typing import Any

from ..data.distortions import DISTORTIONS, JITTER
from ..errors import InputError, check_choice
from ..models import RELEASED
from .protocol import BEST_OF_FIVE, LAST_EPOCH, LOCAL, ONE_CYCLE, REDRAWN, Protocol

# The paper does not state its numbers of epochs. These are the most frequent settings of the released notebooks:
# (min_epochs, max_epochs) of each variant. Datasets that the paper does not use get Caltech-101's numbers.
_RELEASED_EPOCHS = {"original": (120, 200), "stn": (200, 280), "vstn": (200, 350), "lstn": (300, 400)}
_RELEASED_EPOCHS_CIFAR10 = {"original": (30, 120), "stn": (30, 120), "vstn": (150, 300), "lstn": (150, 360)}
_RELEASED_EPOCHS_TSRD = dict.fromkeys(_RELEASED_EPOCHS, (30, 120))
_EQUAL_EPOCHS = {"cifar10": 15}  # the other datasets: 40
# Two CPU cores can train every cell of Tables 4, 6 and 8 with these settings. EfficientNet-b3, which drops a
# fifth of its residual branches in training, needs so many epochs: see the pilot runs on the page of the protocols.
# On a CPU with bfloat16 instructions, a step takes 0.6 (ResNet-50) to 0.85 (EfficientNet-b0) of its time in float32.
_SMALL = {
    "caltech101": {"epochs": 20, "precision": "bfloat16"},
    "cifar10": {"epochs": 8, "precision": "bfloat16", "train_images": 20_000},
    "tsrd": {"epochs": 10, "batch_size": 16},
    "tsrd-distinct": {"epochs": 20, "batch_size": 16},  # about as many steps as on `tsrd`
}
_SMALL_OTHERS = {"epochs": 10}
_REDUCED_IMAGES = {"cifar10": 200}  # training images a class; others: 15, usual on Caltech-101
_REDUCED_EVALUATION = {"cifar10": 2000}  # images of validation and of test; others: all

TSRD = ("tsrd", "tsrd-distinct")
TRAFFIC_SIGNS = (*TSRD, "gtsrb")  # normalized as ImageNet, as the released notebooks do

SYSTEM, SMALL = "system", "small"
# runs of SMALL by a processor that is slow in bfloat16; see `spec.in_float32`
SMALL_IN_FLOAT32 = "small in float32"
PROTOCOLS = {
    "paper": "the paper's section 4.2 and input sizes; epochs, early stopping and selection as in the released "
    "notebooks",
    "equal": "the paper's image sizes and learning rate, with one budget, one batch size and the same seeds for every "
    "variant; in bfloat16, without early stopping, at the best validation epoch",
    SMALL: "the same comparison with images of 64 pixels and few epochs under a one-cycle schedule",
    "reduced": "one budget for every variant at 64 pixels: fewer images, 20 epochs, in float32, tested every epoch",
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
    | {
        "image_size": 60,
        "batch_size": 128,
        "localization_rate": 1.0,  # as published; at a tenth, theta had not zoomed in far enough at the end
        "max_validation": 2000,
        "epochs": 20,
    },
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
        f"mnist-{name}": _ONE_CYCLE
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
SMALLER = (SMALL, "reduced")  # for machines without a GPU
PAPER_SIZE = ("paper", "equal")  # protocols with the paper's image sizes, in order of preference
COMPARABLE = (*PAPER_SIZE, *SMALLER)  # protocols that a page may show, in order of preference


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
        epochs = {"cifar10": _RELEASED_EPOCHS_CIFAR10} | dict.fromkeys(TSRD, _RELEASED_EPOCHS_TSRD)
        released = epochs.get(dataset, _RELEASED_EPOCHS)
        floor, budget = released[check_choice("variant of the paper's protocol", variant, released)]
        settings |= {"batch_size": 20 if dataset in epochs else 10, "selection": BEST_OF_FIVE}
        return Protocol(name, min_epochs=floor, max_epochs=budget, **settings)
    if name == "equal":
        epochs = _EQUAL_EPOCHS.get(dataset, 40)
        settings |= {"test_once": True, "precision": "bfloat16"}  # fast on a GPU
        return Protocol(name, min_epochs=epochs, max_epochs=epochs, **settings)
    if name == SMALL:
        return _small_protocol(dataset, **settings)
    if name == "reduced":
        settings |= {"train_per_class": _REDUCED_IMAGES.get(dataset, 15)}
        settings |= {"max_evaluation": _REDUCED_EVALUATION.get(dataset)}
        return Protocol(name, 64, min_epochs=20, max_epochs=20, **settings)
    return Protocol(name, 64, batch_size=8, min_epochs=1, max_epochs=1, max_images=40, **settings)


def _system_protocol(dataset, backbone):
    """Return the protocol `system` of a dataset, with the backbone's own settings on it if there are any."""
    allowed = [key for key in _SYSTEM_SETTINGS if isinstance(key, str)]
    if dataset not in allowed:
        raise InputError(
            f"Dataset {dataset!r} has no smaller system, whose protocol is {SYSTEM!r}: choose one of "
            f"{', '.join(allowed)}."
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
