"""Which test images are in the training set: exact copies, near copies, and baselines that do not learn.

`python -m stn_paper copies` compares the splits of split seed 0 and writes small files to results/copies/,
which the page "Are test images in the training set?" reads.

An exact copy has the same bytes. A near copy is found in small pictures: each image is scaled to 24 x 24
pixels, made grey, and normalized to mean 0 and length 1. The distance of two images is 1 - correlation. A
test image has a near copy if the distance to its nearest training image is at most a fifth (THRESHOLD) of
the distance to its 50th nearest (NEIGHBOUR). An absolute limit would not work, because each MNIST digit is close to
many others. The method misses copies that are mirrored, cropped or shifted, and images with NEIGHBOUR or
more near copies.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw, ImageFont

from ..data import datasets
from ..data.datasets import DATASETS, Images
from ..data.files import find_files
from ..data.listings import number_contents
from ..errors import InputError
from ..paths import data_dir, replace_file
from ..training.evaluation import pack_flags
from .copies import (
    NEIGHBOUR,
    SPLIT_SEED,
    STUDIED,
    THRESHOLD,
    copies_dir,
    count_by_copies,
    read_table,
    sheet_path,
)
from .crops import count_crops

GREY_SIDE = 24  # pixels of a compared picture
COLOR_SIDE = 32  # pixels of a picture for the nearest neighbour in RGB
SPLIT_SEEDS = 200  # splits of TSRD
IMAGES_AT_ONCE = 1000  # images compared at once

#: bands of the ratio on a contact sheet, a row each; four rows are below the threshold
BANDS = ((0, 0.05), (0.05, 0.1), (0.1, 0.15), (0.15, THRESHOLD), (THRESHOLD, 0.25), (0.25, 0.3), (0.3, 0.4))
PAIRS, THUMB = 6, 40  # pairs in a row, pixels of a thumbnail


class Neighbours(NamedTuple):
    index: np.ndarray  # (N,): the nearest training image, a position in the training pictures
    distance: np.ndarray  # (N,): 1 - correlation with it
    ratio: np.ndarray  # (N,): that distance divided by the distance of the 50th nearest


class Compared(NamedTuple):
    """A dataset, and for each test image whether it has a copy in training."""

    data: Images
    pictures: np.ndarray  # uint8 (N, 32, 32, 3)
    copies: np.ndarray  # (N,): equal for identical bytes
    split: datasets.Split
    exact: np.ndarray  # bool: has an exact copy; test images in the split's order
    near: np.ndarray  # bool: has a near copy and no exact copy
    neighbours: Neighbours


# --- the method ---------------------------------------------------------------------------------


def small_pictures(items):
    """uint8 (N, 32, 32, 3) of image files or arrays."""
    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(_small_picture, items)))


def _small_picture(item):
    with Image.fromarray(item) if isinstance(item, np.ndarray) else Image.open(item) as image:
        small = image.convert("RGB").resize((COLOR_SIDE, COLOR_SIDE), Image.Resampling.BILINEAR)
    return np.asarray(small)


def normalize_pictures(images):
    """Images (N, 32, 32, 3) as float32 (N, 576): grey, 24 x 24 pixels, mean 0 and length 1; 0 if uniform."""
    grey = (Image.fromarray(image).convert("L") for image in images)
    small = [
        np.asarray(image.resize((GREY_SIDE, GREY_SIDE), Image.Resampling.BOX), np.float32) for image in grey
    ]
    flat = torch.from_numpy(np.stack(small)).flatten(1)
    flat = flat - flat.mean(1, keepdim=True)
    return flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-3)


def nearest(queries, keys, neighbour=NEIGHBOUR):
    """Neighbours of each query among the keys, both as `normalize_pictures` returns them.

    With fewer keys than `neighbour`, the farthest key takes the place of the 50th nearest.
    """
    found = [(block @ keys.T).topk(min(neighbour, len(keys)), 1) for block in queries.split(IMAGES_AT_ONCE)]
    distances = (1 - torch.cat([block.values for block in found])).clamp(min=0).double().numpy()
    first, last = distances[:, 0], distances[:, -1]
    index = torch.cat([block.indices[:, 0] for block in found]).numpy()
    return Neighbours(index, first, first / np.maximum(last, 1e-9))


def is_near(neighbours):
    """bool (N,): whether the nearest training image is a near copy; exact copies count too."""
    return neighbours.ratio <= THRESHOLD


def compare_splits(name, folder=None):
    """Read the dataset `name` below the data folder and compare its test with its training images."""
    listing = find_files(name, DATASETS[name], data_dir(folder))
    data = Images(
        torch.empty(0),  # the split needs none
        torch.tensor(listing.labels),
        listing.classes,
        datasets.fingerprint_of(listing),
        listing.test_start,
        listing.groups,
    )
    small, copies = small_pictures(listing.items), number_contents(listing.items)
    split = datasets.split(name, data, SPLIT_SEED)
    exact, neighbours = find_matches(normalize_pictures(small), copies, split.test, split.train)
    return listing, Compared(data, small, copies, split, exact, is_near(neighbours) & ~exact, neighbours)


def find_matches(flat, copies, queries, keys):
    """Look for copies of the images at the indices `queries` among the images at `keys`: (exact, Neighbours)."""
    exact = np.isin(copies[queries], copies[keys])
    return exact, nearest(flat[queries], flat[keys])


# --- counts -------------------------------------------------------------------------------------


def count_files(name, listing, compared):
    """One row on the whole dataset: numbers of images, of files left out for their name, and of distinct contents.

    `alone` counts the images without an exact copy.
    """
    times = np.bincount(compared.copies)
    row = {
        "dataset": name,
        "images": len(listing.items),
        "same_name": len(listing.replaced),
        "contents": len(times),
        "alone": (times == 1).sum(),
    }
    return pd.DataFrame([row])


def count_copies(name, compared):
    """Count the images with a copy in training: a row for the test images and a row for the validation images.

    GTSRB has a third row, for validation images that are drawn without regard to the tracks.
    """
    split, flat = compared.split, normalize_pictures(compared.pictures)
    parts = {"test": (split.test, split.train), "validation": (split.validation, split.train)}
    if compared.data.groups is not None:
        split_by_image = datasets.split(name, compared.data._replace(groups=None), SPLIT_SEED)
        parts["validation, tracks ignored"] = split_by_image.validation, split_by_image.train
    labels, rows = compared.data.labels.numpy(), []
    for part, (queries, keys) in parts.items():
        exact, neighbours = find_matches(flat, compared.copies, queries, keys)
        near = is_near(neighbours) & ~exact
        same = labels[queries] == labels[keys][neighbours.index]
        rows.append(
            {
                "dataset": name,
                "images": part,
                "number": len(queries),
                "training": len(keys),
                "exact": exact.sum(),
                "near": near.sum(),
                "near_same_class": (near & same).sum(),
            }
        )
    return pd.DataFrame(rows)


def flag_test_images(name, compared):
    """One row: the test images with an exact copy and with a near copy, by `pack_flags`, and the searched data."""
    row = {
        "dataset": name,
        "split_seed": SPLIT_SEED,
        "fingerprint": compared.data.fingerprint,
        "train": len(compared.split.train),
        "test": len(compared.split.test),
        "exact": pack_flags(compared.exact),
        "near": pack_flags(compared.near),
    }
    return pd.DataFrame([row])


def ratio_histogram(name, compared):
    """Histogram of the ratio from 0 to 1 in steps of 0.01, over test images without an exact copy."""
    numbers, edges = np.histogram(compared.neighbours.ratio[~compared.exact], 100, (0, 1))
    return pd.DataFrame({"dataset": name, "below": edges[1:].round(2), "images": numbers})


def copies_by_split_seed(name, compared):
    """Number of test images with an exact copy in training, for each of 200 split seeds."""
    splits = [datasets.split(name, compared.data, seed) for seed in range(SPLIT_SEEDS)]
    found = [np.isin(compared.copies[s.test], compared.copies[s.train]).sum() for s in splits]
    return pd.DataFrame(
        {"dataset": name, "seed": range(SPLIT_SEEDS), "exact": found, "test": len(splits[0].test)}
    )


# --- baselines that do not learn ----------------------------------------------------------------


def look_up(contents, labels, queries):
    """Predict classes (M,) by looking up identical training images.

    `contents` and `labels` describe the training images, `queries` are the contents of the test images, all numbered
    as `listings.number_contents` does. A test image without an identical training image gets the most frequent class.
    """
    most_frequent = np.bincount(labels).argmax()
    label_by_content = dict(zip(contents.tolist(), labels.tolist()))
    return np.array([label_by_content.get(content, most_frequent) for content in queries.tolist()])


def nearest_pixels(images, labels, queries):
    """Predict classes (M,) by the nearest training image, in L2 distance of uint8 images (N, 32, 32, 3)."""
    keys, rows = (torch.from_numpy(part).flatten(1).double() / 255 for part in (images, queries))
    length = (keys**2).sum(1)
    found = [(length - 2 * block @ keys.T).argmin(1) for block in rows.split(IMAGES_AT_ONCE)]
    return labels[torch.cat(found).numpy()]


def test_baselines(name, compared):
    """Test the look-up and the nearest neighbour, a row a baseline and part: all, with and without an exact copy."""
    train, test = compared.split.train, compared.split.test
    labels, copies, small = compared.data.labels.numpy(), compared.copies, compared.pictures
    predicted = {
        "look-up": look_up(copies[train], labels[train], copies[test]),
        "nearest neighbour": nearest_pixels(small[train], labels[train], small[test]),
    }
    rows = []
    for baseline, classes in predicted.items():
        for images, (number, right) in count_by_copies(classes == labels[test], compared.exact).items():
            row = {
                "dataset": name,
                "baseline": baseline,
                "images": images,
                "number": number,
                "correct": right,
            }
            rows.append(row)
    return pd.DataFrame(rows)


# --- contact sheets -----------------------------------------------------------------------------


def draw_contact_sheet(compared):
    """Draw a PIL image of pairs, test image left and nearest training image right; a row for each of BANDS.

    The pairs of a band are chosen at random and sorted by their ratio, which is printed below each pair. Exact copies
    are left out. Near copies are above the line.
    """
    draw, ratio = np.random.RandomState(0), np.where(compared.exact, np.inf, compared.neighbours.ratio)
    wide, high = 2 * THUMB + 12, THUMB + 16
    image = Image.new("RGB", (PAIRS * wide, len(BANDS) * high + 4), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(10)
    for row, (low, top) in enumerate(BANDS):
        shift = 4 * (low >= THRESHOLD)
        if low == THRESHOLD:
            pen.line([(0, row * high + 1), (image.width, row * high + 1)], fill="black", width=2)
        inside = (ratio <= top) & ((ratio > low) | (low == 0))
        chosen = draw.permutation(np.flatnonzero(inside))[:PAIRS]
        for column, test in enumerate(sorted(chosen, key=lambda i: ratio[i])):
            x, y = column * wide, row * high + shift
            training = compared.split.train[compared.neighbours.index[test]]
            for place, index in enumerate((compared.split.test[test], training)):
                thumb = Image.fromarray(compared.pictures[index])
                image.paste(thumb.resize((THUMB, THUMB), Image.Resampling.BICUBIC), (x + place * THUMB, y))
            pen.text((x + THUMB, y + THUMB), f"{ratio[test]:.2f}", fill="black", font=font, anchor="ma")
    return image.quantize(128, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


# --- the command --------------------------------------------------------------------------------


def _store(file, found):
    """Replace the rows of a dataset in the file; rows of other datasets stay."""
    old = read_table(file)
    old = old[~old["dataset"].isin(found["dataset"])]
    table = found if old.empty else pd.concat([old, found])
    order = table["dataset"].map(STUDIED.index)
    with replace_file(copies_dir() / f"{file}.csv") as part:
        table.iloc[np.argsort(order.to_numpy(), kind="stable")].to_csv(part, index=False)


def write_dataset(name, data_folder=None):
    """Compare one dataset, write its rows and its contact sheet, and return its counts."""
    listing, compared = compare_splits(name, data_folder)
    counts = count_copies(name, compared)
    _store("counts", counts)
    _store("files", count_files(name, listing, compared))
    _store("test_images", flag_test_images(name, compared))
    _store("ratios", ratio_histogram(name, compared))
    if name == "caltech101":
        _store("crops", count_crops(name, listing, compared))
    if name == "tsrd":
        _store("seeds", copies_by_split_seed(name, compared))
    if name.startswith("tsrd"):
        _store("baselines", test_baselines(name, compared))
    with replace_file(sheet_path(name)) as part:
        draw_contact_sheet(compared).save(part, "PNG", optimize=True)
    return counts


def write_all(data_folder=None):
    """Write the results of each dataset in the data folder; yield a sentence for each dataset of STUDIED."""
    for name in STUDIED:
        try:
            counts = write_dataset(name, data_folder)
        except InputError as error:
            yield f"{name}: its files were left as they were. {error}"
            continue
        row = counts.iloc[0]
        copies = f"{row['exact']:,} have an exact and {row['near']:,} a near copy in training"
        yield f"{name}: of {row['number']:,} test images, {copies}."
