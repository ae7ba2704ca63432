"""The type Listing, and functions that list and check class folders and torchvision's files.

The table `files.LAYOUTS` names these functions and the functions of `traffic_signs`.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..paths import read_bytes

# Endings of image files, in lower or upper case.
ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".webp", ".tif", ".tiff")


class Listing(NamedTuple):
    root: Path  # the dataset's folder
    items: list  # N image files below it, or uint8 arrays (H, W) or (H, W, 3)
    labels: list  # N class numbers, from 0
    classes: tuple  # their names
    labels_apart: bool = True  # False: the labels are in the paths of the files
    test_start: int | None = None  # index of the first official test image; None: no official test set
    groups: np.ndarray | None = None  # N numbers: images with the same number must be in the same split
    copies: np.ndarray | None = None  # N numbers, equal for files with identical bytes; None: not computed
    duplicates: tuple = ()  # files left out because a kept file has identical bytes; relative to the root
    replaced: tuple = ()  # files left out because a kept file has the same name; relative to the root


class Incomplete(Exception):
    """A fault of a dataset's folder; its text is the middle of the sentence that `find_files` raises."""


def find_below(folder, place):
    """The folder at `place`, a tuple of names, below `folder`; None if there is none."""
    for name in place:
        below = folder / name
        if not os.path.isdir(below):
            same_name = (e for e in sorted_entries(folder) if e.name.lower() == name.lower())
            below = next((Path(e.path) for e in same_name if e.is_dir()), None)
        if below is None:
            return None
        folder = below
    return folder if os.path.isdir(folder) else None


def sorted_entries(folder):
    """The entries of the folder, sorted by name; empty if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def official_sizes(dataset):
    """(training and validation, test): numbers of images of the dataset's official parts."""
    *others, test = dataset.splits.values()
    return sum(others), test


def check_count(found, expected, root, kind="", paths=()):
    """Raise Incomplete unless `found` equals `expected`; the error for too many images names the newest of `paths`."""
    if found < expected:
        raise Incomplete(f"has {found} {kind}images in {root}")
    if found > expected:
        newest = f", the newest of which is {max(paths, key=_changed_at)}" if paths else ""
        raise Incomplete(f"has {found} {kind}images in {root}{newest}")


def _changed_at(path):
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


# --- one folder a class -------------------------------------------------------------------------

NO_CLASS = "BACKGROUND_Google"  # Caltech-101's folder of background images, which the paper leaves out


def is_no_leftover(entry):
    """False for leftovers of operating systems and programs, such as `._x.jpg`, `.DS_Store` and `__MACOSX`."""
    return not entry.name.startswith(".") and entry.name != "__MACOSX"


def image_files(folder):
    """The image files in and below the folder, sorted; broken links are included, so that an error can name them."""
    paths, folders = [], [folder]
    while folders:
        below = []
        with os.scandir(folders.pop()) as entries:
            for entry in sorted(filter(is_no_leftover, entries), key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                elif entry.name.lower().endswith(ENDINGS) and not _links_to_folder(entry):
                    paths.append(Path(entry.path))
        folders += reversed(below)
    return paths


def _links_to_folder(entry):
    return entry.is_symlink() and os.path.isdir(entry.path)


def class_folders(dataset, root, expected, kind="", order=None):
    """Paths, labels and class names of a folder with a folder for each class, sorted by name or by the key `order`.

    Raises Incomplete for another number of classes or of images (`expected`).
    """
    with os.scandir(root) as entries:
        counted = [e for e in entries if is_no_leftover(e) and e.name != NO_CLASS and os.path.isdir(e.path)]
    images = {entry.name: image_files(entry.path) for entry in counted}
    if (number := len(images)) != dataset.num_classes:
        emptiest = min(images, key=lambda name: len(images[name]), default="")
        more = f", the emptiest of which is {emptiest!r}" if number > dataset.num_classes else ""
        raise Incomplete(f"has {number} class folders in {root}{more}")
    classes = tuple(sorted(images, key=order))
    paths = [path for name in classes for path in images[name]]
    check_count(len(paths), expected, root, kind, paths)
    return paths, [label for label, name in enumerate(classes) for _ in images[name]], classes


def list_class_folders(dataset, root):
    expected = sum(dataset.splits.values())
    return Listing(root, *class_folders(dataset, root, expected), labels_apart=False)


# --- CIFAR-10 and MNIST: read by torchvision ----------------------------------------------------


def list_arrays(dataset, root, read):
    """Return the Listing of the training and test images that `read` returns.

    `read` calls torchvision, which raises assertion errors and other errors for damaged files. Raises Incomplete for
    damaged files, a wrong number of images, and a wrong label.
    """
    try:
        parts, classes = read(root)
    except MemoryError:
        raise
    except Exception:
        raise Incomplete(f"has missing or damaged files in {root}") from None
    for (images, labels), expected, name in zip(parts, official_sizes(dataset), ("training ", "test ")):
        check_count(len(images), expected, root, name)
        check_count(len(labels), expected, root, f"labels of {name}")
    items = [image for images, _ in parts for image in images]
    labels = [int(label) for _, labels in parts for label in labels]
    if wrong := set(labels) - set(range(dataset.num_classes)):
        raise Incomplete(f"has the label {min(wrong)}, not within 0 to {dataset.num_classes - 1}, in {root}")
    return Listing(root, items, labels, tuple(classes), test_start=len(parts[0][0]))


def read_mnist(root):
    """The four unpacked files, whose names may have a dot as in `train-images.idx3-ubyte`."""
    from torchvision.datasets import MNIST
    from torchvision.datasets.mnist import read_image_file, read_label_file

    def file(name):
        names = (f"{name}-ubyte", f"{name.replace('-idx', '.idx')}-ubyte")
        return str(next(path for path in map(root.joinpath, names) if path.is_file()))

    parts = [
        (read_image_file(file(f"{part}-images-idx3")).numpy(), read_label_file(file(f"{part}-labels-idx1")))
        for part in ("train", "t10k")
    ]
    return parts, MNIST.classes


def _read_batches(root):
    from torchvision.datasets import CIFAR10

    parts = [CIFAR10(root.parent, train=train) for train in (True, False)]
    return [(np.asarray(part.data), part.targets) for part in parts], parts[0].classes


CIFAR10_BATCHES = "cifar-10-batches-py"  # the folder in the official archive


def list_cifar10(dataset, root):
    """List torchvision's pickled batches, or folders train/ and test/ with a folder for each class."""
    if root.name == CIFAR10_BATCHES:
        return list_arrays(dataset, root, _read_batches)
    train, test = official_sizes(dataset)
    paths, labels, classes = class_folders(dataset, root / "train", train, "training ")
    test_paths, test_labels, test_classes = class_folders(dataset, root / "test", test, "test ")
    if test_classes != classes:
        raise Incomplete(f"has other classes in {root / 'test'} than in {root / 'train'}")
    return Listing(root, paths + test_paths, labels + test_labels, classes, test_start=train)


def number_contents(items: Sequence) -> np.ndarray:
    """Number the distinct contents of image files or arrays: int64 (N,), equal where the bytes are equal.

    Numbers count from 0 in the order of first appearance.
    """
    numbers = {}
    digests = (hashlib.sha256(_content_or_path(item)).digest() for item in items)
    return np.array([numbers.setdefault(digest, len(numbers)) for digest in digests], np.int64)


def _content_or_path(item):
    """The bytes of an image; for an unreadable file its path, because `datasets` decides what to do with the file."""
    try:
        return read_bytes(item) if isinstance(item, Path) else item.tobytes()
    except OSError:
        return os.fsencode(item)
