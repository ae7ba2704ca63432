"""Reading views of the smaller systems: what their documents publish beside our records.

The notebooks `small_cnn`, `distorted_mnist`, `traffic_signs`, `watching` and `known_truth` show these. The
published numbers are in `printed/`, each with its source.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import Markdown

from ..analysis import frame
from ..analysis.grid import SYSTEM_DATASETS
from ..analysis.statistics import MISSING, mean_text
from ..models import HEADINGS, ORIGINAL
from ..models.transformer import SpatialTransformer, sample, sampling_grid
from ..paths import PRINTED
from ..training.examples import from_png, motion_maps, moving_example
from ..training.spec import SYSTEM
from . import explorer
from .figures import COLORS, close_figure
from .sentences import join_words

SIGNS = "sign-cnn-bn"
AFFINE = ("stn", "vstn", "lstn")  # variants of the digit CNN whose maps are affine
VALUE_OF_CURVE = {  # published quantity -> ours among a run's test accuracies after each epoch; else as selected
    "test accuracy at epoch 50": lambda epochs: epochs[49:50],
    "highest test accuracy": lambda epochs: [max(epochs)],
}
QUANTITIES = {"rotation": "rotation (degrees)", "scale": "scale (ratio)", "shift": "shift (pixels)"}


class Former(NamedTuple):
    """The network that a system takes the place of: shown while no run of the system is recorded."""

    system: str
    variants: Mapping = MappingProxyType({})  # its names of variants -> the system's, where they differ


FORMER = {
    "lenet": Former("mnist-cnn"),
    "mnist-cnn-400k": Former("mnist-cnn", {"stn": "affine"}),
    "sign-cnn-bn": Former("sign-cnn"),
}


def system_runs(dataset, system):
    """Our runs of one smaller system at its own settings, else of its former network: columns as `frame.runs`."""
    if not shows_former(system):
        return frame.runs(dataset, SYSTEM, system)
    former = FORMER[system]
    found = frame.runs(dataset, SYSTEM, former.system)
    return found.assign(variant=found["variant"].replace(former.variants))


def shows_former(system):
    """Whether runs of the system's former network are shown, as the system has none on any dataset."""
    return system in FORMER and not any(len(frame.runs(d, SYSTEM, system)) for d in SYSTEM_DATASETS[system])


def shown_network(system):
    """The system, or its former network while that one's runs are shown."""
    return FORMER[system].system if shows_former(system) else system


def published_values(system):
    """What the system's documents publish: dataset, variant, quantity, value (percent) and source."""
    rows = pd.read_csv(PRINTED / "systems.csv")
    return rows[rows["system"] == system].drop(columns="system").reset_index(drop=True)


def published_and_ours(system):
    """Each published number (percent) beside the same quantity of ours, and ours minus theirs in points.

    Where the document says only "test accuracy", ours is that at the best validation epoch.
    """
    view = published_values(system)
    ours = [our_values(system, *row) for row in zip(view["dataset"], view["variant"], view["quantity"])]
    view["ours"] = list(map(mean_text, ours))
    view["away"] = [f"{np.mean(o) - v:+.2f}" if len(o) else "–" for o, v in zip(ours, view["value"])]
    view["value"] = view["value"].map("{:.2f}".format)
    view = view.set_index(view["variant"].map(HEADINGS).rename(None))
    names = {"quantity": "Published quantity", "value": "Published", "ours": "Ours", "away": "Difference"}
    names |= {"source": "Source"}
    return view[list(names)].rename(columns=names)


def our_values(system, dataset, variant, quantity):
    """Our values (percent) of a published quantity of a system, a list: one a run."""
    ours = system_runs(dataset, system)
    mine = ours[ours["variant"] == variant]
    if quantity not in VALUE_OF_CURVE:
        return mine["test"].tolist()
    return [value for curve in _test_curves(mine) for value in VALUE_OF_CURVE[quantity](curve)]


def _test_curves(ours):
    """The test accuracies after each epoch: a list a run."""
    return [[epoch["test_accuracy"] for epoch in record["epochs"]] for record in ours["record"]]


