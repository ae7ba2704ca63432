"""The places of each dataset's files in the data folder, and the archives to download them from.

`datasets` gets the images of a dataset as a Listing from `find_files`; `download` gets the archives from `LAYOUTS`.
`listings` and `traffic_signs` have the functions that list and check the files.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from .distortions import DISTORTIONS
from .listings import (
    CIFAR10_BATCHES,
    ENDINGS,
    Incomplete,
    Listing,
    find_below,
    is_no_leftover,
    list_arrays,
    list_cifar10,
    list_class_folders,
    official_sizes,
    read_mnist,
    sorted_entries,
)
from .scenes import SCENES
from .traffic_signs import TSRD_ARCHIVES, list_gtsrb, list_tsrd


class Archive(NamedTuple):
    url: str
    md5: str
    into: str = ""  # folder below the data folder into which it is unpacked
    inner: str = ""  # archive inside of it with the images, unpacked into the same folder


class Layout(NamedTuple):
    folders: tuple  # possible folders of the dataset below the data folder; `fetch` takes the first
    address: str  # web page of the dataset
    needs: str  # the files of the dataset in words, for error messages
    list: Callable  # (Dataset, root) -> Listing
    archives: tuple = ()  # without archives, the user must download the dataset by hand


def find_files(name: str, dataset, folder: Path) -> Listing:
    """List the files of the dataset `name` below the data folder, without decoding an image.

    `dataset` is its row of `datasets.DATASETS`. Raises an InputError that names the missing files, lists all files of
    the dataset, and says where to get them.
    """
    layout = LAYOUTS[name]
    try:
        root = dataset_folder(name, folder)
        if root is None:
            raise Incomplete(f"has no folder {folder / layout.folders[0]}")
        try:
            return layout.list(dataset, root)
        except OSError as error:
            reason = error.strerror or error
            raise Incomplete(f"cannot be read in {error.filename or root} ({reason})") from None
    except Incomplete as fault:
        hint = f"{needed_files(name, dataset)} are needed; get them from {layout.address}"
        command = f", or by `python -m stn_paper data --download {name}`," if layout.archives else ""
        where = f"{command} and set data_dir or STN_PAPER_DATA."
        raise InputError(f"Dataset {name!r} {fault}: {hint}{where}") from None


def dataset_folder(name: str, folder: Path) -> Path | None:
    """The dataset's folder below the data folder, complete or not; None if there is none.

    The data folder may also be the dataset's own folder or a folder above it. Upper and lower case do not matter.
    """
    places = [Path(place).parts for place in LAYOUTS[name].folders]
    found = (find_below(folder, place) for place in places)
    if root := next(filter(None, found), None):
        return root
    last = [part.lower() for part in folder.absolute().parts]
    for place in places:
        for above in range(len(place), 0, -1):
            if last[-above:] == [part.lower() for part in place[:above]]:
                root = find_below(folder, place[above:])
                if root and (root != folder or any(map(is_no_leftover, sorted_entries(root)))):
                    return root
    return None


def needed_files(name: str, dataset) -> str:
    """The files that the dataset consists of, in words."""
    train, test = official_sizes(dataset)
    return LAYOUTS[name].needs.format(
        classes=dataset.num_classes, total=sum(dataset.splits.values()), train=train, test=test
    )


# --- the table ----------------------------------------------------------------------------------

READABLE = f"({', '.join(ENDINGS)} files)"
_CIFAR_IMAGES = ("CIFAR-10-images", "CIFAR-10-images-master")
_CALTECH = "https://data.caltech.edu/records/mzrjq-6wc02"
_CIFAR = "https://www.cs.toronto.edu/~kriz/cifar"
_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_GTSRB = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"

# Checksums are torchvision's. It has none for GTSRB's final training images: several public loaders state the
# same checksum for that archive.
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
        list_class_folders,
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
        list_cifar10,
        (Archive(f"{_CIFAR}-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
    ),
    "tsrd": Layout(
        ("tsrd", "TSRD"),
        "http://www.nlpr.ia.ac.cn/pal/trafficdata/recognition.html",
        " and ".join(f"{file} with its {count} PNG images" for file, count in TSRD_ARCHIVES.values()),
        list_tsrd,
    ),
    "gtsrb": Layout(
        ("gtsrb/GTSRB", "gtsrb-german-traffic-sign", "gtsrb/gtsrb-german-traffic-sign", "GTSRB"),
        "https://benchmark.ini.rub.de",
        "{classes} class folders with {train} images in Final_Training/Images, {test} images in "
        f"Final_Test/Images {READABLE} and GT-final_test.csv",
        list_gtsrb,
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
        partial(list_arrays, read=read_mnist),
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
LAYOUTS["tsrd-distinct"] = LAYOUTS["tsrd"]._replace(list=partial(list_tsrd, distinct=True))
LAYOUTS |= {f"mnist-{name}": LAYOUTS["mnist"] for name in (*DISTORTIONS, *SCENES)}  # made from MNIST's files
