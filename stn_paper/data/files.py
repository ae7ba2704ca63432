"""Where the files of each dataset lie, and what they say: labels, tracks, the official test set.

`datasets` asks `find_files` for a Listing; `download` reads which archives the files come from. A new dataset is a
row of `LAYOUTS` and, where neither class folders nor torchvision's classes fit, a function that lists it.
"""

import csv
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from ..paths import read_bytes
from .distortions import DISTORTIONS
from .scenes import SCENES

# Endings of image files, in capitals too.
ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".webp", ".tif", ".tiff")


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
    list: Callable  # (Dataset, root) -> Listing
    archives: tuple = ()  # none: it must be got by hand


class _Incomplete(Exception):
    """What is wrong with a dataset's folder: the middle of the sentence that `find_files` raises."""


def find_files(name: str, dataset, folder: Path) -> Listing:
    """List the files of the dataset `name` below the data folder, without decoding an image.

    `dataset` is its row of `datasets.DATASETS`. Raises InputError that says what is missing where, what is
    needed and how to get it.
    """
    layout = LAYOUTS[name]
    try:
        root = dataset_folder(name, folder)
        if root is None:
            raise _Incomplete(f"has no folder {folder / layout.folders[0]}")
        try:
            return layout.list(dataset, root)
        except OSError as error:
            reason = error.strerror or error
            raise _Incomplete(f"cannot be read in {error.filename or root} ({reason})") from None
    except _Incomplete as what:
        hint = f"{needed_files(name, dataset)} are needed; get them from {layout.address}"
        command = f", or by `python -m stn_paper data --download {name}`," if layout.archives else ""
        where = f"{command} and set data_dir or STN_PAPER_DATA."
        raise InputError(f"Dataset {name!r} {what}: {hint}{where}") from None


def dataset_folder(name: str, folder: Path) -> Path | None:
    """The dataset's folder below the data folder, whole or not; None if there is none.

    The data folder may also be the dataset's own, or one that lies between. Capitals do not matter.
    """
    places = [Path(place).parts for place in LAYOUTS[name].folders]
    found = (_below(folder, place) for place in places)
    if root := next(filter(None, found), None):
        return root
    last = [part.lower() for part in folder.absolute().parts]
    for place in places:
        for above in range(len(place), 0, -1):
            if last[-above:] == [part.lower() for part in place[:above]]:
                root = _below(folder, place[above:])
                if root and (root != folder or any(map(_is_no_leftover, _entries(root)))):
                    return root
    return None


def _below(folder, place):
    """The folder at `place`, a tuple of names, below `folder`; None if there is none."""
    for name in place:
        below = folder / name
        if not os.path.isdir(below):
            alike = (e.path for e in _entries(folder) if e.name.lower() == name.lower() and e.is_dir())
            below = next(map(Path, alike), None)
        if below is None:
            return None
        folder = below
    return folder if os.path.isdir(folder) else None