def system_runs_table(dataset, system):
    """Our runs of a system, a row a variant: parameters, validation and test accuracy in percent."""
    ours = system_runs(dataset, system)
    rows = {}
    for variant in frame.variants_of(ours):
        mine = ours[ours["variant"] == variant]
        seconds = np.mean([r["measured"]["seconds"] / len(r["epochs"]) for r in mine["record"]])
        rows[HEADINGS[variant]] = {
            "Parameters": f"{mine['record'].iloc[0]['parameters']:,}",
            "Training images": f"{mine['record'].iloc[0]['data']['train']:,}",
            "Validation": mean_text(mine["validation"]),
            "Test": mean_text(mine["test"]),
            "Seconds an epoch": f"{seconds:.0f}",
        }
    return _table_or_missing(rows)


def _table_or_missing(rows):
    """Rows {name: {column: cell}} as a table, which says so where there are none."""
    return pd.DataFrame(rows).T if rows else pd.DataFrame({"Our runs": [MISSING]}, index=[""])


# --- the small CNN on CIFAR-10 ------------------------------------------------------------------


def published_curve():
    """The log of the small CNN's document: test accuracy in percent after each of 50 epochs."""
    return pd.read_csv(PRINTED / "cifar_cnn.csv")["test_correct"] / 100


def small_cnn_plot():
    """Test accuracy after each epoch: the document's log and our runs."""
    figure, axis = plt.subplots(figsize=(5.8, 4))
    log = published_curve()
    axis.plot(log.index + 1, log, color="black", linestyle=":", label="published, with transformer")
    ours = system_runs("cifar10", "cifar-cnn")
    for variant in frame.variants_of(ours):
        for values in _test_curves(ours[ours["variant"] == variant]):
            label = f"ours, {HEADINGS[variant].lower()}"
            axis.plot(range(1, len(values) + 1), values, color=COLORS[variant], label=label)
    axis.set(xlabel="epoch", ylabel="test accuracy (%)")
    axis.legend(loc="lower right")
    if ours.empty:
        axis.set_title(f"ours: {MISSING}")
    return close_figure(figure)


def small_cnn_verdict():
    """Ours against the small CNN's published accuracy, and with against without the transformer, in two sentences."""
    ours, log = system_runs("cifar10", "cifar-cnn"), published_curve()
    last = {v: np.mean([e[-1] for e in _test_curves(mine)]) for v, mine in ours.groupby("variant")}
    if "affine" not in last:
        return f"Ours with the transformer: {MISSING}."
    text = (
        f"Behind the transformer our network ends {_apart(last['affine'] - log.iloc[-1])} the published log."
    )
    if ORIGINAL in last:
        text += f" Without the transformer, our network ends {_apart(last[ORIGINAL] - last['affine'])} that."
    return text


def _apart(points):
    """A difference in words: "1.20 points below"."""
    return f"{abs(points):.2f} points {'above' if points >= 0 else 'below'}"


# --- traffic signs ------------------------------------------------------------------------------


def signs_verdict():
    """Ours against the published accuracies on GTSRB and against the network alone, in two sentences."""
    ours = system_runs("gtsrb", SIGNS)
    if ours.empty:
        return f"At this system's settings: {MISSING}."
    means = ours.groupby("variant")["test"].mean()
    best = published_values(SIGNS)["value"].max()
    text = (
        f"Our best network, {HEADINGS[means.idxmax()].lower()}, reads {means.max():.2f} % of the signs, "
        f"{_apart(means.max() - best)} the highest published accuracy."
    )
    if len(means) > 1 and ORIGINAL in means:
        changes = [
            f"{HEADINGS[v].lower()} {mean - means[ORIGINAL]:+.2f}" for v, mean in means.drop(ORIGINAL).items()
        ]
        text += f" In points against the network alone: {join_words(changes)}."
    return text


# --- known truth --------------------------------------------------------------------------------


