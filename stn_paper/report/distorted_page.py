"""The page on distorted MNIST: published errors beside ours, paddings, and where a transformer is placed.

Errors and paddings are read from our records; the figure on the placement is computed.
"""

import json
from functools import cache
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from ..analysis import grid
from ..analysis.statistics import (
    BETTER,
    EQUAL,
    FEW,
    FEWEST_RUNS,
    MISSING,
    WORSE,
    count_verdicts,
    mean_text,
)
from ..data.datasets import embedded_digits
from ..data.distortions import CANVAS, DIGIT
from ..models import ORIGINAL
from ..models.transformer import affine_theta, invert, warp
from ..paths import BENCHMARKS, PRINTED
from ..training import kept
from ..training.records import find, selected_result
from .figures import COLORS, close_figure
from .sentences import join_words
from .small_systems import DISTORTED, judge_pairs, mean_side, system_runs

NEAR_POINTS = 0.5  # our error is near the published error if they differ by at most this number of points
# distortion -> its second reading: p moves the corners of the canvas, e a grid over the digit; see `DISTORTIONS`
OTHER_READINGS = {"p": "canvas", "e": "digit"}


def _distorted_cells():
    """Return a row for each cell of Table 1 of Jaderberg et al. 2015.

    The columns are distortion, network, variant, published, ours and other. Errors are in percent. `ours` lists the
    errors of our runs. `other` lists the errors of our runs in the second reading of P and E.
    """
    printed, rows = pd.read_csv(PRINTED / "distorted_mnist.csv"), []
    for name in printed.columns.drop(["network", "variant"]):
        reading = OTHER_READINGS.get(name)
        readings = [_errors(name), _errors(f"{name}-{reading}") if reading else {}]
        for network, variant, published in printed[["network", "variant", name]].itertuples(
            index=False, name=None
        ):
            rows.append(
                [name, network, variant, published, *(errors.get(variant, []) for errors in readings)]
            )
    return pd.DataFrame(rows, columns=["distortion", "network", "variant", "published", "ours", "other"])


def _errors(distortion):
    """Return our test errors on a distortion, in percent: {variant: list with an error for each run}."""
    ours = system_runs(f"mnist-{distortion}", DISTORTED)
    return (100 - ours["test"]).groupby(ours["variant"]).agg(list).to_dict()


def distorted_errors_table():
    """Test error in percent on R, RTS, P and E: Jaderberg et al. 2015, Table 1, beside ours."""
    view = {}
    for name, cells in _distorted_cells().groupby("distortion", sort=False):
        cells = cells.set_index(cells["network"].str.removeprefix("ST-CNN ").rename(None))
        view[name.upper(), "paper"] = cells["published"].map("{:.1f}".format)
        view[name.upper(), "ours"] = cells["ours"].map(mean_text)
        if reading := OTHER_READINGS.get(name):
            view[name.upper(), f"other, {reading}"] = cells["other"].map(mean_text)
    return pd.DataFrame(view)


def readings_verdict():
    """Return a sentence that compares the two readings of P and E by the number of errors near the published errors."""
    cells = _distorted_cells()
    both = cells[(cells["other"].str.len() > 0) & (cells["ours"].str.len() > 0)]
    if both.empty:
        return f"**Open.** The other reading: {MISSING}."
    ours, other = (_count_near(both[reading], both["published"]) for reading in ("ours", "other"))
    return (
        f"**In the other reading, {other} of {len(both)} errors lie within {NEAR_POINTS} points of the published "
        f"errors; under “ours”, {ours} of the same {len(both)}** (n={both['other'].str.len().min()})."
    )


def _count_near(errors, published):
    """How many means of our errors, a list a cell, lie within NEAR_POINTS of the published errors."""
    return ((errors.map(np.mean) - published).abs() <= NEAR_POINTS).sum()


