"""Tables, figures and sentences of the page "Are test images in the training set?".

They read the files of results/copies/, which `python -m stn_paper copies` writes, and need no images.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Image

from ..analysis import copies, frame
from ..analysis.copies import NEIGHBOUR, THRESHOLD
from ..analysis.statistics import NO_NUMBER
from ..data.datasets import DATASETS
from ..data.traffic_signs import TSRD_ARCHIVES
from ..models import HEADINGS
from ..models.backbones import title
from ..paths import PRINTED
from .figures import close_figure
from .sentences import join_words

# column `images` of the counts -> what a row's name adds to the dataset's title
SUFFIXES = {"validation": "", "validation, tracks ignored": ", split by image"}


def share_text(part, whole):
    """Number and percentage of a part, as text."""
    return f"{part:,} ({100 * part / whole:.1f}\u00a0%)" if whole else NO_NUMBER


def counts_of_test_images():
    """The counts of test images with a copy in training, indexed by dataset."""
    return copies.read_table("counts").query("images == 'test'").set_index("dataset")


def checked_by_eye():
    """Our count by eye of the near copies on the contact sheets, by dataset: pairs, pairs of the same object, note."""
    return pd.read_csv(PRINTED / "near_copies.csv", index_col="dataset")


def test_copies_table():
    """Test images with a copy in training, a row a dataset."""
    seen, rows = checked_by_eye(), {}
    for row in counts_of_test_images().itertuples():
        checked = seen.loc[row.Index]
        rows[DATASETS[row.Index].title] = {
            "Test images": f"{row.number:,}",
            "Training images": f"{row.training:,}",
            "Exact copy in training": share_text(row.exact, row.number),
            "Near copy in training": share_text(row.near, row.number),
            "Near copies of the same class": share_text(row.near_same_class, row.near),
            "Same thing, by eye": f"{checked.same} of {checked.pairs} pairs",
        }
    return pd.DataFrame(rows).T


def copies_verdict():
    """Return the verdict as Markdown: the test images with a copy in training, in TSRD and in the other datasets."""
    tests = counts_of_test_images()
    tsrd, shares = tests.loc["tsrd"], seed_shares()
    others = tests.drop(["tsrd", "tsrd-distinct"])
    exact = [DATASETS[dataset].title for dataset in others.index[others["exact"] > 0]]
    near = 100 * others["near"] / others["number"]
    seen = checked_by_eye().loc[others.index, ["same", "pairs"]].sum()
    return (
        f"**On TSRD, yes: {100 * tsrd.exact / tsrd.number:.1f} % of the test images have an exact copy in "
        f"the training set** ({shares.min():.1f} to {shares.max():.1f} % over {len(shares)} random splits), "
        f"and {100 * tsrd.near / tsrd.number:.1f} % more have a near copy. "
        f"In our files of the other datasets, {near.min():.1f} to {near.max():.1f} % of the test images have a near "
        f"copy (by eye, {seen.same} of {seen.pairs} sampled pairs show the same thing), and "
        f"{join_words(exact) or 'none'} has exact copies."
    )


def merging_in_words():
    """How TSRD's two archives are merged by file name, and how many images remain, as Markdown."""
    row = copies.read_table("files").set_index("dataset").loc["tsrd"]
    *archives, sizes = *(number for _, number in TSRD_ARCHIVES.values()), DATASETS["tsrd"].splits.values()
    fits = "exactly as many as" if row.images == sum(sizes) else "not as many as"
    twins = row.images - row.alone
    every = "every file has" if twins == row.images else f"{twins:,} of the {row.images:,} files have"
    return (
        f"The official archives hold {' and '.join(f'{number:,}' for number in archives)} images. "
        f"{row.same_name} file names are in both, each with two different pictures; we keep the training "
        f"archive's. Merged by file name, {row.images:,} images remain, {fits} the paper's "
        f"{' + '.join(f'{size:,}' for size in sizes)}. They show {row.contents:,} distinct pictures: "
        f"**{every} an exact copy under another name.**"
    )


def seed_shares():
    """Percent of TSRD's test images with an exact copy in training, for each split seed."""
    found = copies.read_table("seeds").query("dataset == 'tsrd'").set_index("seed")
    return 100 * found["exact"] / found["test"]


