"""Where the files of each dataset lie, and what they say: labels, tracks, the official test set.

`datasets` asks `find` for a Listing; `download` reads which archives the files come from. A new dataset is a
row of `LAYOUTS` and, where neither class folders nor torchvision's classes fit, a function that lists it.
"""

import csv
import hashlib
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from .distortions import DISTORTIONS


class Listing(NamedTuple):
    root: Path  # the dataset's folder
    items: list  # N image files below it, or uint8 arrays (H, W) or (H, W, 3)
    labels: list  # N class numbers, from 0
    classes: tuple  # their names
    labels_apart: bool = True  # stated elsewhere than in the files' paths
    test_start: int | None = None  # where an official test set begins
    groups: np.ndarray | None = None  # N numbers: images of one number must share a split
    copies: np.ndarray | None = None  # N numbers, equal for files with identical bytes; None: not computed
    duplicates: tuple = ()  # files left out because a kept file has identical bytes; relative to the root
    replaced: tuple = ()  # files left out because a kept file has the same name; relative to the root


class Archive(NamedTuple):
    url: str
    md5: str
    into: str = ""  # the folder below the data folder that it is unpacked into
    inner: str = ""  # the archive inside it that holds the images, unpacked into the same folder


class Layout(NamedTuple):
    folders: tuple  # where the dataset may lie under the data folder; the first is where `fetch` puts it
    address: str  # where to get it
    needs: str  # the files wanted, for error messages
    list: callable  # (Dataset, root) -> Listing
    archives: tuple = ()  # none: it must be got by hand


class _Incomplete(Exception):
    """What is wrong with a dataset's folder: the middle of the sentence that `find` raises."""


def find(name, dataset, folder):
    """List the files of the dataset `name` below the data folder, without decoding an image.

    `dataset` is its row of `datasets.DATASETS`. Raises InputError that says what is missing where, what is
    needed and how to get it.
    """
    layout = LAYOUTS[name]
    try:
        root = present(name, folder)
        if root is None:
            raise _Incomplete(f"has no folder {folder / layout.folders[0]}")
        return layout.list(dataset, root)
    except _Incomplete as what:
        hint = f"{needs(name, dataset)} are needed; get them from {layout.address}"
        command = f", or by `python -m stn_paper data --download {name}`," if layout.archives else ""
        where = f"{command} and set data_dir or STN_PAPER_DATA."
        raise InputError(f"Dataset {name!r} {what}: {hint}{where}") from None


def present(name, folder):
    """The dataset's folder below the data folder, whole or not; None if there is none."""
    return next((folder / sub for sub in LAYOUTS[name].folders if (folder / sub).is_dir()), None)


def needs(name, dataset):
    """The files that the dataset consists of, in words."""
    train, test = _official(dataset)
    return LAYOUTS[name].needs.format(
        classes=dataset.num_classes, total=sum(dataset.splits.values()), train=train, test=test
    )


def _official(dataset):
    """Numbers of images outside and inside of the test split."""
    *others, test = dataset.splits.values()
    return sum(others), test


def _check_count(found, wanted, root, kind=""):
    if found != wanted:
        raise _Incomplete(f"has {found} {kind}images in {root}")


# --- one folder a class -------------------------------------------------------------------------

NO_CLASS = "BACKGROUND_Google"  # Caltech-101's folder of clutter, which the paper leaves out


def _class_folders(dataset, root, wanted, kind=""):
    """Paths, labels and class names of a folder of class folders."""
    from torchvision.datasets.folder import find_classes, make_dataset  # seconds that `digits` does not need

    try:
        classes = [c for c in find_classes(root)[0] if c != NO_CLASS]
    except FileNotFoundError:  # torchvision's word for no such folder, or none of a class in it
        classes = []
    if len(classes) != dataset.num_classes:
        raise _Incomplete(f"has {len(classes)} class folders in {root}")
    indices = {c: i for i, c in enumerate(classes)}
    samples = make_dataset(root, indices, extensions=(".jpg", ".png", ".ppm"), allow_empty=True)
    _check_count(len(samples), wanted, root, kind)
    paths, labels = zip(*samples)
    return [Path(p) for p in paths], list(labels), tuple(classes)


def _list_folders(dataset, root):
    wanted = sum(dataset.splits.values())
    return Listing(root, *_class_folders(dataset, root, wanted), labels_apart=False)


# --- CIFAR-10 and MNIST: torchvision's classes --------------------------------------------------


def _list_torchvision(kind, dataset, root, above):
    """torchvision's dataset of this name whose files lie `above` + 1 folders below its own root."""
    from torchvision import datasets

    try:
        parts = [getattr(datasets, kind)(root.parents[above], train=train) for train in (True, False)]
    except (OSError, RuntimeError, ValueError, TypeError, AssertionError, KeyError):
        raise _Incomplete(f"has missing or damaged files in {root}") from None
    for part, wanted, name in zip(parts, _official(dataset), ("training ", "test ")):
        _check_count(len(part.data), wanted, root, name)
    items = [image for part in parts for image in np.asarray(part.data)]
    labels = [int(label) for part in parts for label in part.targets]
    return Listing(root, items, labels, tuple(parts[0].classes), test_start=len(parts[0].data))