def distorted_verdict():
    """Return two sentences: how far transformers lower the error, and how our errors differ from published errors."""
    cells = _distorted_cells()
    trained = cells[cells["ours"].str.len() > 0]
    if trained.empty:
        return f"{MISSING.capitalize()}."
    trained = trained.assign(error=trained["ours"].map(np.mean))
    differences = trained["error"] - trained["published"]
    near = _count_near(trained["ours"], trained["published"])
    where = f"On {join_words(trained['distortion'].str.upper().unique().tolist())}, "
    text = (
        f"The settings differ from the paper's; {near} of {len(trained)} errors of ours lie within {NEAR_POINTS} "
        f"points of the published errors, with differences of {differences.min():+.2f} to {differences.max():+.2f}."
    )
    alone = trained[trained["variant"] == ORIGINAL].set_index("distortion")["error"]
    behind = trained[trained["variant"] != ORIGINAL]
    gains = (behind["distortion"].map(alone) - behind["error"]).dropna()
    if gains.empty:
        return where + text
    gains_text = f"{(gains > 0).sum()} of {len(gains)} combinations of distortion and map"
    gains_text += f", by {gains.min():.2f} to {gains.max():.2f} points"
    fewest = behind["ours"].str.len().min()
    runs_text = (
        f" (n={fewest} behind each transformer{', which cannot rank the maps' if fewest == 1 else ''})"
    )
    return f"**{where}the error is lower behind a transformer in {gains_text}**{runs_text}. {text}"


def step_times_in_words():
    """How much longer a training step takes with a transformer than without, from `benchmarks.digit_steps`."""
    path = BENCHMARKS / "digits/cpu.json"
    if not path.exists():
        return f"{MISSING.capitalize()}."
    found = json.loads(path.read_text(encoding="utf-8"))
    low, middle, high = found["ratio"]
    alone, with_it = (found["seconds"][name] * found["steps_an_epoch"] for name in (ORIGINAL, "stn"))
    return (
        "The notebook's README says that an epoch takes 11 to 12 seconds with and without the transformer. On one core "
        f"of {found['machine']['name']}, an epoch's steps take {alone:.0f} seconds of processor time without and "
        f"{with_it:.0f} with it: {middle:.2f} times as long (quartiles {low:.2f} to {high:.2f} over "
        f"{found['rounds']} rounds)."
    )


# --- padding: values outside the image ------------------------------------------------------------

# settings of `grid.padding_specs` -> names
PADDINGS = {"zeros": "zeros (grey)", "border": "border", -1.0: "fill value -1 (black)"}
OPTIMIZERS = {"adam": "Adam", "sgd": "SGD"}


def padding_runs():
    """The runs of `grid.padding_specs`, a row each, with the columns padding, optimizer, seed, test and side.

    `test` is the test accuracy in percent. `side` is the side of the region that the mean map reads, in percent of the
    image's side.
    """
    rows = []
    for spec in grid.padding_specs():
        if record := find(spec):
            test, side = selected_result(record)["test"], 100 * mean_side([record])
            rows.append([spec.protocol.padding, spec.protocol.optimizer, spec.seed, test, side])
    return pd.DataFrame(rows, columns=["padding", "optimizer", "seed", "test", "side"])


def padding_table(runs):
    """Return test error and `side` of `padding_runs`, in percent: a row for each padding.

    Each optimizer has a column for the error and a column for the side.
    """
    columns = {}
    for optimizer, title in OPTIMIZERS.items():
        mine = runs[runs["optimizer"] == optimizer]
        arms = [mine[mine["padding"] == padding] for padding in PADDINGS]
        columns["Error (%)", title] = [mean_text(100 - arm["test"]) for arm in arms]
        sides = [f"{arm['side'].mean():.0f}" if len(arm) else MISSING for arm in arms]
        columns["Side read (%)", title] = sides
    return pd.DataFrame(columns, index=list(PADDINGS.values())).sort_index(axis=1)