def _entries(folder):
    """What lies in the folder, sorted by name; nothing where it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def needed_files(name: str, dataset) -> str:
    """The files that the dataset consists of, in words."""
    train, test = _official(dataset)
    return LAYOUTS[name].needs.format(
        classes=dataset.num_classes, total=sum(dataset.splits.values()), train=train, test=test
    )


def _official(dataset):
    """Numbers of images outside and inside of the test split."""
    *others, test = dataset.splits.values()
    return sum(others), test


def _check_count(found, wanted, root, kind="", paths=()):
    """Raise _Incomplete unless so many images were found; too many: it names the newest of `paths`."""
    if found < wanted:
        raise _Incomplete(f"has {found} {kind}images in {root}")
    if found > wanted:
        newest = f", the newest of which is {max(paths, key=_changed_at)}" if paths else ""
        raise _Incomplete(f"has {found} {kind}images in {root}{newest}")


def _changed_at(path):
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


# --- one folder a class -------------------------------------------------------------------------

NO_CLASS = "BACKGROUND_Google"  # Caltech-101's folder of clutter, which the paper leaves out


def _is_no_leftover(entry):
    """Whether a file or folder is no leftover of a system or program: `._x.jpg`, `.DS_Store`, `__MACOSX`."""
    return not entry.name.startswith(".") and entry.name != "__MACOSX"


def _images(folder):
    """The image files in and below the folder, sorted; a broken link counts, so that it can be named."""
    found, left = [], [folder]
    while left:
        below = []
        with os.scandir(left.pop()) as entries:
            for entry in sorted(filter(_is_no_leftover, entries), key=lambda entry: entry.name):
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                elif entry.name.lower().endswith(ENDINGS) and not _links_to_folder(entry):
                    found.append(Path(entry.path))
        left += reversed(below)
    return found


def _links_to_folder(entry):
    return entry.is_symlink() and os.path.isdir(entry.path)


def _class_folders(dataset, root, wanted, kind="", order=None):
    """Paths, labels and class names of a folder of class folders, sorted by name or by the key `order`."""
    with os.scandir(root) as entries:
        counted = [e for e in entries if _is_no_leftover(e) and e.name != NO_CLASS and os.path.isdir(e.path)]
    images = {entry.name: _images(entry.path) for entry in counted}
    if (number := len(images)) != dataset.num_classes:
        few = min(images, key=lambda name: len(images[name]), default="")
        more = f", the emptiest of which is {few!r}" if number > dataset.num_classes else ""
        raise _Incomplete(f"has {number} class folders in {root}{more}")
    classes = tuple(sorted(images, key=order))
    paths = [path for name in classes for path in images[name]]
    _check_count(len(paths), wanted, root, kind, paths)
    return paths, [label for label, name in enumerate(classes) for _ in images[name]], classes


def _list_folders(dataset, root):
    wanted = sum(dataset.splits.values())
    return Listing(root, *_class_folders(dataset, root, wanted), labels_apart=False)


# --- CIFAR-10 and MNIST: read by torchvision ----------------------------------------------------


def _list_arrays(dataset, root, read):
    """The Listing of what `read` returns, a list of images and one of labels for training and for the test.

    `read` calls torchvision, which checks its files by assertions and in other ways of its own.
    """
    try:
        parts, classes = read(root)
    except Exception:
        raise _Incomplete(f"has missing or damaged files in {root}") from None
    for (images, labels), wanted, name in zip(parts, _official(dataset), ("training ", "test ")):
        _check_count(len(images), wanted, root, name)
        _check_count(len(labels), wanted, root, f"labels of {name}")
    items = [image for images, _ in parts for image in images]
    labels = [int(label) for _, labels in parts for label in labels]
    if wrong := set(labels) - set(range(dataset.num_classes)):
        raise _Incomplete(f"has the label {min(wrong)}, not within 0 to {dataset.num_classes - 1}, in {root}")
    return Listing(root, items, labels, tuple(classes), test_start=len(parts[0][0]))


def _read_mnist(root):
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


def _list_cifar10(dataset, root):
    """torchvision's pickled batches where they are, else train/ and test/ with one folder a class."""
    if root.name == CIFAR10_BATCHES:
        return _list_arrays(dataset, root, _read_batches)
    train, test = _official(dataset)
    paths, labels, classes = _class_folders(dataset, root / "train", train, "training ")
    test_paths, test_labels, test_classes = _class_folders(dataset, root / "test", test, "test ")
    if test_classes != classes:
        raise _Incomplete(f"has other classes in {root / 'test'} than in {root / 'train'}")
    return Listing(root, paths + test_paths, labels + test_labels, classes, test_start=train)


# --- GTSRB --------------------------------------------------------------------------------------

GTSRB_IJCNN = 26_640  # training images of the competition's first stage
GTSRB_ANSWERS = ("GT-final_test.csv", "Test.csv")  # the labels of the test images


