"""List and check the files of the traffic-sign datasets GTSRB and TSRD, for `files.LAYOUTS`."""

import csv
import re
from collections import defaultdict
from pathlib import PureWindowsPath

import numpy as np

from ..paths import files_below
from .listings import (
    Incomplete,
    Listing,
    check_count,
    class_folders,
    find_below,
    image_files,
    number_contents,
    official_sizes,
)

# --- listing GTSRB ------------------------------------------------------------------------------

GTSRB_IJCNN = 26_640  # training images of the competition's first stage
GTSRB_ANSWERS = ("GT-final_test.csv", "Test.csv")  # the labels of the test images


def list_gtsrb(dataset, root):
    """List the final training and test images of GTSRB (39,209 and 12,630); the tracks are the groups.

    The folders have the names of the official archives, or of the copy at Kaggle (Train, Test and Test.csv). The name
    of a class folder is the label as a number; leading zeros do not matter. torchvision's GTSRB downloads the smaller
    training set of 26,640 images, which is refused; its folder Training is accepted if it holds all 39,209 images.
    """
    places = [find_below(root, place) for place in (("Final_Training", "Images"), ("Training",), ("Train",))]
    folder = next(filter(None, places), root / "Final_Training/Images")
    train, test = official_sizes(dataset)
    try:
        paths, labels, classes = class_folders(dataset, folder, train, "training ", _class_number)
    except Incomplete as error:
        fault = str(error)
        if len(list(folder.glob("*/*.ppm"))) == GTSRB_IJCNN != train:
            fault += ", the set that torchvision downloads and not the final one"
        raise Incomplete(fault) from None
    labelled = [_class_number(name) for name in classes]
    if labelled != list(range(dataset.num_classes)):  # a number is too large, or two folders are 7 and 07
        wrong = next((n for n in classes[::-1] if _class_number(n) >= dataset.num_classes), None)
        wrong = wrong or next(n for n, label in zip(classes, labelled) if labelled.count(label) > 1)
        raise Incomplete(f"has the class folder {wrong!r}, not 0 to {dataset.num_classes - 1}, in {folder}")
    numbers = np.unique([_track(path) for path in paths], return_inverse=True)[1]

    test_paths, test_labels = _gtsrb_answers(dataset, root, test)
    groups = np.concatenate([numbers, np.full(test, -1)])  # the test set has no tracks
    return Listing(root, paths + test_paths, labels + test_labels, classes, test_start=train, groups=groups)


def _gtsrb_answers(dataset, root, number):
    """Paths and labels of the `number` test images, in the order of the table that holds the labels."""
    images = (
        find_below(root, ("Final_Test", "Images"))
        or find_below(root, ("Test",))
        or root / "Final_Test/Images"
    )
    tables = [above / file for file in GTSRB_ANSWERS for above in (root.parent, root, images)]
    table = next((path for path in tables if path.is_file()), None)
    if table is None:
        raise Incomplete(f"has no {GTSRB_ANSWERS[0]} in {root.parent}")
    path_by_name = {path.name: path for path in image_files(images)}
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            separator = ";" if ";" in lines.readline() else ","
            lines.seek(0)
            rows = list(csv.DictReader(lines, delimiter=separator, skipinitialspace=True))
        answers = [(_file_name(r), _checked_label(r["ClassId"], dataset)) for r in rows]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise Incomplete(f"has a wrong line in {table} ({error})") from None
    check_count(sum(name in path_by_name for name, _ in answers), number, images, "test ")
    check_count(len(dict(answers)), number, table, "different test ")
    return [path_by_name[name] for name, _ in answers], [label for _, label in answers]


def _class_number(name):
    """The number in the name of a class folder; a number larger than all labels if the name is no number."""
    return int(name) if re.fullmatch("[0-9]{1,9}", name) else 10**9


def _track(path):
    """Class folder and track of a training image named `track_frame` or `class_track_frame`."""
    named = re.fullmatch("((?:[0-9]+_)?[0-9]+)_[0-9]+", path.stem)
    if not named:
        raise Incomplete(f"has the training image {path}, whose name does not contain its track and frame")
    return f"{path.parent.name}/{named[1]}"


def _file_name(row):
    """The test image of a row of the answers, without its folder."""
    return PureWindowsPath(row["Filename"] if "Filename" in row else row["Path"]).name


def _checked_label(text, dataset):
    if not 0 <= int(text) < dataset.num_classes:
        raise ValueError(f"category {text} is not within 0 to {dataset.num_classes - 1}")
    return int(text)


# --- listing TSRD -------------------------------------------------------------------------------

TSRD_ARCHIVES = {  # archive -> its annotations and its number of images
    "train": ("TsignRecgTrain4170Annotation.txt", 4170),
    "test": ("TsignRecgTest1994Annotation.txt", 1994),
}


def list_tsrd(dataset, root, distinct=False):
    """List the images of both TSRD archives, merged by file name as in one folder; `distinct` drops copies.

    166 file names are in both archives, each with two different pictures of one category. The picture of the training
    archive is kept; the other is in `replaced`. 5,998 images remain, the number in the paper (section 4.1, A), sorted
    by name. `copies` numbers their contents. With `distinct`, only the first image of each content is kept, and
    `duplicates` names the others.

    A line of the annotations is `filename;width;height;x1;y1;x2;y2;category;`. Images are not cropped to the box of the
    sign, because the paper does not mention cropping. The annotations and the folders of PNG images may lie anywhere
    below the root.
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
    check_count(len(paths), sum(dataset.splits.values()), root, "distinct " if distinct else "")
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
    """Yield (path, category) of each image of the training archive, then of the test archive."""
    folders = defaultdict(set)
    for path in image_files(root):
        folders[path.parent].add(path.name)
    for part, (file, count) in TSRD_ARCHIVES.items():
        rows = _annotations(root, file, dataset)
        check_count(len(rows), count, file, "lines of ")
        names = {name for name, _ in rows}
        ranked = sorted(folders, key=lambda f: (len(folders[f] & names), part in f.name.lower(), f))
        lost = names - folders[ranked[-1]] if ranked else names
        if lost:
            raise Incomplete(f"lacks {len(lost)} of the images named in {file}, such as {min(lost)}")
        yield from ((ranked[-1] / name, label) for name, label in rows)


def _annotations(root, file, dataset):
    """(file name, category) of each line."""
    found = next((path for path in files_below(root, file) if path.is_file()), None)
    if found is None:
        raise Incomplete(f"has no {file} in {root}")
    rows = []
    for line in found.read_text("utf-8-sig", errors="surrogateescape").split():
        try:
            name, *_, category = line.rstrip(";").split(";")
            rows.append((name, _checked_label(category, dataset)))
        except ValueError:
            raise Incomplete(f"has the wrong line {line!r} in {found}") from None
    return rows