def padding_verdict(runs):
    """Compare each padding of `padding_runs` with zeros by `judge_pairs`; return the verdict as Markdown."""
    tests = dict(iter(runs.set_index("seed").groupby(["optimizer", "padding"])["test"]))
    arms = [
        (o, p) for o in OPTIMIZERS for p in PADDINGS if p != "zeros" and {(o, p), (o, "zeros")} <= set(tests)
    ]
    if not arms:
        return f"**Open.** {MISSING.capitalize()}."
    verdicts, texts = judge_pairs(tests, [(arm, (arm[0], "zeros")) for arm in arms])
    judged = len(verdicts) - count_verdicts(verdicts, FEW)
    differ, equal = count_verdicts(verdicts, BETTER, WORSE), count_verdicts(verdicts, EQUAL)
    lead = (
        f"{differ} of {judged} comparisons with zero padding show a difference, and {equal} show that the two are "
        "equal within 1 point"
    )
    if not judged:
        lead = f"Open: a verdict needs {FEWEST_RUNS} runs of each padding"
    parts = [f"{PADDINGS[p]} with {OPTIMIZERS[o]} {text}" for (o, p), text in zip(arms, texts)]
    return (
        f"**{lead}.** In points of test accuracy against zeros: {', '.join(parts)}. In {(runs['side'] > 100).sum()} "
        f"of {len(runs)} runs the transformer shrinks the image."
    )


# --- placement: a rotation undone on a feature map, and at the input ------------------------------
# Source: Finnveden, Jansson and Lindeberg 2020 (arXiv 2004.11678).

NETWORK = "digits-original"  # its first convolution gives the feature map
ANGLES = tuple(range(0, 91, 5))  # degrees
IMAGES = 50


@cache
@torch.no_grad()
def remaining_error(angles=ANGLES, images=IMAGES):
    """The error after a rotation is undone: {"feature": a list, "shared": a list}, with a distance for each angle.

    Digits are rotated. `feature` rotates the feature map of the rotated digit back; `shared` rotates the digit back
    before its feature map is computed. The distance is the L2 distance from the feature map of the upright digit,
    divided by the L2 norm of that map, as a mean over the digits.
    """
    network: Any = kept.load(NETWORK)
    pixels = torch.from_numpy(embedded_digits()[0][:: 5000 // images])
    border = (CANVAS - DIGIT) // 2
    digits = network.transform(torch.nn.functional.pad(pixels[:, None], (border,) * 4))
    features, distances = network[:3], {"feature": [], "shared": []}  # convolution, pooling and ReLU
    upright = features(digits)
    for angle in angles:
        turn = affine_theta(angle)[None].expand(len(digits), 2, 3)
        back = invert(turn)
        rotated = warp(digits, turn, padding="border")
        for name, maps in (
            ("feature", warp(features(rotated), back, padding="border")),
            ("shared", features(warp(rotated, back, padding="border"))),
        ):
            distance = (maps - upright).flatten(1).norm(dim=1) / upright.flatten(1).norm(dim=1)
            distances[name].append(distance.mean().item())
    return distances


def remaining_error_plot():
    """Plot the error after a rotation is undone, on the feature map and at the input, against the angle."""
    drawn, axis = plt.subplots(figsize=(6, 3.6))
    labels = {"feature": "feature map rotated back", "shared": "input rotated back"}
    for name, values in remaining_error().items():
        axis.plot(ANGLES, [100 * value for value in values], color=COLORS[name], label=labels[name])
    axis.set(
        xlabel="rotation (degrees)",
        ylabel="distance from the upright digit's\nfeature map (% of that map's size)",
        ylim=(0, None),
    )
    axis.set_xticks(range(0, 91, 15))
    axis.legend()
    return close_figure(drawn)


def placement_verdict():
    """Return two sentences on the distance that is left: after 90 degrees, and by interpolation at other angles."""
    error = remaining_error()
    return (
        f"After a rotation by {ANGLES[-1]} degrees, rotating the feature map back leaves a distance from the upright "
        f"digit's map that is {error['feature'][-1]:.0%} of that map's size. Rotating the input back leaves "
        f"{error['shared'][-1]:.0%}; at smaller angles interpolation leaves up to {max(error['shared'][:-1]):.0%}."
    )