def _list_gtsrb(dataset, root):
    """The final training and test images (39,209 and 12,630), whose tracks are the groups.

    As in the official archives, or as in the copy at Kaggle: Train, Test and Test.csv. A class folder's
    number is its label, with leading zeros or not. torchvision's GTSRB reads the official folders, but
    downloads the smaller training set of 26,640 images; it is refused here. The folder Training of that
    archive counts if it holds all 39,209.
    """
    places = [_below(root, place) for place in (("Final_Training", "Images"), ("Training",), ("Train",))]
    folder = next(filter(None, places), root / "Final_Training/Images")
    train, test = _official(dataset)
    try:
        paths, labels, classes = _class_folders(dataset, folder, train, "training ", _class_number)
    except _Incomplete as what:
        if len(list(folder.glob("*/*.ppm"))) == GTSRB_IJCNN != train:
            what = f"{what}, the set that torchvision downloads and not the final one"
        raise _Incomplete(what) from None
    labelled = [_class_number(name) for name in classes]
    if labelled != list(range(dataset.num_classes)):  # a number is too large, or is there twice as 7 and 07
        other = next((n for n in classes[::-1] if _class_number(n) >= dataset.num_classes), None)
        other = other or next(n for n, label in zip(classes, labelled) if labelled.count(label) > 1)
        raise _Incomplete(f"has the class folder {other!r}, not 0 to {dataset.num_classes - 1}, in {folder}")
    numbers = np.unique([_track(path) for path in paths], return_inverse=True)[1]

    test_paths, test_labels = _gtsrb_answers(dataset, root, test)
    groups = np.concatenate([numbers, np.full(test, -1)])  # the test set has no tracks
    return Listing(root, paths + test_paths, labels + test_labels, classes, test_start=train, groups=groups)


def _gtsrb_answers(dataset, root, number):
    """Paths and labels of the `number` test images, in the order of the table that holds the labels."""
    images = _below(root, ("Final_Test", "Images")) or _below(root, ("Test",)) or root / "Final_Test/Images"
    tables = [above / file for file in GTSRB_ANSWERS for above in (root.parent, root, images)]
    table = next((path for path in tables if path.is_file()), None)
    if table is None:
        raise _Incomplete(f"has no {GTSRB_ANSWERS[0]} in {root.parent}")
    there = {path.name: path for path in _images(images)}
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            separator = ";" if ";" in lines.readline() else ","
            lines.seek(0)
            rows = list(csv.DictReader(lines, delimiter=separator, skipinitialspace=True))
        answers = [(_file_name(r), _checked_label(r["ClassId"], dataset)) for r in rows]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise _Incomplete(f"has a wrong line in {table} ({error})") from None
    _check_count(sum(name in there for name, _ in answers), number, images, "test ")
    _check_count(len(dict(answers)), number, table, "different test ")
    return [there[name] for name, _ in answers], [label for _, label in answers]


def _class_number(name):
    """The number that a class folder is named after; beyond all labels if it is no number."""
    return int(name) if re.fullmatch("[0-9]{1,9}", name) else 10**9


def _track(path):
    """Class folder and track of a training image named `track_frame` or `class_track_frame`."""
    named = re.fullmatch("((?:[0-9]+_)?[0-9]+)_[0-9]+", path.stem)
    if not named:
        raise _Incomplete(f"has the training image {path}, whose name does not tell its track and frame")
    return f"{path.parent.name}/{named[1]}"


def _file_name(row):
    """The test image of a row of the answers, without its folder."""
    return PureWindowsPath(row["Filename"] if "Filename" in row else row["Path"]).name


def _checked_label(text, dataset):
    if not 0 <= int(text) < dataset.num_classes:
        raise ValueError(f"category {text} is not within 0 to {dataset.num_classes - 1}")
    return int(text)


# --- TSRD ---------------------------------------------------------------------------------------

