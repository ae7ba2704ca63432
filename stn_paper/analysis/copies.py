"""Which test images have a copy in training, as `copy_search` found, and accuracies with and without these images.

The files are in results/copies/. An exact copy has the same bytes; `copy_search` defines near copies.
"""

from functools import cache

import numpy as np
import pandas as pd

from ..paths import results_dir
from ..training.evaluation import unpack_flags
from ..training.protocol import DEFAULTS

STUDIED = ("tsrd", "tsrd-distinct", "caltech101", "cifar10", "gtsrb", "mnist")
SPLIT_SEED = DEFAULTS["split_seed"]  # all records use it
NEIGHBOUR = 50  # more than the 30 pictures of a GTSRB track and the 26 copies of a TSRD picture
THRESHOLD = 0.2  # a nearest image with a larger ratio is no near copy, see `copy_search`


def copies_dir():
    """The folder of the results of the search: `copies` in the results folder."""
    return results_dir() / "copies"


def read_table(file):
    """The table results/copies/<file>.csv; empty, with the column `dataset`, if it is not there."""
    path = copies_dir() / f"{file}.csv"
    if not path.exists():
        return pd.DataFrame({"dataset": []})
    status = path.stat()
    return _read_csv(path, status.st_ino, status.st_mtime_ns, status.st_size).copy()


@cache
def _read_csv(path, *stamp):
    """The file as a table; read again only when its stamp changes."""
    return pd.read_csv(path)


def sheet_path(name):
    """Path of a dataset's contact sheet."""
    return copies_dir() / f"{name}.png"


def test_images_with_copy(name, kind="exact"):
    """Return the number of test images of a dataset with a copy in training, and the number of all its test images.

    The kind "exact" counts test images with an identical training image. The kind "near" counts test images with a near
    copy and without an identical training image. The split has seed 0. Both numbers are 0 if the dataset has not been
    searched.
    """
    counts = read_table("counts")
    row = counts[counts["dataset"] == name].head(1)  # the first row of a dataset is of its test images
    return (int(row[kind].iloc[0]), int(row["number"].iloc[0])) if len(row) else (0, 0)


# --- accuracies of records ----------------------------------------------------------------------


def copy_flags(record, near=False):
    """bool (N,): whether each test image of the record has an exact copy in training; with `near`, a near copy too.

    None if the record's images, split and training set have not been searched for copies.
    """
    rows, spec, data = read_table("test_images"), record["spec"], record["data"]
    rows = rows[rows["dataset"] == spec["dataset"]]
    if rows.empty:
        return None
    row = rows.iloc[0]
    if spec["protocol"].get("split_seed", SPLIT_SEED) != row["split_seed"]:
        return None
    if any(data[key] != row[key] for key in ("fingerprint", "train", "test")):
        return None
    exact, close = (unpack_flags(row[kind], row["test"]) for kind in ("exact", "near"))
    return exact | close if near else exact


def accuracy_by_copies(record, near=False):
    """Test accuracy of a record in percent: {"all", "with copy", "without copy"}; NaN for a part without images.

    With `near`, near copies count as copies too. None if `copy_flags` is None, or if the record does not say which test
    images were classified correctly (`record["test"]["correct"]`).
    """
    flags, text = copy_flags(record, near), record.get("test", {}).get("correct")
    if flags is None or text is None:
        return None
    parts = count_by_copies(unpack_flags(text, len(flags)), flags)
    return {name: 100 * right / number if number else np.nan for name, (number, right) in parts.items()}


def count_by_copies(correct, copied):
    """Return {images: (number, number correct)} for all test images, for images with a copy and for images without."""
    parts = {"all": np.ones_like(copied), "with copy": copied, "without copy": ~copied}
    return {name: (int(part.sum()), int(correct[part].sum())) for name, part in parts.items()}
