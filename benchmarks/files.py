"""Image files for the measurements: those of Caltech-101, or generated files of similar size if it is missing."""

import os
from functools import cache
from itertools import cycle, islice

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

from stn_paper.data import datasets, files, image_cache, listings
from stn_paper.errors import InputError
from stn_paper.paths import data_dir

from .measuring import cores

DATASET = "caltech101"
CLASSES = datasets.DATASETS[DATASET].num_classes
GENERATED = 202  # JPEGs, two a class


@cache
def source(folder):
    """(files, source): image files with their class numbers in random order, and a text that names their source."""
    try:
        listing = files.find_files(DATASET, datasets.DATASETS[DATASET], data_dir())
        paths, labels, name = listing.items, listing.labels, datasets.DATASETS[DATASET].title
    except InputError:
        paths, labels, name = _generate(folder / "generated"), None, "generated JPEGs of 300 x 200 pixels"
    labels = labels or [i % CLASSES for i in range(len(paths))]
    order = np.random.RandomState(0).permutation(len(paths))
    return [(paths[i], labels[i]) for i in order], name


def _generate(folder):
    """Generate JPEGs, unless they exist: smooth colours with noise, in pixels and bytes similar to Caltech-101."""
    paths = [folder / f"{i}.jpg" for i in range(GENERATED)]
    if folder.exists():
        return paths
    folder.mkdir()
    draw = np.random.RandomState(0)
    for path in paths:
        coarse = Image.fromarray(draw.randint(0, 256, (8, 12, 3)).astype(np.uint8))
        smooth = np.asarray(coarse.resize((300, 200), Image.Resampling.BICUBIC), np.float64)
        image = np.clip(smooth + draw.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(path, quality=85)
    return paths


def folder_of(setting, count):
    """Make a folder of class folders with `count` links to image files, as torchvision's ImageFolder expects."""
    folder = setting.folder / f"files_{count}"
    if not folder.exists():
        for i, (path, label) in enumerate(islice(cycle(source(setting.folder)[0]), count)):
            place = folder / f"{label:03}"
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{i:05}{path.suffix}").symlink_to(path)
    return folder


def cached(setting, image_size):
    """The Images of `sizes.cached` files, decoded into the package's cache: uint8, memory-mapped."""
    samples = source(setting.folder)[0][: setting.sizes.cached]
    paths, labels = zip(*samples)
    listing = listings.Listing(setting.folder, list(paths), list(labels), tuple(map(str, range(CLASSES))))
    path = setting.folder / f"cached_{image_size}.npy"
    if not path.exists():
        image_cache.decode_all(
            listing, datasets.DATASETS[DATASET], image_size, path, path.with_suffix(".json"), False
        )
    images = torch.from_numpy(np.load(path, mmap_mode="c"))
    return datasets.Images(images, torch.tensor(labels), listing.classes, "")


def workers(setting):
    """Number of processes that decode: 0 if the CPU trains, else one a core."""
    return cores() if setting.cuda else 0


def round_of(setting):
    """Number of batches in a round of a loop over files; the first batch starts the workers and is not timed."""
    return setting.sizes.steps + bool(workers(setting))


def from_files(setting, image_size, batch):
    """Yield (images, labels) on the device without end; torchvision decodes the files again in every epoch.

    An epoch has as many batches as a round of `measure` has steps, so that the loader decodes no image while other
    programs are timed. With a GPU, memory is pinned and copies are asynchronous.
    """
    from torchvision import transforms  # not at the top: the import takes seconds
    from torchvision.datasets import ImageFolder

    steps = [transforms.Resize((image_size, image_size)), transforms.ToTensor()]
    steps.append(transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    count, processes = round_of(setting) * batch, workers(setting)
    loader = DataLoader(
        ImageFolder(folder_of(setting, count), transforms.Compose(steps)),
        batch,
        shuffle=True,
        num_workers=processes,
        persistent_workers=processes > 0,
        pin_memory=setting.cuda,
    )
    for images, labels in endless(loader):
        yield images.to(setting.device, non_blocking=True), labels.to(setting.device, non_blocking=True)


def endless(batches):
    """Yield the batches without end."""
    while True:
        yield from batches


def forget(folder):
    """Ask the system to drop the folder's files from its memory, so that they are read from the disk."""
    for path in folder.glob("*/*"):
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