CIFAR10_BATCHES = "cifar-10-batches-py"  # the folder in the official archive


def _list_cifar10(dataset, root):
    """torchvision's pickled batches where they are, else train/ and test/ with one folder a class."""
    if root.name == CIFAR10_BATCHES:
        return _list_torchvision("CIFAR10", dataset, root, 0)
    train, test = _official(dataset)
    paths, labels, classes = _class_folders(dataset, root / "train", train, "training ")
    test_paths, test_labels, test_classes = _class_folders(dataset, root / "test", test, "test ")
    if test_classes != classes:
        raise _Incomplete(f"has other classes in {root / 'test'} than in {root / 'train'}")
    return Listing(root, paths + test_paths, labels + test_labels, classes, test_start=train)


# --- GTSRB --------------------------------------------------------------------------------------

GTSRB_IJCNN = 26_640  # training images of the competition's first stage


def _list_gtsrb(dataset, root):
    """The final training and test images (39,209 and 12,630), whose tracks are the groups.

    torchvision's GTSRB reads the same folders, but downloads the smaller training set of 26,640 images; it is
    refused here. The folder Training of that archive counts if it holds all 39,209.
    """
    places = [root / "Final_Training/Images", root / "Training"]
    folder = next((place for place in places if place.is_dir()), places[0])
    train, test = _official(dataset)
    try:
        paths, labels, classes = _class_folders(dataset, folder, train, "training ")
    except _Incomplete as what:
        if len(list(folder.glob("*/*.ppm"))) == GTSRB_IJCNN != train:
            what = f"{what}, the set that torchvision downloads and not the final one"
        raise _Incomplete(what) from None
    tracks = [f"{path.parent.name}/{path.stem.split('_')[0]}" for path in paths]
    numbers = np.unique(tracks, return_inverse=True)[1]

    images, file = root / "Final_Test/Images", "GT-final_test.csv"
    table = next((p / file for p in (root.parent, root, images) if (p / file).is_file()), None)
    if table is None:
        raise _Incomplete(f"has no {file} in {root.parent}")
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter=";", skipinitialspace=True))
    there = {path.name for path in images.glob("*.ppm")}
    try:
        answers = [(images / r["Filename"], _label(r["ClassId"], dataset)) for r in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise _Incomplete(f"has a wrong line in {table} ({error})") from None
    _check_count(sum(path.name in there for path, _ in answers), test, images, "test ")
    _check_count(len(answers), test, table, "test ")
    paths += [path for path, _ in answers]
    labels += [label for _, label in answers]
    groups = np.concatenate([numbers, np.full(test, -1)])  # the test set has no tracks
    return Listing(root, paths, labels, classes, test_start=train, groups=groups)


def _label(text, dataset):
    if not 0 <= int(text) < dataset.num_classes:
        raise ValueError(f"category {text} is not within 0 to {dataset.num_classes - 1}")
    return int(text)


# --- TSRD ---------------------------------------------------------------------------------------

TSRD = {  # archive -> its annotations and its number of images
    "train": ("TsignRecgTrain4170Annotation.txt", 4170),
    "test": ("TsignRecgTest1994Annotation.txt", 1994),
}


def _list_tsrd(dataset, root, distinct=False):
    """List the images of both archives, merged by file name as in one folder; `distinct` drops copies.

    166 names are in both archives, each with two different pictures of one category. The training archive's
    picture stays, the other is in `replaced`. 5,998 images remain, as many as the paper counts (section
    4.1, A), in the order of their names. `copies` numbers their contents. With `distinct`, only the first
    image of each content stays, and `duplicates` names the others.

    A line of the annotations is `filename;width;height;x1;y1;x2;y2;category;`. Images are not cropped to the
    sign's box: the paper does not mention it. The annotations may lie anywhere below the root, and so may
    the folders of PNG images.
    """
    merged, replaced = {}, []
    for path, label in _tsrd_archives(dataset, root):
        if path.name in merged:
            replaced.append(str(path.relative_to(root)))
        else:
            merged[path.name] = path, label
    paths, labels = zip(*(merged[name] for name in sorted(merged)))
    copies, duplicates = contents(paths), ()
    if distinct:
        first = np.unique(copies, return_index=True)[1]
        rest = np.delete(np.arange(len(paths)), first)
        duplicates = tuple(str(paths[i].relative_to(root)) for i in rest)
        paths, labels, copies = [paths[i] for i in first], [labels[i] for i in first], copies[first]
    _check_count(len(paths), sum(dataset.splits.values()), root, "distinct " if distinct else "")
    classes = tuple(f"{c:02d}" for c in range(dataset.num_classes))
    return Listing(
        root,
        list(paths),
        list(labels),
        classes,
        copies=copies,
        duplicates=duplicates,
        replaced=tuple(replaced),
    )


def _tsrd_archives(dataset, root):
    """(path, category) of each image of the training archive, then of the test archive."""
    folders = defaultdict(set)
    for path in root.rglob("*.png"):
        folders[path.parent].add(path.name)
    for part, (file, count) in TSRD.items():
        rows = _annotations(root, file, dataset)
        _check_count(len(rows), count, file, "lines of ")
        names = {name for name, _ in rows}
        ranked = sorted(folders, key=lambda f: (len(folders[f] & names), part in f.name.lower(), f))
        lost = names - folders[ranked[-1]] if ranked else names
        if lost:
            raise _Incomplete(f"lacks {len(lost)} of the images named in {file}, such as {min(lost)}")
        yield from ((ranked[-1] / name, label) for name, label in rows)


def contents(items):
    """Number the distinct contents of image files or arrays: int64 (N,), equal where the bytes are equal.

    Numbers count from 0 in the order of first appearance.
    """
    numbers = {}
    data = (item.read_bytes() if isinstance(item, Path) else item.tobytes() for item in items)
    digests = (hashlib.sha256(content).digest() for content in data)
    return np.array([numbers.setdefault(digest, len(numbers)) for digest in digests], np.int64)


def _annotations(root, file, dataset):
    """(file name, category) of each line."""
    found = next(root.rglob(file), None)
    if found is None:
        raise _Incomplete(f"has no {file} in {root}")
    rows = []
    for line in found.read_text("utf-8-sig").split():
        try:
            name, *_, category = line.rstrip(";").split(";")
            rows.append((name, _label(category, dataset)))
        except ValueError:
            raise _Incomplete(f"has the wrong line {line!r} in {found}") from None
    return rows


# --- the table ----------------------------------------------------------------------------------

_CALTECH = "https://data.caltech.edu/records/mzrjq-6wc02"
_CIFAR = "https://www.cs.toronto.edu/~kriz/cifar"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_GTSRB = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"

# Checksums are torchvision's, but for GTSRB's final training images, which it does not know: that one is
# stated alike by several public loaders, beside torchvision's own two for the test archives.
LAYOUTS = {
    "caltech101": Layout(
        ("caltech101/101_ObjectCategories", "caltech-101/101_ObjectCategories", "101_ObjectCategories"),
        _CALTECH,
        "{classes} class folders with {total} images",
        _list_folders,
        (
            Archive(
                f"{_CALTECH}/files/caltech-101.zip",
                "3138e1922a9193bfa496528edbbc45d0",
                "caltech101",
                "caltech-101/101_ObjectCategories.tar.gz",
            ),
        ),
    ),
    "cifar10": Layout(
        (CIFAR10_BATCHES, f"cifar10/{CIFAR10_BATCHES}", "cifar10"),
        f"{_CIFAR}.html",
        "torchvision's pickled batches, or cifar10/train and cifar10/test with {classes} class folders each "
        "and {train} and {test} images,",
        _list_cifar10,
        (Archive(f"{_CIFAR}-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
    ),
    "tsrd": Layout(
        ("tsrd", "TSRD"),
        "http://www.nlpr.ia.ac.cn/pal/trafficdata/recognition.html",
        " and ".join(f"{file} with its {count} PNG images" for file, count in TSRD.values()),
        _list_tsrd,
    ),
    "gtsrb": Layout(
        ("gtsrb/GTSRB", "GTSRB"),
        "https://benchmark.ini.rub.de",
        "{classes} class folders with {train} images in Final_Training/Images, {test} images in "
        "Final_Test/Images and GT-final_test.csv",
        _list_gtsrb,
        (
            Archive(f"{_GTSRB}GTSRB_Final_Training_Images.zip", "f33fd80ac59bff73c82d25ab499e03a3", "gtsrb"),
            Archive(f"{_GTSRB}GTSRB_Final_Test_Images.zip", "c7e4e6327067d32654124b0fe9e82185", "gtsrb"),
            Archive(f"{_GTSRB}GTSRB_Final_Test_GT.zip", "fe31e9c9270bbcd7b84b7f21a9d9d9e5", "gtsrb"),
        ),
    ),
    "mnist": Layout(
        ("MNIST/raw",),
        "http://yann.lecun.com/exdb/mnist/",
        "the four unpacked files *-ubyte with {train} training and {test} test images",
        partial(_list_torchvision, "MNIST", above=1),
        tuple(
            Archive(f"{_MNIST}{file}.gz", md5, "MNIST/raw")
            for file, md5 in {
                "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
                "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
                "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
            }.items()
        ),
    ),
}
LAYOUTS["tsrd-distinct"] = LAYOUTS["tsrd"]._replace(list=partial(_list_tsrd, distinct=True))
LAYOUTS |= {f"mnist-{name}": LAYOUTS["mnist"] for name in DISTORTIONS}  # made of the same files