TSRD_ARCHIVES = {  # archive -> its annotations and its number of images
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
    copies, duplicates = number_contents(paths), ()
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
    for path in _images(root):
        folders[path.parent].add(path.name)
    for part, (file, count) in TSRD_ARCHIVES.items():
        rows = _annotations(root, file, dataset)
        _check_count(len(rows), count, file, "lines of ")
        names = {name for name, _ in rows}
        ranked = sorted(folders, key=lambda f: (len(folders[f] & names), part in f.name.lower(), f))
        lost = names - folders[ranked[-1]] if ranked else names
        if lost:
            raise _Incomplete(f"lacks {len(lost)} of the images named in {file}, such as {min(lost)}")
        yield from ((ranked[-1] / name, label) for name, label in rows)


def number_contents(items: Sequence) -> np.ndarray:
    """Number the distinct contents of image files or arrays: int64 (N,), equal where the bytes are equal.

    Numbers count from 0 in the order of first appearance.
    """
    numbers = {}
    digests = (hashlib.sha256(_content_or_path(item)).digest() for item in items)
    return np.array([numbers.setdefault(digest, len(numbers)) for digest in digests], np.int64)


def _content_or_path(item):
    """The bytes of an image, or the path of a file that cannot be read: `datasets` decides about those."""
    try:
        return read_bytes(item) if isinstance(item, Path) else item.tobytes()
    except OSError:
        return os.fsencode(item)


def _annotations(root, file, dataset):
    """(file name, category) of each line."""
    found = next((path for path in root.rglob(file) if path.is_file()), None)
    if found is None:
        raise _Incomplete(f"has no {file} in {root}")
    rows = []
    for line in found.read_text("utf-8-sig", errors="surrogateescape").split():
        try:
            name, *_, category = line.rstrip(";").split(";")
            rows.append((name, _checked_label(category, dataset)))
        except ValueError:
            raise _Incomplete(f"has the wrong line {line!r} in {found}") from None
    return rows


# --- the table ----------------------------------------------------------------------------------

READABLE = f"({', '.join(ENDINGS)} files)"
_CIFAR_IMAGES = ("CIFAR-10-images", "CIFAR-10-images-master")
_CALTECH = "https://data.caltech.edu/records/mzrjq-6wc02"
_CIFAR = "https://www.cs.toronto.edu/~kriz/cifar"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_GTSRB = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"

# Checksums are torchvision's, but for GTSRB's final training images, which it does not know: that one is
# stated alike by several public loaders, beside torchvision's own two for the test archives.
LAYOUTS = {
    "caltech101": Layout(
        (
            "caltech101/101_ObjectCategories",
            "caltech-101/101_ObjectCategories",
            "101_ObjectCategories",
            "caltech101/caltech-101/101_ObjectCategories",
            "caltech-101/caltech-101/101_ObjectCategories",
        ),
        _CALTECH,
        "{classes} class folders with {total} images " + READABLE,
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
        (
            CIFAR10_BATCHES,
            *(f"{above}/{CIFAR10_BATCHES}" for above in ("cifar10", "cifar-10", "cifar-10-python")),
            "cifar10/cifar10",
            *(f"{above}{name}" for above in ("", "cifar10/") for name in _CIFAR_IMAGES),
            "cifar10",
            "cifar-10",
        ),
        f"{_CIFAR}.html",
        "torchvision's pickled batches, or cifar10/train and cifar10/test with {classes} class folders each "
        f"and {{train}} and {{test}} images {READABLE}",
        _list_cifar10,
        (Archive(f"{_CIFAR}-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
    ),
    "tsrd": Layout(
        ("tsrd", "TSRD"),
        "http://www.nlpr.ia.ac.cn/pal/trafficdata/recognition.html",
        " and ".join(f"{file} with its {count} PNG images" for file, count in TSRD_ARCHIVES.values()),
        _list_tsrd,
    ),
    "gtsrb": Layout(
        ("gtsrb/GTSRB", "gtsrb-german-traffic-sign", "gtsrb/gtsrb-german-traffic-sign", "GTSRB"),
        "https://benchmark.ini.rub.de",
        "{classes} class folders with {train} images in Final_Training/Images, {test} images in "
        f"Final_Test/Images {READABLE} and GT-final_test.csv",
        _list_gtsrb,
        (
            Archive(f"{_GTSRB}GTSRB_Final_Training_Images.zip", "f33fd80ac59bff73c82d25ab499e03a3", "gtsrb"),
            Archive(f"{_GTSRB}GTSRB_Final_Test_Images.zip", "c7e4e6327067d32654124b0fe9e82185", "gtsrb"),
            Archive(f"{_GTSRB}GTSRB_Final_Test_GT.zip", "fe31e9c9270bbcd7b84b7f21a9d9d9e5", "gtsrb"),
        ),
    ),
    "mnist": Layout(
        ("MNIST/raw", "MNIST/MNIST/raw", "MNIST"),
        "http://yann.lecun.com/exdb/mnist/",
        "the four unpacked files *-ubyte with {train} training and {test} test images",
        partial(_list_arrays, read=_read_mnist),
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
LAYOUTS |= {f"mnist-{name}": LAYOUTS["mnist"] for name in (*DISTORTIONS, *SCENES)}  # made of the same files
