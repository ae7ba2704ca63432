"""The page on theta: how far it varies, which grids left the image, and the images that the classifier then gets."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import MaxNLocator

from ..analysis import frame, stability, theta
from ..analysis.effects import APPLIED
from ..analysis.statistics import LEVEL, MISSING
from ..data.datasets import DATASETS
from ..models import HEADINGS, ORIGINAL
from ..models.backbones import title
from ..models.guards import COLLAPSED_PERCENT
from ..models.transformer import sample, sampling_grid
from ..training.batches import normalize
from ..training.protocol import LAST_EPOCH, ONE_CYCLE, Protocol
from ..training.records import spec_of
from ..training.spec import RunSpec
from .figures import COLORS, LEGEND_ABOVE, close_figure
from .interactive import run_link
from .paper_figures import as_pixels, draw_outline, photograph
from .run_pages import protocol_in_words
from .sentences import join_words, p_text, table_or_missing
from .system_pictures import example_images

LINES = ("-o", "--s", "-.^", ":D", "-v")  # of collapsed runs
LAST_DRAWN = 12  # epoch
LINEAR_BELOW = 1e-3  # The axis is logarithmic above this standard deviation, and linear below it to show 0.
SHOWN_EPOCHS = (1, 2, 3, 4)  # epochs of `seen_by_classifier_plot`, and the last


def theta_verdict(found):
    """How often theta is nearly constant or the transformer collapsed, on photographs and on others: two sentences."""
    counts = theta.count_outcomes(found).to_dict("index")
    photographs, others = counts[True], counts[False]
    inside = photographs["runs"] - photographs["collapsed"]
    return (
        f"**On Caltech-101 and CIFAR-10, {photographs['collapsed']} of {photographs['runs']} transformers "
        f"collapsed (the grid left the image{_of_variants(found)}), and {photographs['still']} of the other {inside} "
        f"give every image nearly the same theta** (standard deviation below {theta.STILL_BELOW}). On digits and "
        f"traffic signs, {others['collapsed']} of {others['runs']} collapsed, and {others['still']} give every image "
        "nearly the same theta."
    )


def collapses_in_words(found):
    """How many runs on photographs collapsed, of each transformer: "5 of 27 runs with STN" and so on."""
    counts = found[found["photographs"]].groupby("variant")["collapsed"].agg(["sum", "size"])
    shown = [variant for variant in APPLIED if variant in counts.index]
    texts = ["{} of {} runs with {}".format(*counts.loc[variant], HEADINGS[variant]) for variant in shown]
    return join_words(texts) if texts else MISSING


def _of_variants(found):
    """The variants of the collapsed runs on photographs, as text: ", all with STN"; "" without such a run."""
    mine = found[found["collapsed"] & found["photographs"]]
    names = [HEADINGS[variant] for variant in frame.variants_of(mine)]
    return f", {'all ' if len(names) == 1 < len(mine) else ''}with {join_words(names)}" if names else ""


def collapse_counts(found):
    """Count collapsed runs and all runs on photographs, by variant and by the localization net's learning rate."""
    rates = {name: r["spec"]["protocol"]["localization_rate"] for name, r in frame.records_by_name().items()}
    mine = found[found["photographs"]].assign(rate=found["run"].map(rates))
    view = mine.groupby(["variant", "rate"])["collapsed"].agg(["sum", "size"]).reset_index()
    view["variant"] = view["variant"].map(HEADINGS)
    names = {"variant": "Transformer", "rate": "Share of the rate"}
    view = view.rename(columns=names | {"sum": "Collapsed", "size": "Runs"})
    return view.set_index("Transformer")


def nearest_to_collapse_in_words(found):
    """Name the run on photographs whose grid lies farthest outside the image without being counted as collapsed."""
    inside = found[found["photographs"] & ~found["collapsed"]].dropna(subset="outside")
    if inside.empty:
        return ""
    row = inside.loc[inside["outside"].idxmax()]
    net = f"{HEADINGS[row['variant']]} with {title(row['backbone'])} on {DATASETS[row['dataset']].title}"
    return (
        f"A run counts as collapsed if at least {COLLAPSED_PERCENT:g} % of its grid lie outside. Of the others, "
        f"{net} (seed {row['seed']}) has most outside: {row['outside']:.0f} %."
    )


