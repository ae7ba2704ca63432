"""Claims about images and training: sections 4.1 and 4.2."""

import pandas as pd

from ...training.presets import preset
from .. import author_runs, copies, paper
from .verdicts import (
    OPEN,
    RELEASE_FILE,
    Finding,
    by_ours,
    by_tables,
    claim,
    count_true,
    is_most,
    numbers_in,
)

FILES = "results/copies/files.csv"
TSRD_IMAGES = 6164  # images in TSRD by section 4.1.A
TSRD_SPLIT = (
    "Some duplicated images have been removed … 4000 data were kept as training set, 1000 as testing set and "
    "the remaining 998 images"
)
CALTECH = (
    "The dataset has in total 8677 images, about 75% (6277) were kept as training set while other images "
    "were split evenly as validation (1200) and testing dataset (1200)"
)
CALTECH_CLASSES = "101 classes, most category has about 50 images"
ABOUT = 10  # "about 50" is read as 50 plus or minus so many images
ABOUT_PERCENT = 5  # "about 75%" is read as 75 % plus or minus so many points


def sum_in_words(values, whole):
    """A sum of numbers of images as text, and its difference from the total `whole`."""
    found = sum(values)
    difference = abs(found - whole)
    against = (
        f"{difference:,.0f} {'fewer' if found < whole else 'more'} than {whole:,.0f}"
        if difference
        else "all of them"
    )
    return f"{' + '.join(f'{v:,.0f}' for v in values)} = {found:,.0f}: {against}."


@claim("data", "4.1.A", TSRD_SPLIT)
def tsrd_split():
    used, counted = numbers_in(TSRD_SPLIT), copies.read_table("files").set_index("dataset")
    if "tsrd" not in counted.index:
        return Finding(
            OPEN,
            f"{sum_in_words(used, TSRD_IMAGES)} No copies have been counted in the archives.",
            "section 4.1.A",
        )
    row = counted.loc["tsrd"]
    images, names = int(row["images"]), int(row["same_name"])
    copied = images - int(row["alone"])
    still = f"all {images:,}" if copied == images else f"{copied:,}"
    return Finding(
        by_ours(TSRD_IMAGES - names == sum(used), copied == 0),
        f"“Removed” is read as: no copy is left. {names} file names are in both archives, each with two different "
        f"pictures. Merged by file name, {images:,} files remain; the paper has {sum(used):,.0f} images. If the author "
        f"merged them so, {still} of these files have an identical copy under another name.",
        FILES,
    )


@claim("data", "4.1.B", CALTECH_CLASSES)
def about_fifty():
    (classes, each), images = numbers_in(CALTECH_CLASSES), paper.caltech101_classes()
    near, nearly = (images.between(each - margin, each + margin) for margin in (ABOUT, 2 * ABOUT))
    return Finding(
        by_ours(len(images) == classes, is_most(near)),
        f"“About {each:.0f}” is read as {each - ABOUT:.0f} to {each + ABOUT:.0f} images: {count_true(near)} classes "
        f"have so many, and {nearly.sum()} have {each - 2 * ABOUT:.0f} to {each + 2 * ABOUT:.0f}. The median is "
        f"{images.median():.0f} images a class, the range {images.min()} to {images.max()}.",
        "caltech101_classes.csv",
    )


@claim("data", "4.1.B", CALTECH)
def caltech_split():
    whole, percent, *used = numbers_in(CALTECH)
    counted = int(paper.caltech101_classes().sum())
    share = 100 * used[0] / whole
    return Finding(
        by_ours(counted == whole, sum(used) == whole, abs(share - percent) < ABOUT_PERCENT),
        f"We count {counted:,} images. {sum_in_words(used, whole)} Training images make up {share:.1f} % of them "
        f"(“about 75%” is read as within {ABOUT_PERCENT} points).",
        "caltech101_classes.csv",
    )


def released_table_cells():
    """The released notebooks of the cells of Tables 6 and 8."""
    return pd.concat([author_runs.released_cells(n) for n in (6, 8)])


@claim("data", "4.2", "The batch size is set to 20 for smaller models and 10 or smaller for larger models.")
def batch_sizes():
    cells = released_table_cells().sort_values("printed_parameters")
    by_20, by_10 = cells["batch_size"] == 20, cells["batch_size"] <= 10
    large, small = cells[by_20].iloc[-1], cells[by_10].iloc[0]
    return Finding(
        by_tables(by_20 | by_10, large["printed_parameters"] < small["printed_parameters"]),
        f"In the released notebooks, {count_true(by_20 | by_10)} cells of Tables 6 and 8 have batches of 20 or of at "
        "most 10. The size of the network does not decide: the largest network with batches of 20 is "
        f"{_sized(large)}, the smallest with batches of {small['batch_size']} is {_sized(small)}.",
        RELEASE_FILE,
    )


def _sized(cell):
    return (
        f"{cell['model']} ({cell['printed_parameters'] / 1e6:.1f} million parameters, Table {cell['table']})"
    )


@claim("data", "4.2", "batch size does affect the model training process but not much to the final result")
def batch_effect():
    sizes = sorted(author_runs.released_cells(6)["batch_size"].unique())
    return Finding(
        OPEN,
        "No two trainings at the paper's image size differ only in their batch size. In the release, networks and "
        f"variants of Table 6 have different batch sizes ({', '.join(map(str, sizes))}); our protocol `equal` has "
        f"{preset('equal', 'caltech101', 'stn').batch_size} for all networks.",
        RELEASE_FILE,
    )


@claim(
    "data",
    "4.2",
    "learning rate (η) is 0.001 … a continuous 10 epochs does not exceed the tolerance parameter",
)
def settings():
    cells = released_table_cells()
    rate, window, floors = cells["learning_rate"] == 0.001, cells["window"] == 10, cells["min_epochs"]
    tolerances = " or ".join(map(str, sorted(cells["tolerance"].unique())))
    return Finding(
        by_tables(rate, window),
        f"As released, the notebooks of {count_true(rate)} cells of Tables 6 and 8 have this rate, and early stopping "
        f"looks at 10 epochs in {count_true(window)}. The paper states neither the tolerance ({tolerances} points as "
        f"released) nor the least number of epochs ({floors.min()} to {floors.max()} as released).",
        RELEASE_FILE,
    )