def recovery_table(dataset):
    """What is left of the known distortions behind each transformer: median (90th percentile).

    Distances from the typical pose (see `typical_pose`) on the test images, means over the seeds; the first row
    is without a transformer.
    """
    rows = {}
    for variant, left in _recovery_by_variant(dataset).items():
        if not rows:
            rows["Without"] = {QUANTITIES[q]: _median_and_high(left, q, "before") for q in QUANTITIES} | {
                "Seeds": ""
            }
        cells = {QUANTITIES[q]: _median_and_high(left, q, "after") for q in QUANTITIES}
        rows[HEADINGS[variant]] = cells | {"Seeds": len(left)}
    return _table_or_missing(rows)


def recovery_verdict(dataset):
    """How much of each distortion the transformers take away, means over the seeds, in two sentences."""
    found, parts = _recovery_by_variant(dataset), []
    for quantity in QUANTITIES:
        shares = [[_share_removed(one[quantity], quantity) for one in left] for left in found.values()]
        means = [np.mean(share) for share in shares if None not in share]
        if means:
            low, high = f"{min(means):.0%}", f"{max(means):.0%}"
            parts.append(f"{low if low == high else f'{low} to {high}'} of the {quantity}")
    if not parts:
        return f"{MISSING.capitalize()}."
    names = join_words([HEADINGS[variant] for variant in found])
    return f"The share of the median distance that {names} undo: {join_words(parts)}."


def _recovery_by_variant(dataset):
    """{variant: what each of its runs has left}, see `examples.measure_recovery`; only variants that were run."""
    ours, field = system_runs(dataset, "mnist-cnn"), _recovery_field(dataset)
    records = {v: ours[ours["variant"] == v]["record"] for v in AFFINE}
    return {v: [r["probes"][field] for r in found] for v, found in records.items() if len(found)}


def _recovery_field(dataset):
    """The field of the records that `recovery_table` shows: within classes where all runs hold it, else over all."""
    ours = system_runs(dataset, "mnist-cnn")
    probes = [record["probes"] for record in ours[ours["variant"].isin(AFFINE)]["record"]]
    whole = all("recovered_in_class" in kept for kept in probes)
    return "recovered_in_class" if whole else "recovered"


def typical_pose(dataset):
    """Which typical pose the numbers of `recovery_table` are distances from, a sentence."""
    if _recovery_field(dataset) == "recovered_in_class":
        return "The typical pose is that of the digit's own class."
    return (
        "The typical pose is that of all digits. Within a class the distances may be smaller: these records do "
        "not hold them, and the runs that would are not yet trained."
    )


def _median_and_high(left, quantity, moment):
    median, high = np.mean([one[quantity][moment] for one in left], axis=0)
    return f"{median:.2f} ({high:.2f})"


def _share_removed(left, quantity):
    """The share of the median distance that is gone, of a ratio in its logarithm; None if there was none."""
    before, after = (np.log(m) if quantity == "scale" else m for m in (left["before"][0], left["after"][0]))
    return None if before < 1e-3 else 1 - after / before


# --- pictures of trained networks ---------------------------------------------------------------


def first_probes(dataset, system, variant):
    """The probes of the first of our runs of this variant, or None: see `examples.collect_probes`."""
    ours = system_runs(dataset, system)
    found = ours[ours["variant"] == variant]["record"]
    return found.iloc[0]["probes"] if len(found) else None


def example_images(kept):
    """The examples that a record keeps, uint8 (N, 3, S, S)."""
    return torch.stack([from_png(text) for text in kept["images"]])


def gradcam_plot(dataset, system, variants):
    """Where networks look, by Grad-CAM: a row a variant, an example a column; yellow where most.

    Behind a transformer, the picture is the transformer's output, as the network sees nothing else.
    """
    kept = {v: found for v in variants if (found := first_probes(dataset, system, v))}
    count = max((len(k["images"]) for k in kept.values()), default=1)
    figure, axes = plt.subplots(
        max(len(kept), 1), count, figsize=(1.28 * count + 0.6, 1.5 * len(kept) + 0.4), squeeze=False
    )
    for row, (variant, found) in zip(axes, kept.items()):
        images, heat = example_images(found).float(), torch.tensor(found["gradcam"])
        if "theta" in found:
            images = sample(images, sampling_grid(torch.tensor(found["theta"]), *images.shape[-2:]))
        for axis, image, one, label in zip(row, images, heat, found["label"]):
            extent = (0, image.shape[-1], image.shape[-2], 0)
            axis.imshow(image.permute(1, 2, 0).byte().numpy(), extent=extent)
            axis.imshow(one.numpy(), "inferno", alpha=0.55, extent=extent, interpolation="bilinear")
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"class {label}", fontsize=11)
        row[0].set_ylabel(HEADINGS[variant], fontsize=11)
    if not kept:
        axes[0, 0].set_title(MISSING)
        axes[0, 0].axis("off")
    return close_figure(figure)