def deviation_plot(found):
    """Theta's largest standard deviation over the images, a dot a run, a row a dataset, collapsed runs left out."""
    inside = found[~found["collapsed"]]
    names = [name for name in DATASETS if name in set(inside["dataset"])]
    figure, axis = plt.subplots(figsize=(5.8, 0.6 + 0.4 * len(names)))
    random = np.random.RandomState(0)
    for place, name in enumerate(names):
        mine = inside[inside["dataset"] == name]
        for variant, some in mine.groupby("variant"):
            height = place + random.uniform(-0.25, 0.25, len(some))
            axis.plot(some["std"], height, "o", ms=4, alpha=0.7, color=_color(variant))
    axis.axvline(theta.STILL_BELOW, color="0.3", linestyle=":")
    axis.set_xscale("symlog", linthresh=LINEAR_BELOW)
    axis.set_xlim(-LINEAR_BELOW / 5, 2)
    axis.set_xticks([0, 0.001, 0.01, 0.1, 1], ["0", "0.001", "0.01", "0.1", "1"])
    axis.set_yticks(range(len(names)), [DATASETS[name].title for name in names])
    axis.invert_yaxis()
    axis.set_xlabel("standard deviation of theta over the images")
    labels = {v: HEADINGS[v] for v in APPLIED} | {"": "another net"}
    dots = [plt.Line2D([], [], marker="o", ls="", color=_color(v), label=text) for v, text in labels.items()]
    figure.legend(handles=dots, ncols=4, columnspacing=1, **LEGEND_ABOVE)
    return close_figure(figure)


def _color(variant):
    return COLORS[variant] if variant in APPLIED else COLORS[ORIGINAL]


def collapse_plot(found):
    """The share of the sampling grid outside the image after each epoch, a line a collapsed run."""
    figure, axis = plt.subplots(figsize=(5.6, 4.6))
    for name, values in theta.outside_by_epoch(found).items():
        look = LINES[len(axis.lines) % len(LINES)]
        row = found.set_index("run").loc[name]
        of, size = DATASETS[row["dataset"]].title, row["image_size"]
        net = HEADINGS[row["variant"]]
        label = f"{net}, {title(row['backbone'])}, {of}, {size:.0f} pixels, seed {row['seed']}"
        axis.plot(range(1, len(values) + 1), values, look, ms=4, color=_color(row["variant"]), label=label)
    axis.set(
        xlabel="epoch", ylabel="grid outside the image (%)", ylim=(-3, 103), xlim=(0.5, LAST_DRAWN + 0.5)
    )
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(**LEGEND_ABOVE)
    return close_figure(figure)