def seeds_plot():
    """Histogram of `seed_shares`; a line marks the split of all our runs."""
    shares = seed_shares()
    figure, axis = plt.subplots(figsize=(5.8, 3))
    axis.hist(shares, list(range(101)), color="C0", alpha=0.75)
    axis.axvline(shares[copies.SPLIT_SEED], color="black", linestyle="--", label="split of our runs")
    axis.set(xlabel="test images with an exact copy in training (%)", ylabel="splits", xlim=(0, 100))
    axis.legend()
    return close_figure(figure)


def thresholds_plot():
    """Share of test images whose ratio is below a threshold, against the threshold, a line a dataset."""
    figure, axis = plt.subplots(figsize=(5.8, 3.6))
    tests = counts_of_test_images()["number"]
    styles = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
    for style, (dataset, found) in zip(styles, copies.read_table("ratios").groupby("dataset", sort=False)):
        shown = 100 * found["images"].cumsum() / tests[dataset]
        axis.plot(found["below"], shown.where(shown > 0), linestyle=style, label=DATASETS[dataset].title)
    axis.axvline(THRESHOLD, color="black", linewidth=1)
    axis.set(
        yscale="log", xlim=(0, 0.6), xlabel=f"threshold of the nearest distance / the {NEIGHBOUR}th nearest"
    )
    axis.set(ylabel="test images with a near copy (%)")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize=11)
    return close_figure(figure)


def show_contact_sheet(dataset):
    """The contact sheet of a dataset, as an image of the page."""
    return Image(filename=str(copies.sheet_path(dataset)))


def validation_copies_table():
    """Count validation images with a copy in training: a row a dataset, and a row for GTSRB without tracks."""
    rows = {}
    for row in copies.read_table("counts").query("images != 'test'").itertuples():
        rows[DATASETS[row.dataset].title + SUFFIXES[row.images]] = {
            "Images": f"{row.number:,}",
            "Exact copy in training": share_text(row.exact, row.number),
            "Near copy in training": share_text(row.near, row.number),
        }
    return pd.DataFrame(rows).T


def faces_in_words():
    """Two sentences on the photographs that are complete and cropped in Caltech-101, as Markdown."""
    row = copies.read_table("crops").iloc[0]
    return (
        f"Each of the {row.pairs} pictures in `Faces_easy` is a part of the photograph of the same file name "
        f"in `Faces`: at the best place, their correlation is at least {row['lowest']:.2f} (median "
        f"{row['median']:.2f}; with the photograph of the next file name {row['others']:.2f}). "
        f"**{row.in_training} of the {row.test} test images of the two classes have their photograph in "
        "training, under the other class.** The count of near copies misses these pairs, because it "
        "compares whole pictures."
    )


def accuracy_by_copies():
    """Mean test accuracy of our runs in percent: all images, those with an exact copy, with any copy, and with none.

    Only records that say which test images were classified correctly, and whose split has been searched for copies.
    Pilot runs with other settings than their protocol's are left out.
    """
    every, rows = frame.runs(), []
    for protocol, record in every.loc[every["preset"] != "", ["preset", "record"]].itertuples(index=False):
        exact, either = (copies.accuracy_by_copies(record, near=near) for near in (False, True))
        if exact is None:
            continue
        spec = record["spec"]
        rows.append(
            {
                "Dataset": DATASETS[spec["dataset"]].title,
                "Protocol": protocol,
                "Network": title(spec["backbone"]),
                "Variant": HEADINGS.get(spec["variant"], spec["variant"]),
                "All": exact["all"],
                "With an exact copy": exact["with copy"],
                "With an exact or near copy": either["with copy"],
                "With neither": either["without copy"],
                "collapsed": frame.training_outcome(record)["collapsed"],
            }
        )
    if not rows:
        return "*No record says yet which test images were right.*"
    by = ["Dataset", "Protocol", "Network", "Variant"]
    groups = pd.DataFrame(rows).sort_values(by[:2], kind="stable").groupby(by, sort=False)
    means = groups.mean().drop(columns="collapsed")
    view = means.map(lambda value: NO_NUMBER if np.isnan(value) else f"{value:.2f}")
    return view.assign(Runs=groups.size(), Collapsed=groups["collapsed"].sum())