def training_pictures(dataset, system, variant, still=False):
    """The animation of our first run's training, or a strip of five of its pictures."""
    kept = first_probes(dataset, system, variant)
    if kept is None:
        return Markdown(f"*{MISSING.capitalize()}.*")
    draw = explorer.training_strip if still else explorer.training_animation
    return draw(example_images(kept), kept["training"]["steps"], torch.tensor(kept["training"]["theta"]))


def motion_pictures(dataset, system, variant, still=False):
    """The animation of a moving example behind our first run, or a strip of five of its pictures."""
    kept = first_probes(dataset, system, variant)
    if kept is None:
        return Markdown(f"*{MISSING.capitalize()}.*")
    draw = explorer.motion_strip if still else explorer.motion_animation
    return draw(moving_example(example_images(kept)), motion_maps(), torch.tensor(kept["motion"]))


def stillness_table(dataset, system):
    """The motion's share of the variance of an example's picture: a row a variant, mean over the seeds."""
    ours, rows = system_runs(dataset, system), {}
    for variant in AFFINE:
        both = []
        for record in ours[ours["variant"] == variant]["record"]:
            image, theta = moving_example(example_images(record["probes"])), record["probes"]["motion"]
            both.append(explorer.output_variance(image, motion_maps(), torch.tensor(theta)))
        if both:
            with_it, without = np.mean(both, axis=0)
            cells = {"At the input": f"{without:.0%}", "At the output": f"{with_it:.0%}", "Seeds": len(both)}
            rows[HEADINGS[variant]] = cells
    return _table_or_missing(rows)


def stillness_verdict(dataset, system):
    """How still the output stays, in words."""
    rows = stillness_table(dataset, system)
    if "At the output" not in rows:
        return f"{MISSING.capitalize()}."
    parts = [f"{share} at the output of {name}" for name, share in rows["At the output"].items()]
    before = rows["At the input"].iloc[0]
    return f"The motion makes {before} of the picture's variance at the input, and {', '.join(parts)}."


# --- three properties of a transformer ----------------------------------------------------------


def count_gradients(model, image_size=32):
    """How many of the weight tensors of each part of `model` the loss reaches in one backward pass."""
    torch.manual_seed(0)
    images, labels = torch.rand(8, 3, image_size, image_size), torch.arange(8)
    _perturb(model)
    F.cross_entropy(model.train()(images), labels).backward()
    rows = {}
    for name, part in model.named_children():
        reached = [bool(p.grad is not None and p.grad.abs().max() > 0) for p in part.parameters()]
        rows[name] = {"Weight tensors": len(reached), "with a gradient": sum(reached)}
    return pd.DataFrame(rows).T


def theta_depends_on_image(model, image_size=32):
    """Whether two images get the same theta, from each transformer of `model`: at the start and later."""
    torch.manual_seed(0)
    images = torch.rand(2, 3, image_size, image_size)
    rows = {}
    for moment in ("at the identity", "after a step away from it"):
        with torch.no_grad():
            first, second = model.eval().transformer.theta(images)
        rows[moment] = {"same theta for both images": torch.equal(first, second)}
        _perturb(model)
    return pd.DataFrame(rows).T


@torch.no_grad()
def _perturb(model):
    """Move the last layers of the localization nets a little from zero, as a first step would."""
    for part in model.modules():
        if isinstance(part, SpatialTransformer):
            part.localization.head[-1].weight.add_(1e-3 * torch.randn_like(part.localization.head[-1].weight))