def seen_by_classifier_plot(run):
    """A photograph warped by a run's mean theta after some epochs, as the classifier gets it."""
    epochs = frame.records_by_name()[run]["epochs"]
    shown = [number for number in SHOWN_EPOCHS if number < len(epochs)] + [len(epochs)]
    image = normalize(photograph())
    figure, grid = plt.subplots(2, -(-(len(shown) + 1) // 2), figsize=(5.6, 4.2))
    axes = grid.flat
    axes[0].imshow(as_pixels(image[0]))
    axes[0].set_title("input", fontsize=11)
    for axis, number in zip(axes[1:], shown):
        values = torch.tensor(epochs[number - 1]["theta"]["mean"]).view(1, 2, 3)
        axis.imshow(as_pixels(sample(image, sampling_grid(values, *image.shape[-2:]))[0]))
        outside = theta.outside(epochs[number - 1]["theta"])
        axis.set_title(f"epoch {number}\n{outside:.0f} % outside", fontsize=11)
    for axis in grid.flat:
        axis.set_axis_off()
    return close_figure(figure)


# --- a trained L-STN on photographs ---------------------------------------------------------------

# three runs on photographs, whose records keep a few validation images and their theta
PHOTOGRAPH_SETTINGS: dict[str, Any] = {
    "batch_size": 64,
    "max_epochs": 10,
    "min_epochs": 10,
    "selection": LAST_EPOCH,
    "schedule": ONE_CYCLE,
    "test_once": True,
    "probes": True,
}
# dataset -> settings of its own; CIFAR-10 with as many images as TSRD
OWN_SETTINGS: dict[str, dict[str, Any]] = {
    "caltech101": {"image_size": 64},
    "cifar10": {"image_size": 32, "train_images": 4000, "max_validation": 600},
    "tsrd": {"image_size": 64},
}
PHOTOGRAPH_SPECS = {
    dataset: RunSpec(dataset, "mnist-cnn", "lstn", Protocol("photographs", **own, **PHOTOGRAPH_SETTINGS))
    for dataset, own in OWN_SETTINGS.items()
}


def photographs_plot(records):
    """For each dataset, inputs with the grid's points, eight along a side, and outputs below.

    `records` is {dataset: record of its run in PHOTOGRAPH_SPECS}. Each record holds one validation image of each of the
    first four classes.
    """
    figure = plt.figure(figsize=(5.8, 3.15 * len(records)))
    for part, (dataset, record) in zip(figure.subfigures(len(records), squeeze=False)[:, 0], records.items()):
        part.suptitle(DATASETS[dataset].title, size=11, x=0.01, ha="left")
        images = example_images(record["probes"]).float()
        maps = torch.tensor(record["probes"]["theta"])
        grid = sampling_grid(maps, *images.shape[-2:])
        read = (sample(images / 127.5 - 1, grid) + 1) * 127.5
        rows = part.subplots(2, len(images))
        for row, pictures, label in zip(rows, (images, read), ("input", "output")):
            row[0].set_ylabel(label, fontsize=11)
            for axis, picture in zip(row, pictures):
                pixels = picture.permute(1, 2, 0).clamp(0, 255).byte().numpy()
                axis.imshow(pixels, extent=(-1, 1, 1, -1))
                axis.set(xticks=[], yticks=[])
        every = images.shape[-1] // 8
        for axis, map_, points in zip(rows[0], maps, grid):
            draw_outline(axis, map_, width=1.5)
            places = points[every // 2 :: every, every // 2 :: every].flatten(0, 1).T.numpy()
            axis.scatter(*places, s=7, color="white", edgecolors="black", linewidths=0.5)
            axis.set(xlim=(-1.15, 1.15), ylim=(1.15, -1.15), facecolor="0.5")
    return close_figure(figure)


def photographs_verdict(records):
    """How far the corners of the sampled square move from image to image, in one sentence with links to the runs."""
    parts = []
    for dataset, record in records.items():
        moved, size = record["epochs"][-1]["theta"]["spread"][0], record["spec"]["protocol"]["image_size"]
        run = f"[{DATASETS[dataset].title}](../runs/{spec_of(record).name}.html)"
        parts.append(f"{moved:.1f} pixels (images of {size}) on {run}")
    return f"From image to image the corners of the outline move by a median of {join_words(parts)}."


# --- tables: all runs, and the runs of 300 steps --------------------------------------------------


def theta_table(found):
    """The runs of `theta.theta_by_run`: theta's standard deviation and the grid outside, most outside first."""
    found = found.sort_values("outside", ascending=False, kind="stable").reset_index(drop=True)
    recorded = found["run"].map(frame.records_by_name())
    return pd.DataFrame(
        {
            "Dataset": found["dataset"].map(lambda name: DATASETS[name].title),
            "Network": found["backbone"].map(title),
            "Transformer": found["variant"].map(HEADINGS),
            "Protocol": [protocol_in_words(record["spec"]) for record in recorded],
            "Seed": [run_link(record, seed) for record, seed in zip(recorded, found["seed"])],
            "Standard deviation of theta": found["std"].map("{:.4f}".format),
            "Grid outside (%)": found["outside"].map("{:.1f}".format),
        }
    )


def start_verdict(first_steps):
    """How many runs of first steps lost the image at each rate, and what the lower rate changes: two sentences."""
    tests = stability.start_tests(first_steps).set_index("comparison")
    if stability.POOLED not in tests.index:
        return f"**{MISSING.capitalize()}.**"
    pooled = tests.loc[stability.POOLED]
    full, tenth = (f"{collapsed} of {runs}" for collapsed, runs in (pooled["first"], pooled["second"]))
    text = (
        f"**{'Open: w' if pooled['p_holm'] >= LEVEL else 'W'}ithin {stability.STEPS} steps, {full} transformers "
        f"collapsed at the full rate, and {tenth} at a tenth of it.**"
    )
    shares = [collapsed / runs for collapsed, runs in (pooled["first"], pooled["second"])]
    if pooled["p_holm"] < LEVEL and shares[1] < shares[0]:
        shown, p = "So the lower rate keeps the sampling grid inside the image", pooled["p_holm"]
    elif pooled["p_moved_holm"] < LEVEL and pooled["second_moved"] < pooled["first_moved"]:
        first, second, p = pooled[["first_moved", "second_moved", "p_moved_holm"]]
        shown = (
            "The lower rate keeps theta nearer the identity: at the median, its mean moves the image's corners by "
            f"{second:.1f} pixels in place of {first:.1f}"
        )
    else:
        shown, p = "No difference is shown", pooled["p_holm"]
    planned = len(stability.start_names())
    lacking = planned - len(first_steps)
    missing = f"; {lacking} of {planned} planned runs are {MISSING}" if lacking else ""
    return f"{text} {shown} ({'p ' if p < 0.001 else 'p = '}{p_text(p)}){missing}."


def start_table(found):
    """Runs of first steps, a row a net and rate: how many collapsed, and how far theta moved, in pixels."""
    cells = {
        (HEADINGS[row.variant], row.rate): {
            "Runs": row.runs,
            "Collapsed": row.collapsed,
            "Collapsed (%), 95 % interval": f"{row.low:.0f} to {row.high:.0f}",
            "Mean map (pixels)": round(row.moved, 1),
            "Between images (pixels)": round(row.spread, 2),
        }
        for row in stability.start_counts(found).itertuples()
    }
    return table_or_missing(cells, ["Transformer", "Share of the rate"])


def start_tests_table(found):
    """The tests of the runs of first steps, with Holm's correction: collapsed runs, and how far the mean map moved."""
    cells = {
        row.comparison: {
            "Collapsed": "{} of {}, {} of {}".format(*row.first, *row.second),
            "p, collapsed": p_text(row.p_holm),
            "Mean map (pixels)": f"{row.first_moved:.1f}, {row.second_moved:.1f}",
            "p, moved": p_text(row.p_moved_holm),
        }
        for row in stability.start_tests(found).itertuples()
    }
    return table_or_missing(cells, ["Comparison"])
